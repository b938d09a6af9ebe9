"""What the commands share of their command lines."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from alia_ray.config.keys import keys
from alia_ray.config.reference import help_of
from alia_ray.config.run import Config
from alia_ray.progress import speak_up


def keys_of(stage: str) -> str:
    """What stands under the help of a stage: the keys that it reads."""
    return escape(help_of(stage))


def _completed_override(incomplete: str) -> list[str]:
    """The keys that a shell offers after --set."""
    found = dict.fromkeys(f"{key.written}=" for key in keys(Config))
    return [each for each in found if each.startswith(incomplete)]


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to run, as `init` writes it.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="Override a key of the YAML; may be repeated.",
        autocompletion=_completed_override,
    ),
]
Told = Annotated[
    bool | None,
    typer.Option(
        "--verbose/--quiet",
        "-v/-q",
        callback=speak_up,
        show_default=False,
        help="-q: warnings, errors and what came out alone; -v: also what else only the log is told.",
    ),
]
