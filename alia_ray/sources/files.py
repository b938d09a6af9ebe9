"""What layouts share: reading files of any pyarrow filesystem, by paths that never lead out of their folder."""

import posixpath
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.store.patience import may_pass, patiently
from alia_ray.store.run_folder import filesystem

Content = bytes | OSError
"""An image's encoded bytes, or why they cannot be read: now, or at all, which is a NoPictureError."""


class NoPictureError(OSError):
    """A row that holds no picture, such as a null: to read it again would find no more."""


def read_files(root: str, relative_paths: list[str]) -> list[Content]:
    """Read files below `root`, several at a time; what cannot be read is returned as its error."""
    fs, base = filesystem(root)

    def read(relative: str) -> Content:
        try:
            return patiently(lambda: _bytes(fs, posixpath.join(base, relative)))
        except OSError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(read, relative_paths))


def _bytes(fs: pafs.FileSystem, path: str) -> bytes:
    with fs.open_input_stream(path) as stream:
        return stream.read()


def version_of(info: pafs.FileInfo) -> str | None:
    """What tells a file from the one that had its name before: size and time, as far as the filesystem knows."""
    return None if info.mtime_ns is None else f"{info.size}-{info.mtime_ns}"


def versions(root: str, relative_paths: list[str]) -> list[str | None]:
    """The version of each file below `root`; null where there is none. Raises OSError.

    Folders are listed, since an object store answers for a thousand files as fast as for one.
    """
    fs, base = filesystem(root)
    folders = sorted({posixpath.dirname(posixpath.join(base, path)) for path in relative_paths})

    def listed(folder: str) -> list[pafs.FileInfo]:
        try:
            return patiently(lambda: fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True)))
        except OSError as error:
            if may_pass(error):
                raise
            return []  # such as a folder that may not be listed, though its files may be read

    with ThreadPoolExecutor(8) as threads:
        found = {info.path: version_of(info) for infos in threads.map(listed, folders) for info in infos}
    return [found.get(posixpath.join(base, path)) for path in relative_paths]


def read_list(key: str, root: str, *name: str) -> bytes:
    """The bytes of a file that a layout cannot do without: `name` below `root`, or `root` itself.

    Raises ConfigError that names `key`.
    """
    fs, base = filesystem(root)
    try:
        return patiently(lambda: _bytes(fs, posixpath.join(base, *name)))
    except OSError as error:
        raise ConfigError(f"source.{key}: cannot read {posixpath.join(root, *name)}: {error}") from error


def read_csv(key: str, root: str, *name: str) -> pa.Table:
    """The CSV `name` below `root`, or `root` itself. Raises ConfigError that names `key`."""
    try:
        return pacsv.read_csv(pa.BufferReader(read_list(key, root, *name)))
    except pa.ArrowInvalid as error:
        raise ConfigError(f"source.{key}: {posixpath.join(root, *name)} is no CSV: {error}") from error


def text_column(rows: pa.Table, column: str, key: str) -> list[str | None]:
    """A column of a table as text. Raises ConfigError that names `key` when there is none."""
    if column not in rows.column_names:
        raise ConfigError(f"source.{key}: the table has no column {column!r}, only {', '.join(rows.column_names)}")
    return rows.column(column).cast(pa.string()).to_pylist()


def check_inside(key: str, paths: list[str | None], root: str) -> None:
    """Raise ConfigError, which names `key`, for a path that is empty or leads out of `root`."""
    for path in paths:
        if not path:
            raise ConfigError(f"source.{key}: a row names no file")
        if posixpath.isabs(path) or ".." in path.split("/"):
            raise ConfigError(f"source.{key}: the path {path!r} leads out of {root}")
