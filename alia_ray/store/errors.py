"""Rows that failed: which are tried again, which count, and how they are told."""

import re
from collections.abc import Iterable
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
    rows = errors.stored().to_pylist()
    return [{**row, "kind": row["kind"] or _kind_of_older(row)} for row in rows]


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


def told(rows: Iterable[Row]) -> str:
    """How many rows failed for which reason, the commonest first, each with an example."""
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        groups.setdefault(same_reason(row["reason"]), []).append(row)
    commonest = sorted(groups.items(), key=lambda group: -len(group[1]))
    said = [f"{len(rows)} × {reason} (such as {rows[0]['key']!r})" for reason, rows in commonest[:REASONS_TOLD]]
    more = sum(len(alike) for _, alike in commonest[REASONS_TOLD:])
    return "; ".join([*said, f"{more} for other reasons"] if more else said)
