"""The rows of a table by id, for any process that is told its path: each id once, and as it was made.

An id may lie in two files: an edit that failed and was made later, one that was made again for its picture, or
what a killed process left. The row without an error counts; of several such one with a picture, that in the first
file.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.store import parquet
from alia_ray.store.damage import reading
from alia_ray.store.patience import patiently
from alia_ray.store.run_folder import FILE, PICTURE_SIZE, filesystem, first_of_each, listed_in

ROWS_AT_ONCE = 64  # encoded images held beside the decoded ones, times pyarrow's read-ahead
FILES_AT_ONCE = 4  # whose ids are looked up in every batch; pyarrow reads all of them ahead


def homes(table: str, key: str, ids: Sequence[str]) -> pa.Table:
    """Which file holds each of some rows: columns `key`, sorted, and FILE. Ids that were not made are left out.

    table: the path or URI of a folder of Parquet files, or of one of them.
    """
    return patiently(lambda: _homes(*filesystem(table), key, ids))


def _homes(fs: pafs.FileSystem, path: str, key: str, ids: Sequence[str]) -> pa.Table:
    stored = parquet.dataset(path if path.endswith(".parquet") else listed_in(fs, path) or path, fs)
    names = stored.schema.names
    wanted = pc.field(key).isin(pa.array(ids, pa.string()))
    if "error" in names:
        wanted &= pc.field("error").is_null()
    sizes = [PICTURE_SIZE] if PICTURE_SIZE in names else []
    rows = stored.to_table(columns=[key, *sizes, FILE], filter=wanted)
    order = [(name, "ascending", "at_end") for name in rows.column_names]
    return first_of_each(rows.sort_by(order), key).select([key, FILE])


def stream(table: str, of_rows: pa.Table, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of which `of_rows` are the homes: their key and `columns`, a few at a time, file after file.

    What `of_rows` has beside key and FILE comes along. Reading that fails for a moment goes on with the rows that
    are left. Raises StageError where one of the files was damaged, which is put aside.
    """
    fs, first = filesystem(table)[0], 0
    of_rows = of_rows.sort_by(FILE)  # then those of some files are one slice
    files = of_rows.group_by(FILE).aggregate([([], "count_all")]).sort_by(FILE).combine_chunks()
    for some in files.to_batches(FILES_AT_ONCE):
        count = pc.sum(some.column("count_all")).as_py()
        yield from _stream(fs, of_rows.slice(first, count), columns)
        first += count


def _is_one_of(key: str, ids: pa.StringArray) -> pc.Expression:
    """Row groups outside of their range are not read: files are sorted by id, and so is what is asked of one."""
    ends = pc.min_max(ids)
    return (pc.field(key) >= ends["min"]) & (pc.field(key) <= ends["max"]) & pc.field(key).isin(ids)


def _stream(fs: pafs.FileSystem, of_rows: pa.Table, columns: list[str]) -> Iterator[pa.Table]:
    """The same of some files."""
    key = of_rows.column_names[0]
    keys, files, given = of_rows.column(key).combine_chunks(), of_rows.column(FILE).unique().to_pylist(), []
    found: Iterator[pa.RecordBatch] | None = None

    def following() -> pa.RecordBatch | None:
        nonlocal found
        try:
            with reading(fs, files, [key, *columns]):
                if found is None:
                    left = keys.filter(pc.invert(pc.is_in(keys, value_set=pa.array(given, keys.type))))
                    wanted = {"filter": _is_one_of(key, left), "batch_size": ROWS_AT_ONCE}
                    found = parquet.dataset(files, fs).to_batches([key, *columns, FILE], **wanted)
                return next(found, None)
        except OSError:
            found = None
            raise

    while (batch := patiently(following)) is not None:
        rows = pa.Table.from_batches([batch])
        known = of_rows.take(pc.index_in(rows.column(key), value_set=keys))
        lie_there = pc.equal(rows.column(FILE), known.column(FILE))
        rows = rows.drop_columns(FILE)
        for name in known.column_names[2:]:
            rows = rows.append_column(name, known.column(name))
        rows = rows.filter(lie_there)
        given += rows.column(key).to_pylist()
        if rows.num_rows:
            yield rows
