"""`alia-ray config`: the reference of every key."""

from typing import Annotated

import typer

from alia_ray.cli.leaving import exit_codes
from alia_ray.cli.options import KEYS, beginning_with
from alia_ray.config import ConfigError


def config(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="A section or a key, such as edit or edit.strength; none: every key.",
            autocompletion=beginning_with(KEYS),
        ),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema, for editors and checks.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/config.md.")] = False,
) -> None:
    """Say what can be set: each key with its default, meaning, type, and the stages that it redoes."""
    from alia_ray.config import reference

    with exit_codes():
        if schema + markdown + (name is not None) > 1:
            raise ConfigError("give one of KEY, --schema and --markdown")
        if schema or markdown:
            typer.echo(reference.schema_text() if schema else reference.as_markdown(), nl=False)
        else:
            typer.echo(reference.as_text(reference.found(name)))
