"""A CSV of metadata that names image files."""

import pyarrow as pa

from alia_ray.config.source import CsvTable
from alia_ray.sources.files import Content, check_inside, read_csv, read_files, text_column, versions
from alia_ray.sources.listing import LISTING, assign_splits


def list_images(source: CsvTable) -> pa.Table:
    """List the rows of the CSV. Raises ConfigError for a missing file or column, or a path out of `root`."""
    rows = read_csv("path", source.path)
    origins = text_column(rows, source.path_column, "path_column")
    check_inside("path_column", origins, "source.root")
    labels = text_column(rows, source.label_column, "label_column")
    has_splits = source.split_column is not None and source.split_column in rows.column_names
    given = text_column(rows, source.split_column, "split_column") if has_splits else [None] * len(origins)
    groups = text_column(rows, source.group_column, "group_column") if source.group_column else labels
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, groups, versions(source.root, origins)], schema=LISTING)


def read_images(source: CsvTable, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.root, rows.column("origin").to_pylist())
