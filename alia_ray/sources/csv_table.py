"""A CSV of metadata that names image files."""

import posixpath

import pyarrow as pa
import pyarrow.csv as pacsv

from alia_ray.config import ConfigError, CsvTable
from alia_ray.run_folder import filesystem
from alia_ray.sources.listing import LISTING, Content, assign_splits, read_files


def list_images(source: CsvTable) -> pa.Table:
    """List the rows of the CSV. Raises ConfigError for a missing file or column, or a path out of `root`."""
    fs, path = filesystem(source.path)
    try:
        with fs.open_input_stream(path) as stream:
            rows = pacsv.read_csv(stream)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"source.path: cannot read the CSV {source.path}: {error}") from error
    origins = _text(rows, source.path_column, "path_column")
    for origin in origins:
        if not origin:
            raise ConfigError(f"source.path_column: a row of {source.path} names no file")
        if posixpath.isabs(origin) or ".." in origin.split("/"):
            raise ConfigError(f"source.path: the path {origin!r} leads out of source.root")
    labels = _text(rows, source.label_column, "label_column")
    has_splits = source.split_column is not None and source.split_column in rows.column_names
    given = _text(rows, source.split_column, "split_column") if has_splits else [None] * len(origins)
    groups = _text(rows, source.group_column, "group_column") if source.group_column else labels
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, groups], schema=LISTING)


def _text(rows: pa.Table, column: str, key: str) -> list[str | None]:
    if column not in rows.column_names:
        raise ConfigError(f"source.{key}: the table has no column {column!r}, only {', '.join(rows.column_names)}")
    return rows.column(column).cast(pa.string()).to_pylist()


def read_images(source: CsvTable, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.root, rows.column("origin").to_pylist())
