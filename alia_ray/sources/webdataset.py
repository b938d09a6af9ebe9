"""WebDataset shards: tar files in which the members of one name, up to the first dot, are one sample.

Listing reads headers and labels and seeks past the pictures, whose places it keeps, so that reading opens each
shard once and goes straight to them.
"""

import json
import posixpath
import re
import tarfile
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import WebDataset
from alia_ray.sources.files import Content, version_of
from alia_ray.sources.listing import LISTING, SPLIT_NAMES, assign_splits
from alia_ray.store.run_folder import filesystem, without_query

_IMAGES = ("jpg", "jpeg", "png", "webp")
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # the sample's key, and what kind of member it is


def list_images(source: WebDataset) -> pa.Table:
    """List every sample as SHARD#OFFSET#SIZE of its picture; one without a picture has the size 0.

    Raises ConfigError without shards, for a broken one, and where only some of them name a split.
    """
    fs, root, _ = _place(source.path)
    shards = _shards(source.path)
    of_shard = [_split_of(shard) for shard in shards]
    if any(of_shard) and not all(of_shard):
        beside = shards[of_shard.index(None)]
        raise ConfigError(f"source.path: the shard {beside} names no split, though others do; rename it")
    infos = fs.get_file_info([posixpath.join(root, shard) for shard in shards])
    origins, labels, given, groups, versions = [], [], [], [], []
    for shard, split, info in zip(shards, of_shard, infos, strict=True):
        for sample in _samples(fs, root, shard):
            described = _described(source, sample)
            origins.append("#".join(map(str, (shard, *sample["place"]))))
            labels.append(described["label"])
            given.append(described["split"] or split)
            groups.append(described["group"] or described["label"])
            versions.append(version_of(info))
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, groups, versions], schema=LISTING)


def _place(path: str) -> tuple[pafs.FileSystem, str, str]:
    """The filesystem of a path, a folder on it, and a pattern of the shards below it ("" for all)."""
    shards = without_query(path)
    if "*" not in shards and not shards.endswith(".tar"):
        return *filesystem(path), ""
    outer = shards.partition("*")[0].rpartition("/")[0]
    folder = outer or ("/" if shards.startswith("/") else ".")
    return *filesystem(folder + path[len(shards) :]), shards[len(outer) :].lstrip("/")


def _shards(path: str) -> list[str]:
    """The shards' paths below their folder, sorted."""
    fs, root, pattern = _place(path)
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    names = sorted(posixpath.relpath(info.path, root) for info in found if info.path.endswith(".tar"))
    names = [name for name in names if not pattern or PurePosixPath("/", name).match(f"/{pattern}")]
    if not names:
        raise ConfigError(f"source.path: there is no *.tar at {path} (a * is expanded, braces are not)")
    return names


def _split_of(shard: str) -> str | None:
    """The split that a shard's first folder or the first word of its name says: train/000.tar, train-000.tar."""
    folder, _, name = shard.rpartition("/")
    words = (folder.split("/")[0], re.split(r"[^A-Za-z]", name)[0])
    return next((word for word in words if word.lower() in SPLIT_NAMES), None)


def _samples(fs: pafs.FileSystem, root: str, shard: str) -> list[dict[str, Any]]:
    """The samples of a shard in their order: the `place` (offset, size) of each one's picture, `cls`, `json`."""
    samples: dict[str, dict[str, Any]] = {}
    try:
        with fs.open_input_file(posixpath.join(root, shard)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                match = _NAME.fullmatch(member.name)
                kind = match[2].lower() if match and member.isreg() else ""
                if kind not in (*_IMAGES, "cls", "json"):
                    continue
                sample = samples.setdefault(match[1], {"place": (member.offset, 0)})
                if kind not in _IMAGES:
                    sample[kind] = tar.extractfile(member).read()
                elif sample["place"][1]:
                    raise ConfigError(
                        f"source.path: the sample {match[1]!r} of {shard} has two pictures; keep one"
                    )
                else:
                    sample["place"] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"source.path: cannot read the shard {shard}: {error}") from error
    return list(samples.values())


def _described(source: WebDataset, sample: dict[str, Any]) -> dict[str, str | None]:
    """A sample's label, split and group; null where it does not say, or is not valid."""
    try:
        fields = json.loads(sample.get("json", b"{}"))
    except ValueError:
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    found = {"split": fields.get(source.split_key), "group": fields.get(source.group_key)}
    if source.label_key is None:
        found["label"] = sample.get("cls", b"").decode(errors="replace").strip() or None
    else:
        found["label"] = fields.get(source.label_key)
    return {key: None if value is None else str(value) for key, value in found.items()}


def read_images(source: WebDataset, rows: pa.Table) -> list[Content]:
    """Read the pictures of some rows; each shard is opened once."""
    fs, root, _ = _place(source.path)
    places = [origin.rsplit("#", 2) for origin in rows.column("origin").to_pylist()]
    contents: list[Content] = [OSError("not read")] * len(places)
    order = sorted(range(len(places)), key=lambda index: (places[index][0], int(places[index][1])))
    for shard, members in groupby(order, key=lambda index: places[index][0]):
        indices = list(members)
        try:
            with fs.open_input_file(posixpath.join(root, shard)) as file:
                for index in indices:
                    _, offset, size = places[index]
                    found = file.read_at(int(size), int(offset))
                    contents[index] = found if found else OSError("the sample has no picture")
        except OSError as error:
            for index in indices:
                contents[index] = error
    return contents
