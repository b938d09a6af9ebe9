"""Parquet files whose pages carry checksums, and reading that looks at them.

A changed byte in the middle of a page is otherwise read as another pixel or another score, since most of a page
has no form that it could violate. Files of older releases have no checksums, and are read as they are.
"""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

ROWS_WITH_PICTURES = 64  # of a row group
VERIFIED = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
"""For whoever scans a part of a dataset, such as Ray Data."""
_FORMAT = ds.ParquetFileFormat(default_fragment_scan_options=VERIFIED)


def write(rows: pa.Table, where: str | pa.NativeFile, fs: pafs.FileSystem | None = None) -> None:
    """Write rows as a file; pictures can be read a few at a time."""
    rows_at_once = ROWS_WITH_PICTURES if "image" in rows.schema.names else None
    pq.write_table(rows, where, row_group_size=rows_at_once, filesystem=fs, write_page_checksum=True)


def dataset(files: str | list[str], fs: pafs.FileSystem, schema: pa.Schema | None = None) -> ds.Dataset:
    """The rows of a file, of some, or of those in a folder. Reading raises OSError where a page has changed."""
    return ds.dataset(files, filesystem=fs, schema=schema, format=_FORMAT)


def read(path: str, fs: pafs.FileSystem, columns: list[str] | None = None) -> pa.Table:
    """The rows of a file. Raises OSError where a page has changed."""
    return pq.read_table(path, columns=columns, filesystem=fs, page_checksum_verification=True)


def opened(file: str | pa.NativeFile, fs: pafs.FileSystem | None = None) -> pq.ParquetFile:
    """A file to read bit by bit."""
    return pq.ParquetFile(file, filesystem=fs, page_checksum_verification=True)
