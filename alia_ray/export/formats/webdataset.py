"""WebDataset shards: `SPLIT/SPLIT-000000.tar`, a sample being ID.jpg, ID.json and ID.cls.

The .cls is the class's index, since the library webdataset decodes it as a number; the name is in the JSON.

The same samples give the same bytes: no member says when or by whom it was written.
"""

import io
import json
import tarfile
from collections.abc import Iterator

import pyarrow as pa

from alia_ray.export.formats.samples import name_of
from alia_ray.images import file_ending
from alia_ray.store.run_folder import RunFolder


def mark(split: str, number: int) -> str:
    """The shard, all that a part is."""
    return f"{split}/{split}-{number:06d}.tar"


def write_part(samples: Iterator[pa.Table], out: RunFolder, mark: str) -> None:
    """Write a shard."""
    with out.writing(mark) as stream, tarfile.open(fileobj=stream, mode="w|") as shard:
        for rows in samples:
            for sample in rows.to_pylist():
                name, picture = name_of(sample), sample.pop("image")
                _add(shard, f"{name}.{file_ending(picture)}", picture)
                _add(shard, f"{name}.json", json.dumps(sample, ensure_ascii=False).encode())
                _add(shard, f"{name}.cls", str(sample["class_index"]).encode())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))
