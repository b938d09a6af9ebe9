"""An ImageFolder tree: `SPLIT/CLASS/image`, or `CLASS/image`."""

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError, ImageFolder
from alia_ray.run_folder import filesystem
from alia_ray.sources.listing import IMAGE_ENDINGS, LISTING, SPLIT_NAMES, Content, assign_splits, read_files


def list_images(source: ImageFolder) -> pa.Table:
    """List every file with an image's ending; the class is the folder it lies in. Raises ConfigError."""
    fs, root = filesystem(source.path)
    if fs.get_file_info(root).type != pafs.FileType.Directory:
        raise ConfigError(f"source.path: there is no folder {source.path}")
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True))
    paths = sorted(info.path for info in found if info.path.lower().endswith(IMAGE_ENDINGS))
    parts = [path[len(root) :].lstrip("/").split("/") for path in paths]
    parts = [part for part in parts if len(part) >= 2]
    has_splits = bool(parts) and all(len(p) >= 3 and p[0].lower() in SPLIT_NAMES for p in parts)
    labels = [part[1] if has_splits else part[0] for part in parts]
    origins = ["/".join(part) for part in parts]
    given = [part[0] if has_splits else None for part in parts]
    splits = assign_splits(origins, labels, given, source.val_fraction, source.test_fraction)
    return pa.table([origins, labels, splits, labels], schema=LISTING)


def read_images(source: ImageFolder, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, rows.column("origin").to_pylist())
