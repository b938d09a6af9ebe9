"""WebDataset shards: tar files in which the members of one name, up to the first dot, are one sample.

Listing reads headers and labels and seeks past the pictures, whose places it keeps, so that reading opens each
shard once and goes straight to them.
"""

import json
import posixpath
import re
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import WebDataset
from alia_ray.sources.files import Content, NoPictureError, read_by_part, too_large, version_of
from alia_ray.sources.folders import PICTURES, ending, hidden_part, passed_over, visible
from alia_ray.sources.listing import FOUND, SPLIT_NAMES, Over, make_listing
from alia_ray.store.run_folder import filesystem, without_query

_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # the sample's key, and what kind of member it is
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_DESCRIPTION = 2**20  # bytes that a .cls or .json may have; a tar may promise any number


def list_images(source: WebDataset, over: Over) -> pa.Table:
    """List every sample as SHARD#OFFSET#SIZE of its picture; one without a picture has the size 0.

    Raises ConfigError without shards, for a broken one, and where only some of them name a split.
    """
    fs, root, _ = _place(source.path)
    shards, left = _shards(source.path)
    of_shard = [_split_of(shard) for shard in shards]
    if any(of_shard) and not all(of_shard):
        beside = shards[of_shard.index(None)]
        raise ConfigError(f"source.path: the shard {beside} names no split, though others do; rename it")
    infos = fs.get_file_info([posixpath.join(root, shard) for shard in shards])
    listed = over(partial(_listed, source), list(zip(shards, of_shard, map(version_of, infos), strict=True)))
    parts, told = [], set()
    for rows, told_there, left_there in listed:
        parts.append(rows)
        told |= told_there
        left.add(left_there)
    for name in ("split", "group"):
        key = getattr(source, f"{name}_key")
        if key != name and name not in told:  # which the default need not be
            raise ConfigError(f"source.{name}_key: no sample's .json gives {key!r}; correct it, or leave it out")
    fractions = source.val_fraction, source.test_fraction
    return make_listing(*pa.concat_tables(parts).columns, *fractions, left.sentences())


def _listed(source: WebDataset, shard: tuple[str, str | None, str | None]) -> tuple[pa.Table, set[str], "_Left"]:
    """The samples of a shard, given by its path, split and version; what they tell; what was not taken."""
    path, split, version = shard
    fs, root, _ = _place(source.path)
    left, told = _Left(), set()
    origins, labels, given, groups = [], [], [], []
    for sample in _samples(fs, root, path, left):
        described = _described(source, sample)
        told |= {name for name in ("split", "group") if described[name]}
        origins.append("#".join(map(str, (path, *sample["place"]))))
        labels.append(described["label"])
        given.append(described["split"] or split)
        groups.append(described["group"] or described["label"])
    rows = pa.table([origins, labels, given, groups, [version] * len(origins)], schema=FOUND)
    return rows, told, left


@dataclass
class _Left:
    """What was not taken: how many things of which kind, how many members or files by their endings."""

    passed: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "_Left") -> None:
        self.passed += other.passed
        self.endings += other.endings
        self.notes += other.notes

    def sentences(self) -> list[str]:
        return passed_over(self.passed, self.endings, "that are no picture, .cls or .json") + self.notes


def _place(path: str) -> tuple[pafs.FileSystem, str, str]:
    """The filesystem of a path, a folder on it, and a pattern of the shards below it ("" for all)."""
    shards = without_query(path)
    if "*" not in shards and not shards.endswith(".tar"):
        return *filesystem(path), ""
    outer = shards.partition("*")[0].rpartition("/")[0]
    folder = outer or ("/" if shards.startswith("/") else ".")
    return *filesystem(folder + path[len(shards) :]), shards[len(outer) :].lstrip("/")


def _shards(path: str) -> tuple[list[str], _Left]:
    """The shards' paths below their folder, sorted, and what lies beside them where the folder is meant."""
    if without_query(path).lower().endswith(_COMPRESSED):
        raise ConfigError(f"source.path: {path} is compressed; unpack it to a .tar, in which pictures have places")
    fs, root, pattern = _place(path)
    found = visible(fs, root)
    names = [name for name in found.files if name.lower().endswith(".tar")]
    if pattern:
        names = [name for name in names if PurePosixPath("/", name).match(f"/{pattern}")]
        return _some(names, path), _Left()
    others = [name for name in found.files if not name.lower().endswith(".tar")]
    if not names and any(name.lower().endswith(_COMPRESSED) for name in others):
        raise ConfigError(f"source.path: the shards at {path} are compressed; unpack each to a .tar")
    return _some(names, path), _Left(found.passed, Counter(map(ending, others)))


def _some(names: list[str], path: str) -> list[str]:
    if not names:
        raise ConfigError(f"source.path: there is no *.tar at {path} (a * is expanded, braces are not)")
    return names


def _split_of(shard: str) -> str | None:
    """The split that a shard's first folder or the first word of its name says: train/000.tar, train-000.tar."""
    folder, _, name = shard.rpartition("/")
    words = (folder.split("/")[0], re.split(r"[^A-Za-z]", name)[0])
    return next((word for word in words if word.lower() in SPLIT_NAMES), None)


def _samples(fs: pafs.FileSystem, root: str, shard: str, left: _Left) -> list[dict[str, Any]]:
    """The samples of a shard in their order: the `place` (offset, size) of each one's picture, `cls`, `json`."""
    samples: dict[str, dict[str, Any]] = {}
    try:
        with (
            fs.open_input_file(posixpath.join(root, shard)) as file,
            tarfile.open(fileobj=_Bounded(file), mode="r:") as tar,
        ):
            for member in tar:
                kind, key = _kind(member, left)
                if kind is None:
                    continue
                sample = samples.setdefault(key, {"place": (member.offset, 0)})
                if kind in ("cls", "json"):
                    sample[kind] = tar.extractfile(member).read()
                elif sample["place"][1]:
                    raise ConfigError(f"source.path: the sample {key!r} of {shard} has two pictures; keep one")
                else:
                    sample["place"] = (member.offset_data, member.size)
            mark = file.read_at(tarfile.BLOCKSIZE, tar.offset)
    except (OSError, tarfile.TarError, MemoryError, OverflowError) as error:
        raise ConfigError(f"source.path: cannot read the shard {shard}: {error}") from error
    if mark.strip(b"\0"):  # tarfile takes a broken header for the end
        raise ConfigError(f"source.path: the shard {shard} is damaged at byte {tar.offset}; get it anew")
    if not mark:
        left.notes.append(f"the shard {shard} has no mark at its end and may be cut short")
    return list(samples.values())


class _Bounded:
    """A shard of which tarfile reads little at a time: a header of names and attributes may be of any size."""

    def __init__(self, file: pa.NativeFile) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        """As of a file. Raises OSError for more than a description and a block."""
        if size > _DESCRIPTION + tarfile.BLOCKSIZE:
            raise OSError(f"a member's header has {size} bytes")
        return self.file.read(size)


def _kind(member: tarfile.TarInfo, left: _Left) -> tuple[str | None, str]:
    """What a member is, such as "jpg", "cls" or "json", and its sample's key; None for what is passed over."""
    match = _NAME.fullmatch(member.name)
    kind = match[2].lower() if match else ""
    if member.isdir():
        return None, ""
    if hidden_part(member.name):
        left.passed["hidden"] += 1
    elif not member.isreg() or member.issparse():
        left.passed["links, devices or sparse"] += 1
    elif kind in ("cls", "json") and member.size > _DESCRIPTION:
        left.passed["over 1 MB (.cls or .json)"] += 1
    elif kind in ("cls", "json") or f".{kind}" in PICTURES:
        return kind, match[1]
    else:
        left.endings[f".*{ending(kind)}" if "." in kind else ending(member.name)] += 1
    return None, ""


def _described(source: WebDataset, sample: dict[str, Any]) -> dict[str, str | None]:
    """A sample's label, split and group; null where it does not say, or is not valid."""
    try:
        fields = json.loads(sample.get("json", b"{}"))
    except (ValueError, RecursionError):
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    found = {"split": fields.get(source.split_key), "group": fields.get(source.group_key)}
    if source.label_key is None:
        found["label"] = sample.get("cls", b"").decode(errors="replace").strip() or None
    else:
        found["label"] = fields.get(source.label_key)
    return {
        key: None
        if value is None or isinstance(value, list | dict)
        else str(value).encode(errors="replace").decode()
        for key, value in found.items()
    }


def read_images(source: WebDataset, rows: pa.Table) -> list[Content]:
    """Read the pictures of some rows; each shard is opened once."""
    fs, root, _ = _place(source.path)

    def read(shard: str, members: list[tuple[int, int]]) -> list[Content]:
        with fs.open_input_file(posixpath.join(root, shard)) as file:
            return [_read(file, offset, size) for offset, size in members]

    parts = (origin.rsplit("#", 2) for origin in rows.column("origin").to_pylist())
    return read_by_part([(shard, (int(offset), int(size))) for shard, offset, size in parts], read)


def _read(file: pa.NativeFile, offset: int, size: int) -> Content:
    if size == 0:
        return NoPictureError("the sample has no picture")
    if offset + size > file.size():
        return NoPictureError("the shard ends before the picture does; it was cut or written anew")
    return too_large(size) or file.read_at(size, offset)
