"""`alia-ray errors`: which rows failed, and why."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from alia_ray.cli.leaving import exit_codes
from alia_ray.cli.options import Overrides
from alia_ray.config import ConfigError, load_config
from alia_ray.plain_text import plain_line
from alia_ray.progress import number_of

_STAGES = ("ingest", "caption", "judge", "edit")  # those whose rows can fail, in the order of a run
_FIELDS = ("stage", "kind", "key", "reason")

Row = dict[str, Any]


def errors(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CONFIG.yaml",
            help="A run folder: all that failed there; or a configuration: what failed under it.",
        ),
    ],
    overrides: Overrides = None,
    stage: Annotated[
        Literal["ingest", "caption", "judge", "edit"] | None, typer.Option(help="Only the rows of this stage.")
    ] = None,
    format: Annotated[Literal["table", "json", "csv"], typer.Option(help="How it is written.")] = "table",
    all_rows: Annotated[bool, typer.Option("--all", help="A line for each row, not for each reason.")] = False,
) -> None:
    """Say which rows failed and why: for each reason how many, and an example. Needs no cluster."""
    with exit_codes():
        rows = [row for row in _failed(run, overrides) if stage in (None, row["stage"])]
        if format == "table":
            lines = _every_row(rows) if all_rows else _reasons(rows)
        else:
            lines = _written(rows if all_rows else _grouped(rows), format)
        for line in lines:
            typer.echo(line)


def _failed(run: str, overrides: list[str] | None) -> list[Row]:
    """The rows that failed, of a run folder or under a configuration."""
    from alia_ray.results import errors_of
    from alia_ray.state import State
    from alia_ray.store.errors import read_errors, with_kinds
    from alia_ray.store.run_folder import RunFolder

    if Path(run).is_file() or run.endswith((".yaml", ".yml")):
        rows = with_kinds(errors_of(State(load_config(Path(run), overrides))))
    elif overrides:
        raise ConfigError(
            "--set changes a configuration, and a run folder has none to change; name its CONFIG.yaml"
        )
    else:
        folder = RunFolder(run)
        tables = folder.tables("errors")
        if not tables:
            raise ConfigError(f"{folder.shown()} holds no run; name a run folder, or a CONFIG.yaml")
        rows = [row for table in tables for row in read_errors(table)]
    return sorted(rows, key=lambda row: (_STAGES.index(row["stage"]), row["key"]))


def _grouped(rows: list[Row]) -> list[Row]:
    from alia_ray.store.errors import alike

    return [asdict(group) for group in alike(rows)]


def _reasons(rows: list[Row]) -> Iterator[str]:
    from alia_ray.store.tables import ERROR_KINDS

    if not rows:
        yield "no row has failed"
    stage = None
    for group in _grouped(rows):
        if group["stage"] != stage:
            stage = group["stage"]
            yield f"{stage}: {number_of(sum(row['stage'] == stage for row in rows), 'rows')}"
        note = "" if ERROR_KINDS[group["kind"]].counts else "  (left out, and no failure)"
        yield plain_line(f"{group['rows']:6} × {group['reason']}{note}")
        own = "" if group["example_reason"] == group["reason"] else f": {group['example_reason']}"
        yield plain_line(f"         such as {group['example']!r}{own}")


def _every_row(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        yield plain_line(f"{row['stage']}  {row['key']!r}: {row['reason']}")


def _written(rows: list[Row], format: str) -> Iterator[str]:
    fields = (
        ("stage", "kind", "rows", "reason", "example", "example_reason") if rows and "rows" in rows[0] else _FIELDS
    )
    chosen = [{name: row[name] for name in fields} for row in rows]
    if format == "json":
        yield json.dumps(chosen, indent=2, ensure_ascii=False)
        return
    text = io.StringIO()
    table = csv.DictWriter(text, fields, lineterminator="\n")
    table.writeheader()
    table.writerows(chosen)
    yield text.getvalue().rstrip("\n")
