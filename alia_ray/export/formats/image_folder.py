"""An ImageFolder tree: `SPLIT/CLASS/ID.jpg`, and beside the classes `SPLIT/metadata.parquet`.

Its column `file_name` is relative to the split's folder, where the library `datasets` looks for it. It is no CSV:
of that the library guesses the types for each split anew, and refuses splits in which they differ.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.errors import StageError
from alia_ray.export.formats.samples import SAMPLES, name_of
from alia_ray.images import file_ending
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import content_id

_METADATA = pa.schema([pa.field("file_name", pa.string()), *(field for field in SAMPLES if field.name != "image")])
_JOINED = "metadata.parquet"
_PARTS = ".metadata"  # where the parts of the metadata lie until all are there
_LONGEST = 255  # bytes of a folder's name
_THREADS = 8  # on an object store, small files take time and no CPU


def mark(split: str, number: int) -> str:
    """The metadata of a part."""
    return f"{_PARTS}/{split}-{number:06d}.parquet"


def write_part(samples: Iterator[pa.Table], out: RunFolder, mark: str) -> None:
    """Write the pictures, then their metadata."""
    written = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for rows in samples:
            names = list(threads.map(lambda sample: _write_picture(out, sample), rows.to_pylist()))
            columns = [pa.array(names, pa.string()), *rows.drop_columns("image").columns]
            written.append(pa.table(columns, schema=_METADATA))
    with out.writing(mark) as stream:
        pq.write_table(pa.concat_tables(written), stream)


def _write_picture(out: RunFolder, sample: dict[str, Any]) -> str:
    """Write a picture below its split's folder; its path there."""
    name = f"{class_folder(sample['label'])}/{name_of(sample)}.{file_ending(sample['image'])}"
    out.write_bytes(sample["image"], sample["split"], name)
    return name


def finish(out: RunFolder, marks: Mapping[str, Sequence[str]]) -> None:
    """Join the metadata of each split."""
    for split, paths in marks.items():
        with out.writing(split, _JOINED) as stream, pq.ParquetWriter(stream, _METADATA) as writer:
            for path in paths:
                rows = out.read_parquet(path)
                if rows is None:
                    raise StageError(f"export: {out.shown(path)} is not there any more; run it again")
                writer.write_table(rows)
    out.fs.delete_dir(out.file(_PARTS))


def is_whole(out: RunFolder, split: str, images: int) -> bool:
    """Whether a finished split has all its pictures and their metadata, by a list of its files."""
    found = out.fs.get_file_info(pafs.FileSelector(out.file(split), recursive=True, allow_not_found=True))
    return out.has_file(split, _JOINED) and sum(info.size is not None and info.size > 0 for info in found) > images


def class_folder(label: str) -> str:
    """A class name as one part of a path, never "", "." or ".." or hidden; different names stay different.

    What cannot be in it becomes %XX, as in a URL. A name that is too long for a file system is cut, and ends in %%
    and a digest.
    """
    name = re.sub(r"^\.|[/\\%\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", label) or "%"
    if len(name.encode()) <= _LONGEST:
        return name
    return f"{name.encode()[: _LONGEST - 18].decode(errors='ignore')}%%{content_id(label)[:16]}"
