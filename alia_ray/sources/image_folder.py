"""An ImageFolder tree: `SPLIT/CLASS/image`, or `CLASS/image`."""

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import ImageFolder
from alia_ray.sources.files import Content, read_files, version_of
from alia_ray.sources.listing import IMAGE_ENDINGS, LISTING, SPLIT_NAMES, assign_splits
from alia_ray.store.run_folder import filesystem


def list_images(source: ImageFolder) -> pa.Table:
    """List every file with an image's ending; the class is the folder below the split or the root.

    Raises ConfigError when there is no such folder, or some images lie in splits and others beside them.
    """
    fs, root = filesystem(source.path)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise ConfigError(f"source.path: there is no folder {source.path}")
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    found = sorted(
        (info for info in found if info.path.lower().endswith(IMAGE_ENDINGS)), key=lambda info: info.path
    )
    parts = [info.path[len(root) :].lstrip("/").split("/") for info in found]
    in_split = [len(part) >= 3 and part[0].lower() in SPLIT_NAMES for part in parts]
    has_splits = any(in_split)
    if has_splits and not all(in_split):
        beside = "/".join(parts[in_split.index(False)])
        raise ConfigError(f"source.path: {beside!r} lies in no SPLIT/CLASS folder, though others do; move it")
    depth = 1 if has_splits else 0
    labels = [part[depth] if len(part) > depth + 1 else None for part in parts]
    origins = ["/".join(part) for part in parts]
    given = [part[0] if has_splits else None for part in parts]
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, labels, list(map(version_of, found))], schema=LISTING)


def read_images(source: ImageFolder, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, rows.column("origin").to_pylist())
