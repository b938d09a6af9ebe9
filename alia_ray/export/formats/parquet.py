"""Parquet: `SPLIT/part-000000.parquet`, the encoded picture in the column `image`."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from alia_ray.export.formats.samples import SAMPLES
from alia_ray.store.run_folder import RunFolder


def mark(split: str, number: int) -> str:
    """The file, all that a part is."""
    return f"{split}/part-{number:06d}.parquet"


def write_part(samples: Iterator[pa.Table], out: RunFolder, mark: str) -> None:
    """Write a file; each table of samples is a row group, small enough to read one for one picture."""
    with out.writing(mark) as stream, pq.ParquetWriter(stream, SAMPLES) as writer:
        for rows in samples:
            writer.write_table(rows)
