"""A CSV of metadata that names image files; tabs and semicolons separate as well as commas."""

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.source import CsvTable
from alia_ray.sources.files import Content, paths_below, read_csv, read_files, text_column, versions
from alia_ray.sources.listing import make_listing, values


def list_images(source: CsvTable) -> pa.Table:
    """List the rows of the CSV. Raises ConfigError for a missing file or column, or a path out of `root`."""
    rows = read_csv("path", source.path)
    paths = text_column(rows, source.path_column, "path_column")
    origins = pa.array(paths_below("path_column", values(paths), source.root), pa.string())
    labels = text_column(rows, source.label_column, "label_column")
    given = pa.nulls(rows.num_rows, pa.string())
    if source.names_splits or source.split_column in rows.column_names:
        given = text_column(rows, source.split_column, "split_column")
    if 0 < given.null_count < len(given):
        first = origins[given.is_null().index(True).as_py()].as_py()
        raise ConfigError(f"source.split_column: {first!r} has no split, though others do; give it one")
    groups = text_column(rows, source.group_column, "group_column") if source.group_column else labels
    files = versions(source.root, origins)
    return make_listing(origins, labels, given, groups, files, source.val_fraction, source.test_fraction)


def read_images(source: CsvTable, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.root, rows.column("origin").to_pylist())
