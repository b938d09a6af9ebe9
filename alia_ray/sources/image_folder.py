"""An ImageFolder tree: `SPLIT/CLASS/image`, or `CLASS/image`; a class may have folders of its own."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import ImageFolder
from alia_ray.errors import shortened
from alia_ray.sources.files import Content, read_files, version_of
from alia_ray.sources.folders import ending, may_be_picture, passed_over, visible
from alia_ray.sources.listing import SPLIT_NAMES, make_listing, meant_split
from alia_ray.store.run_folder import filesystem


def list_images(source: ImageFolder) -> pa.Table:
    """List every file that may be a picture; the class is the folder below the split or the root.

    Raises ConfigError when there is no such folder, or some images lie in splits and others beside them.
    """
    fs, root = filesystem(source.path)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise ConfigError(f"source.path: there is no folder {source.path}")
    found = visible(fs, root)
    origins = [path for path in found.files if may_be_picture(path)]
    others = [path for path in found.files if not may_be_picture(path)]
    parts = [origin.split("/") for origin in origins]
    has_splits = _has_splits(parts)
    depth = 1 if has_splits else 0
    labels = [part[depth] if len(part) > depth + 1 else None for part in parts]
    given = [part[0] if has_splits else None for part in parts]
    notes = passed_over(
        found.passed, Counter(map(ending, others)), "that are no pictures", next(iter(others), None)
    )
    notes += [*_empty(found.folders, parts, depth), *_deeper(parts, depth)]
    files = [version_of(found.files[origin]) for origin in origins]
    return make_listing(origins, labels, given, labels, files, source.val_fraction, source.test_fraction, notes)


def _empty(folders: list[str], parts: list[list[str]], depth: int) -> list[str]:
    """The splits and classes without a picture."""
    taken = {"/".join(part[:end]) for part in parts for end in range(1, depth + 2)}
    found = [path for path in folders if path.count("/") <= depth and path not in taken]
    outermost = [path for path in found if path.rpartition("/")[0] not in found]
    return [f"no picture lies in {', '.join(map(repr, outermost))}"] if outermost else []


def _deeper(parts: list[list[str]], depth: int) -> list[str]:
    """That folders within classes count for nothing, where most classes have several: those may be the classes."""
    inside: dict[str, dict[str, list[str]]] = {}  # class -> folder -> one of its pictures
    for part in parts:
        folders = inside.setdefault(part[depth], {}) if len(part) > depth + 1 else {}
        if len(part) > depth + 2:
            folders.setdefault("/".join(part[depth + 1 : -1]), part)
    if 2 * sum(len(folders) > 1 for folders in inside.values()) <= len(inside):
        return []
    outer = max(sorted(inside), key=lambda label: len(inside[label]))
    folders = inside[outer]
    picture = next(iter(folders.values()))
    turned = "/".join([*picture[:depth], picture[-2], *picture[depth:-2], picture[-1]])
    return [
        f"the classes are {_named(inside)}, and folders within them, as {_named(folders)}, count for nothing; "
        f"where those are your classes, turn them around, as {'/'.join(picture)} into {turned}"
        + ("" if depth else f", or take one alone, by a source.path that ends in /{outer}")
    ]


def _named(names: Iterable[str]) -> str:
    return shortened([repr(name) for name in sorted(names)])


def _has_splits(parts: list[list[str]]) -> bool:
    """Whether the images lie in SPLIT/CLASS. Raises ConfigError where only some do, or no folder is a class."""
    in_split = [len(part) >= 3 and part[0].lower() in SPLIT_NAMES for part in parts]
    if any(in_split) and not all(in_split):
        raise ConfigError(f"source.path: {_beside(parts[in_split.index(False)])}")
    folders = {part[0] for part in parts if len(part) > 1}
    if folders and not any(in_split) and all(folder.lower() in SPLIT_NAMES for folder in folders):
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} hold pictures, but no class folders; move them to "
            "SPLIT/CLASS/image"
        )
    if len(folders) > 1 and not any(in_split) and all(map(meant_split, folders)):
        renamed = ", ".join(f"{folder} → {meant_split(folder)}" for folder in sorted(folders))
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} look like splits and would be classes; call them train, "
            f"val and test ({renamed}), and give each a folder for every class"
        )
    return any(in_split)


def _beside(part: list[str]) -> str:
    """What to do about a picture that lies in no class of a split, though others do."""
    folder, picture = part[0], "/".join(part)
    if len(part) == 2 and folder.lower() in SPLIT_NAMES:
        return (
            f"{picture!r} lies in no class folder of its split, though others do; move it to {folder}/CLASS, or "
            "out of the source where nobody knows its class"
        )
    if len(part) > 2 and (meant := meant_split(folder, guessing=True)):
        return f"{folder!r} lies beside splits and is none; did you mean {meant}? rename it, or move it away"
    return f"{picture!r} lies in no SPLIT/CLASS folder, though others do; move it"


def read_images(source: ImageFolder, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, rows.column("origin").to_pylist())
