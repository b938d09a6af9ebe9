"""Rows that failed: which are tried again, which count, and how they are told."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alia_ray.plain_text import LONGEST_REASON
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import ERROR_KINDS, ERRORS

Row = dict[str, Any]

REASONS_TOLD = 5
_OLDER = {"the same picture as": "twin", "cannot be read": "read", "has no label": "label"}
_NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|<[^>]*>|\S*[/\\]\S*|\b0x[0-9a-f]+|\d+", re.IGNORECASE)


def read_errors(errors: Table) -> list[Row]:
    """The rows of an errors table, each with its kind; a key may occur twice after a kill."""
    return with_kinds(errors.stored())


def with_kinds(errors: pa.Table) -> list[Row]:
    """Rows of schema ERRORS, each with its kind."""
    return [{**row, "kind": row["kind"] or _kind_of_older(row)} for row in errors.to_pylist()]


def _kind_of_older(row: Row) -> str:
    """The kind of an error of a release that did not note it."""
    if row["stage"] != "ingest":
        return "model"
    return next((kind for start, kind in _OLDER.items() if row["reason"].startswith(start)), "decode")


def is_tried_again(row: Row, retry_errors: bool) -> bool:
    """Whether the next run tries a row again. Twins never: ingest knows when another copy is to stay."""
    kind = ERROR_KINDS[row["kind"]]
    return not kind.final or (retry_errors and kind.counts)


def settle(errors: Table, made: set[str], before: Iterable[Row] = ()) -> list[Row]:
    """Leave one error for each key, and none for a key that is made by now. Returns what is left.

    before: the errors that were tried again: of two for one key, that which is not among them is the newer.
    Nothing is taken out before its outcome is committed, so this may be killed anywhere, and done again.
    """
    files, rows = errors.files(), read_errors(errors)
    older = {(row["key"], row["kind"], row["reason"]) for row in before}

    def place(row: Row) -> tuple[bool, bool, str]:
        return (row["key"], row["kind"], row["reason"]) in older, not ERROR_KINDS[row["kind"]].final, row["reason"]

    left: dict[str, Row] = {}
    for row in sorted(rows, key=place):
        if row["key"] not in made:
            left.setdefault(row["key"], row)
    if len(left) < len(rows):
        errors.replace(files, pa.Table.from_pylist(list(left.values()), schema=ERRORS))
    return list(left.values())


def same_reason(reason: str) -> str:
    """A reason without names, paths and numbers: the same for rows that failed alike.

    Those of older releases have no end, and to look for paths in a long word takes the square of its length.
    """
    return _NAMES.sub("…", reason[:LONGEST_REASON])


@dataclass(frozen=True)
class Alike:
    """Rows of one stage that failed for one reason."""

    stage: str
    reason: str  # in the words of all of them; "…" where they differ in names, paths and numbers
    kind: str
    rows: int
    example: str  # the key of one
    example_reason: str  # in its own words


def alike(rows: Iterable[Row]) -> list[Alike]:
    """Rows by stage and reason: the stages as they come, of each the commonest reason first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["stage"], same_reason(row["reason"])), []).append(row)
    found = []
    for (stage, shared), members in groups.items():
        first = min(members, key=lambda row: row["key"])
        own = first["reason"]
        reason = own if all(row["reason"] == own for row in members) else shared
        found.append(Alike(stage, reason, first["kind"], len(members), first["key"], own))
    stages = list(dict.fromkeys(group.stage for group in found))
    return sorted(found, key=lambda group: (stages.index(group.stage), -group.rows, group.reason))


def told(rows: Iterable[Row]) -> str:
    """How many rows of a stage failed for which reason, the commonest first, each with an example."""
    groups = alike(rows)
    said = [f"{group.rows} × {group.reason} (such as {group.example!r})" for group in groups[:REASONS_TOLD]]
    more = sum(group.rows for group in groups[REASONS_TOLD:])
    return "; ".join([*said, f"{more} for other reasons"] if more else said)
