"""The many small files that a stage commits become few, at its end.

A pass commits some dozens of rows at a time, so that little is lost with a worker; a reader, and a store that
counts requests, wants few files. They are put together by tasks. One that is killed leaves rows twice, of which
readers take one.
"""

from collections.abc import Iterator

import ray

from alia_ray.store import parquet, tables
from alia_ray.store.ledger import ledger_of
from alia_ray.store.patience import patiently
from alia_ray.store.run_folder import Table, first_of_each
from alia_ray.store.writing import delete

ROWS = 512  # of a file, about
BYTES = 256 * 2**20  # what a task holds


def merge_files(table: Table) -> None:
    """Put small files of a table together."""
    groups = list(_groups(table))
    if not groups:
        return
    if ray.is_initialized():
        task = ray.remote(num_cpus=1)(_merge)
        merged = ray.get([task.remote(table, files) for files in groups])
    else:
        merged = [_merge(table, files) for files in groups]
    ledger_of(table.folder).merged(table, dict(zip(merged, groups, strict=True)))


def drop_repeated(table: Table) -> None:
    """Leave of each id the row that readers take; an edit made after it failed has two, as after a kill."""
    ledger = ledger_of(table.folder)
    ledger.rows(table, [])
    if strays := ledger.strays(table):
        table.drop_repeated(strays)


def _groups(table: Table) -> Iterator[list[str]]:
    """Files that are to be one, by how many rows and bytes each has."""
    ledger, sizes = ledger_of(table.folder), {info.path: info.size or 0 for info in table.listed()}
    rows = ledger.rows(table, [])
    files = ledger.given(ledger.file_names(table))
    counted = f"SELECT path, count(*) AS rows FROM {rows} JOIN {files} USING (file) GROUP BY path ORDER BY path"
    some: list[str] = []
    held = weight = 0
    for row in ledger.ask(counted).to_pylist():
        size = sizes.get(row["path"], BYTES)
        if row["rows"] > ROWS // 2 or size > BYTES // 2:
            continue
        if some and (held + row["rows"] > ROWS or weight + size > BYTES):
            yield some
            some, held, weight = [], 0, 0
        some.append(row["path"])
        held, weight = held + row["rows"], weight + size
    if len(some) > 1:
        yield some


def _merge(table: Table, files: list[str]) -> str:
    """Put the rows of some files into one, each id once, sorted by id. Returns its path."""
    rows = patiently(lambda: parquet.dataset(files, table.folder.fs, table.schema).to_table())
    rows = first_of_each(rows.sort_by(table.order()), tables.KEYS[table.name])
    merged = table.commit(rows)
    for path in files:
        if path != merged:
            delete(table.folder.fs, path)
    return merged
