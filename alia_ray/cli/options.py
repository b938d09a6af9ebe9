"""What the commands share of their command lines."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to run, as `init` writes it.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Override a key of the YAML; may be repeated."),
]
