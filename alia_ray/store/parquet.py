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

ROWS_AT_ONCE = (64, 1024)  # of a row group that holds pictures: at least, and at most
BYTES_AT_ONCE = 2**20  # of a row group between those
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
    """Write rows as a file; pictures can be read a few at a time.

    Statistics are kept of the key alone, the first column: of scores they say nothing that is asked for, and
    those of many row groups take longer to read than the rows.
    """
    pq.write_table(
        rows,
        stream,
        row_group_size=_rows_at_once(rows) if "image" in rows.schema.names else None,
        write_statistics=rows.schema.names[:1],
        write_page_checksum=True,
    )


def _rows_at_once(rows: pa.Table) -> int:
    """Many rows of small pictures, few of large ones."""
    least, most = ROWS_AT_ONCE
    return min(max(BYTES_AT_ONCE * rows.num_rows // max(rows.nbytes, 1), least), most)


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
