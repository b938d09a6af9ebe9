"""A Parquet dataset with the encoded images in a column: bytes, or Hugging Face's struct of bytes and path."""

import posixpath
from itertools import groupby

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.config import ConfigError
from alia_ray.config.source import ParquetTable
from alia_ray.sources.files import Content, NoPictureError, version_of
from alia_ray.sources.listing import LISTING, assign_splits
from alia_ray.store.patience import patiently
from alia_ray.store.run_folder import filesystem


def list_images(source: ParquetTable) -> pa.Table:
    """List every row as FILE#ROWGROUP#ROW. Raises ConfigError for a missing path or column."""
    fs, root = filesystem(source.path)
    origins, labels, given, groups, versions = [], [], [], [], []
    for path, version in _files(fs, root, source.path):
        file = pq.ParquetFile(path, filesystem=fs)
        names = file.schema_arrow.names
        for key in ("image_column", "label_column", "group_column"):
            column = getattr(source, key)
            if column is not None and column not in names:
                raise ConfigError(f"source.{key}: {path} has no column {column!r}, only {', '.join(names)}")
        split = source.split_column if source.split_column in names else None
        wanted = [name for name in (source.label_column, split, source.group_column) if name]
        base = posixpath.relpath(path, root) if path != root else posixpath.basename(path)
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns=wanted)
            origins += [f"{base}#{number}#{row}" for row in range(rows.num_rows)]
            labels += _text(rows, source.label_column)
            given += _text(rows, split) if split else [None] * rows.num_rows
            groups += _text(rows, source.group_column or source.label_column)
            versions += [version] * rows.num_rows
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, groups, versions], schema=LISTING)


def _files(fs: pafs.FileSystem, root: str, shown: str) -> list[tuple[str, str | None]]:
    """The Parquet files, sorted, each with its version."""
    info = fs.get_file_info(root)
    if info.type == pafs.FileType.File:
        return [(root, version_of(info))]
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    files = sorted((entry.path, version_of(entry)) for entry in found if entry.path.endswith(".parquet"))
    if not files:
        raise ConfigError(f"source.path: there is no Parquet file under {shown}")
    return files


def _text(rows: pa.Table, column: str) -> list[str | None]:
    return rows.column(column).cast(pa.string()).to_pylist()


def read_images(source: ParquetTable, rows: pa.Table) -> list[Content]:
    """Read the image bytes of some rows; each row group is opened once."""
    fs, root = filesystem(source.path)
    is_file = fs.get_file_info(root).type == pafs.FileType.File
    places = [origin.rsplit("#", 2) for origin in rows.column("origin").to_pylist()]
    contents: list[Content] = [OSError("not read")] * len(places)
    order = sorted(range(len(places)), key=lambda index: places[index][:2])
    for (base, number), members in groupby(order, key=lambda index: places[index][:2]):
        indices, path = list(members), root if is_file else posixpath.join(root, base)

        def read(path: str = path, number: str = number) -> pa.ChunkedArray:
            return pq.ParquetFile(path, filesystem=fs).read_row_group(int(number), [source.image_column]).column(0)

        try:
            column = patiently(read)
        except OSError as error:
            for index in indices:
                contents[index] = error
            continue
        for index in indices:
            value = column[int(places[index][2])].as_py()
            value = value.get("bytes") if isinstance(value, dict) else value
            contents[index] = value if value is not None else NoPictureError("the image column is null")
    return contents
