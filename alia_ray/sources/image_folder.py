"""An ImageFolder tree: `SPLIT/CLASS/image`, or `CLASS/image`; a class may have folders of its own."""

import re
from collections import Counter

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import ImageFolder
from alia_ray.sources.files import Content, read_files, version_of
from alia_ray.sources.folders import ending, may_be_picture, passed_over, visible
from alia_ray.sources.listing import SPLIT_NAMES, make_listing
from alia_ray.store.run_folder import filesystem

_LIKE_A_SPLIT = re.compile(rf"({'|'.join(SPLIT_NAMES)})[^a-z]*(set|data|images|split)[^a-z]*", re.IGNORECASE)


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
    with_pictures = {"/".join(part[: depth + 1]) for part in parts}
    empty = [path for path in found.folders if path.count("/") == depth and path not in with_pictures]
    notes += [f"no picture lies in {', '.join(map(repr, empty))}"] if empty else []
    files = [version_of(found.files[origin]) for origin in origins]
    return make_listing(origins, labels, given, labels, files, source.val_fraction, source.test_fraction, notes)


def _has_splits(parts: list[list[str]]) -> bool:
    """Whether the images lie in SPLIT/CLASS. Raises ConfigError where only some do, or no folder is a class."""
    in_split = [len(part) >= 3 and part[0].lower() in SPLIT_NAMES for part in parts]
    if any(in_split) and not all(in_split):
        beside = "/".join(parts[in_split.index(False)])
        raise ConfigError(f"source.path: {beside!r} lies in no SPLIT/CLASS folder, though others do; move it")
    folders = {part[0] for part in parts if len(part) > 1}
    if folders and not any(in_split) and all(folder.lower() in SPLIT_NAMES for folder in folders):
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} hold pictures, but no class folders; move them to "
            "SPLIT/CLASS/image"
        )
    if len(folders) > 1 and all(map(_LIKE_A_SPLIT.fullmatch, folders)):
        raise ConfigError(
            f"source.path: {', '.join(sorted(folders))} look like splits and would be classes; call them "
            "train, val and test"
        )
    return any(in_split)


def read_images(source: ImageFolder, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, rows.column("origin").to_pylist())
