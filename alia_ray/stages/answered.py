"""Which rows of a stage are made, failed, or left: queries of the ledger, and of the errors table."""

from collections.abc import Iterable

import pyarrow as pa

from alia_ray.store.errors import Row, is_tried_again, read_errors, told
from alia_ray.store.ledger import ledger_of, quoted
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import ERROR_KINDS


def made(target: Table, key: str) -> str:
    """SQL of the values of `key` (`key`) in the rows of a table that hold no error."""
    rows = ledger_of(target.folder).rows(target, [key])
    return f"SELECT {quoted(key)} AS key FROM {rows} {'WHERE error IS NULL' if _has_errors(target) else ''}"


def _has_errors(target: Table) -> bool:
    """Whether rows that failed are in the table, and not only among its errors."""
    return "error" in target.schema.names


def left_to_do(wanted: str, target: Table, stage: str, key: str, retry_errors: bool) -> str:
    """SQL of those of some keys (`key`) that are neither made nor failed for good. wanted: SQL of the keys."""
    failed = [row for row in read_errors(target.errors(stage)) if not is_tried_again(row, retry_errors)]
    done = f"({made(target, key)} UNION ALL SELECT key FROM {keys_of(target, f'{stage}, not again', failed)})"
    return f"SELECT key FROM ({wanted}) ANTI JOIN {done} USING (key)"


def keys_of(target: Table, name: str, errors: Iterable[Row]) -> str:
    """The keys of some errors as a relation (`key`)."""
    keys = pa.array([row["key"] for row in errors], pa.string())
    return ledger_of(target.folder).keep(f"errors/{name}", pa.table({"key": keys}))


def tally(stage: str, target: Table, key: str, wanted: str, errors: Iterable[Row]) -> tuple[int, int]:
    """How many of the wanted rows there are, made or failed, and how many of those failed."""
    ledger, there = ledger_of(target.folder), made(target, key)
    failed = keys_of(target, f"{stage}, counted", (row for row in errors if ERROR_KINDS[row["kind"]].counts))
    rows = ledger.number(f"SELECT count(*) FROM ({wanted}) SEMI JOIN ({there}) USING (key)")
    lost = ledger.number(
        f"SELECT count(*) FROM (SELECT DISTINCT key FROM {failed}) "
        f"SEMI JOIN ({wanted}) USING (key) ANTI JOIN ({there}) USING (key)"
    )
    return rows + lost, lost


def too_many_failed(stage: str, target: Table, key: str, wanted: str, limit: float) -> str | None:
    """A sentence where the share of a stage's rows that failed, in whatever run, is past the limit; else None.

    wanted: SQL of their keys (`key`).
    """
    reasons, failed, rows = failed_of(stage, target, key, wanted)
    if failed <= limit * rows:
        return None
    return (
        f"{stage}: {failed} of {rows} rows failed, more than run.max_error_rate={limit:g} allows: {reasons}; "
        f"{listed(target, stage)}. Mend what can be mended and run it again, with run.retry_errors=true "
        "where pictures stayed as they are, or raise run.max_error_rate"
    )


def failed_of(stage: str, target: Table, key: str, wanted: str) -> tuple[str, int, int]:
    """Why rows failed, how many did, and of how many that were made or failed."""
    errors, ledger = read_errors(target.errors(stage)), ledger_of(target.folder)
    rows, failed = tally(stage, target, key, wanted, errors)
    keys = keys_of(target, f"{stage}, all", errors)
    asked = set(ledger.column(f"SELECT key FROM {keys} SEMI JOIN ({wanted}) USING (key)"))
    counting_ones = (row for row in errors if row["key"] in asked and ERROR_KINDS[row["kind"]].counts)
    return told(counting_ones), failed, rows


def listed(target: Table, stage: str) -> str:
    """Where all errors of a stage are to be seen."""
    folder, table = target.folder, target.errors(stage)
    return f"`alia-ray errors {folder.shown()}` lists them all, from {folder.shown(table.name, table.fingerprint)}"
