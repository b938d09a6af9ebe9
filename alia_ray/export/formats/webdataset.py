"""WebDataset shards: `SPLIT/SPLIT-000000.tar`, a sample being ID.jpg, ID.json and ID.cls.

The .cls is the class's index, since the library webdataset decodes it as a number; the name is in the JSON.

Readers such as the library `datasets` learn from the first samples of one shard which members a sample has and of
which types its JSON is, and refuse or lose what differs later. So every sample looks alike: a picture is a .jpg
whatever its bytes are, since decoders go by the bytes, and the JSON has no null: text is "" instead, a number 0.

The same samples give the same bytes: no member says when or by whom it was written.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from alia_ray.export.formats.samples import SAMPLES, name_of
from alia_ray.store.run_folder import RunFolder

_OF_TYPE = ((pa.types.is_string, ""), (pa.types.is_floating, 0.0), (pa.types.is_integer, 0))
_EMPTY = {
    field.name: next(empty for fits, empty in _OF_TYPE if fits(field.type))
    for field in SAMPLES
    if field.name != "image"
}


def mark(split: str, number: int) -> str:
    """The shard, all that a part is."""
    return f"{split}/{split}-{number:06d}.tar"


def write_part(samples: Iterator[pa.Table], out: RunFolder, mark: str) -> None:
    """Write a shard."""
    with out.writing(mark) as stream, tarfile.open(fileobj=stream, mode="w|") as shard:
        for rows in samples:
            for sample in rows.to_pylist():
                name, picture = name_of(sample), sample.pop("image")
                _add(shard, f"{name}.jpg", picture)
                _add(shard, f"{name}.json", json.dumps(_without_nulls(sample), ensure_ascii=False).encode())
                _add(shard, f"{name}.cls", str(sample["class_index"]).encode())


def _without_nulls(sample: dict[str, Any]) -> dict[str, Any]:
    return {key: _EMPTY[key] if value is None else value for key, value in sample.items()}


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))
