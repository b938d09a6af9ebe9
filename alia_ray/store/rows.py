"""The rows of a table by id, for any process that is told its path: each id once, and as it was made.

An id may lie in two files: an edit that failed and was made later, or what a killed process left. The row without
an error counts; of several such that in the first file.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.store import parquet
from alia_ray.store.damage import reading
from alia_ray.store.run_folder import FILE, filesystem, first_of_each, parts_in

ROWS_AT_ONCE = 64  # encoded images held beside the decoded ones, times pyarrow's read-ahead


def homes(table: str, key: str, ids: Sequence[str]) -> pa.Table:
    """Which file holds each of some rows: columns `key`, sorted, and FILE. Ids that were not made are left out.

    table: the path or URI of a folder of Parquet files, or of one of them.
    """
    fs, path = filesystem(table)
    stored = parquet.dataset(path if fs.get_file_info(path).is_file else parts_in(fs, path) or path, fs)
    is_made = pc.field("error").is_null() if "error" in stored.schema.names else None
    rows = stored.to_table(columns=[key, FILE], filter=is_made)
    rows = rows.filter(pc.is_in(rows.column(key), value_set=pa.array(ids, pa.string())))
    return first_of_each(rows.sort_by([(key, "ascending"), (FILE, "ascending")]), key)


def stream(table: str, of_rows: pa.Table, columns: list[str]) -> Iterator[pa.Table]:
    """The rows of which `of_rows` are the homes: their key and `columns`, a few at a time, file after file.

    Raises StageError where one of the files was damaged, which is put aside.
    """
    if not of_rows.num_rows:
        return
    key = of_rows.column_names[0]
    keys, homes_of_keys = (of_rows.column(name).combine_chunks() for name in (key, FILE))
    files = sorted(homes_of_keys.unique().to_pylist())
    fs, wanted = filesystem(table)[0], pc.field(key).isin(keys)
    found = parquet.dataset(files, fs).to_batches([key, *columns, FILE], filter=wanted, batch_size=ROWS_AT_ONCE)
    while True:
        with reading(fs, files, [key, *columns]):
            batch = next(found, None)
        if batch is None:
            return
        rows = pa.Table.from_batches([batch])
        home = homes_of_keys.take(pc.index_in(rows.column(key), value_set=keys))
        rows = rows.filter(pc.equal(rows.column(FILE), home)).drop_columns(FILE)
        if rows.num_rows:
            yield rows
