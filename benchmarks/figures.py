"""Where the figures of a benchmark go."""

import json
from pathlib import Path
from typing import Any


def write(out: Path | None, figures: dict[str, Any]) -> None:
    """The figures as JSON, where that was asked for."""
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n")
