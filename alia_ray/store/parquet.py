"""Parquet files whose pages carry checksums, and reading that looks at them.

A changed byte in the middle of a page is otherwise read as another pixel or another score, since most of a page
has no form that it could violate. Files of older releases have no checksums, and are read as they are.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.store.filesystems import is_object_store

ROWS_WITH_PICTURES = 64  # of a row group
VERIFIED = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
"""For whoever scans a part of a dataset, such as Ray Data."""
_FORMAT = ds.ParquetFileFormat(default_fragment_scan_options=VERIFIED)
_GAP = 2**20  # bytes that an object store sends in less time than another request takes
_FROM_A_STORE = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(
        page_checksum_verification=True, cache_options=pa.CacheOptions(hole_size_limit=_GAP)
    )
)


def write(rows: pa.Table, stream: pa.NativeFile) -> None:
    """Write rows as a file; pictures can be read a few at a time."""
    rows_at_once = ROWS_WITH_PICTURES if "image" in rows.schema.names else None
    pq.write_table(rows, stream, row_group_size=rows_at_once, write_page_checksum=True)


def dataset(
    files: str | Sequence[str | pafs.FileInfo], fs: pafs.FileSystem, schema: pa.Schema | None = None
) -> ds.Dataset:
    """The rows of a file, of some, or of those in a folder. Reading raises OSError where a page has changed.

    What a listing gave spares the store a request for each file, which would ask for its size.
    """
    form = _FROM_A_STORE if is_object_store(fs) else _FORMAT
    return ds.dataset(files, filesystem=fs, schema=schema, format=form)


def read(path: str, fs: pafs.FileSystem, columns: list[str] | None = None) -> pa.Table:
    """The rows of a file. Raises OSError where a page has changed."""
    with pq.ParquetFile(path, filesystem=fs, page_checksum_verification=True, pre_buffer=True) as file:
        return file.read(columns)


def opened(file: str | pa.NativeFile, fs: pafs.FileSystem | None = None) -> pq.ParquetFile:
    """A file to read bit by bit."""
    return pq.ParquetFile(file, filesystem=fs, page_checksum_verification=True)
