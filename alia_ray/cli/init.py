"""`alia-ray init`: a configuration for one's own images, or a recipe that ships with the package."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from alia_ray.cli.leaving import exit_codes
from alia_ray.config import ConfigError
from alia_ray.plain_text import plain_line


def _recipes(incomplete: str) -> list[str]:
    from alia_ray import recipes

    return [name for name in recipes.names() if name.startswith(incomplete)]


def init(
    folder: Annotated[
        str | None, typer.Argument(metavar="FOLDER", help="Your images: a folder, a table, Parquet or tar shards.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="What is written; none: mine.yaml, or RECIPE.yaml.")
    ] = None,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="With the small models of the package: no GPU, no downloads.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Write a recipe of the package, such as cub, and no other.",
            autocompletion=_recipes,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Look at your images, and write a commented configuration that runs on them. Start here."""
    with exit_codes():
        if (folder is None) == (recipe is None) or (recipe and miniature):
            raise ConfigError("name your images, as `alia-ray init photos`, or a --recipe and nothing beside it")
        if recipe is not None:
            _write_recipe(recipe, out, force)
        else:
            _look(folder, out or Path("mine.yaml"), miniature, force)


def _write_recipe(name: str, out: Path | None, force: bool) -> None:
    from alia_ray import recipes

    text, path = recipes.text(name), out or Path(f"{name}.yaml")
    for said in _not_free(path, force):
        raise ConfigError(said)
    path.write_text(text, encoding="utf-8")
    typer.echo(plain_line(f"wrote {path}; what to run is at its top"))


def _look(folder: str, out: Path, miniature: bool, force: bool) -> None:
    from alia_ray.checks.inputs import refuse
    from alia_ray.init.looking import look, missing

    refuse([missing(folder), _not_free(out, force)])  # all at once, before a look that may take long
    looked = look(folder, out, miniature)
    out.write_text(looked.text, encoding="utf-8")
    for line in [*looked.told, f"wrote {out}; next", *looked.commands]:
        typer.echo(plain_line(line))


def _not_free(path: Path, force: bool) -> Iterator[str]:
    """Why nothing can be written there, or that a file would be replaced that is not to be."""
    if path.is_dir() or not path.parent.is_dir():
        yield f"--out: {path} is no file in a folder that is there; name another one"
    elif os.path.lexists(path) and not force:
        yield f"{path} is there already; name another one by --out, or replace it by --force"
