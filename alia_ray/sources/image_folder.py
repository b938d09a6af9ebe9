"""An ImageFolder tree: `SPLIT/CLASS/image`, or `CLASS/image`; a class may have folders of its own."""

from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import ImageFolder
from alia_ray.errors import shortened
from alia_ray.sources.files import Content, read_files
from alia_ray.sources.folders import ending, may_be_picture, passed_over, visible_rows
from alia_ray.sources.listing import SPLIT_NAMES, Over, make_listing, meant_split, values
from alia_ray.store.run_folder import filesystem


def list_images(source: ImageFolder, over: Over) -> pa.Table:
    """List every file that may be a picture; the class is the folder below the split or the root.

    Raises ConfigError when there is no such folder, or some images lie in splits and others beside them.
    """
    fs, root = filesystem(source.path)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise ConfigError(f"source.path: there is no folder {source.path}")
    rows, found = visible_rows(source.path, over)
    is_picture = pa.array(map(may_be_picture, values(rows.column("path"))), pa.bool_())
    pictures, others = rows.filter(is_picture).combine_chunks(), rows.filter(pc.invert(is_picture)).column("path")
    origins = pictures.column("path")
    has_splits = _has_splits(_parts(origins))
    depth = 1 if has_splits else 0
    labels = pa.array((part[depth] if len(part) > depth + 1 else None for part in _parts(origins)), pa.string())
    given = pa.array((part[0] if has_splits else None for part in _parts(origins)), pa.string())
    notes = passed_over(
        found.passed, Counter(map(ending, values(others))), "that are no pictures", next(values(others), None)
    )
    notes += [*_empty(found.folders, _parts(origins), depth), *_deeper(_parts(origins), depth)]
    files, fractions = pictures.column("version"), (source.val_fraction, source.test_fraction)
    return make_listing(origins, labels, given, labels, files, *fractions, notes)


def _parts(origins: pa.ChunkedArray) -> Iterator[list[str]]:
    """Each path as its folders and the file."""
    return (origin.split("/") for origin in values(origins))


def _empty(folders: list[str], parts: Iterable[list[str]], depth: int) -> list[str]:
    """The splits and classes without a picture."""
    taken = {"/".join(part[:end]) for part in parts for end in range(1, depth + 2)}
    found = [path for path in folders if path.count("/") <= depth and path not in taken]
    outermost = [path for path in found if path.rpartition("/")[0] not in found]
    return [f"no picture lies in {', '.join(map(repr, outermost))}"] if outermost else []


def _deeper(parts: Iterable[list[str]], depth: int) -> list[str]:
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


def _has_splits(parts: Iterable[list[str]]) -> bool:
    """Whether the images lie in SPLIT/CLASS. Raises ConfigError where only some do, or no folder is a class."""
    has_splits, folders, beside = False, set(), None
    for part in parts:
        if len(part) > 1:
            folders.add(part[0])
        if len(part) >= 3 and part[0].lower() in SPLIT_NAMES:
            has_splits = True
        elif beside is None:
            beside = part
    if has_splits and beside is not None:
        raise ConfigError(f"source.path: {_beside(beside)}")
    if folders and not has_splits and all(folder.lower() in SPLIT_NAMES for folder in folders):
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} hold pictures, but no class folders; move them to "
            "SPLIT/CLASS/image"
        )
    if len(folders) > 1 and not has_splits and all(map(meant_split, folders)):
        renamed = ", ".join(f"{folder} → {meant_split(folder)}" for folder in sorted(folders))
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} look like splits and would be classes; call them train, "
            f"val and test ({renamed}), and give each a folder for every class"
        )
    return has_splits


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
