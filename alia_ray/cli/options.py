"""What the commands share of their command lines."""

from collections.abc import Callable, Iterable
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


def beginning_with(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers of some names, by what is typed of one."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


KEYS = dict.fromkeys(key.written for key in keys(Config))  # source.path is there once
ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to run, as `init` writes it.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="Override a key of the YAML; may be repeated.",
        autocompletion=beginning_with([f"{key}=" for key in KEYS]),
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
