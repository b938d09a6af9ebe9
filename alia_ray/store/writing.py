"""How a file appears: whole, at once, and to stay.

It is written under a hidden name, brought to the disk, and renamed; then the folder's record of that is brought to
the disk too. Without this a power loss may leave a name that stands for an empty file. An object store shows
nothing before it holds all of it, so there is nothing to add there.
"""

import errno
import os
import posixpath
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.fs as pafs

from alia_ray.errors import FULL, FullDiskError

_HIDDEN = ".tmp"
_DAY_S = 24 * 3600
_NO_SUCH_THING = (
    errno.EINVAL,
    errno.ENOTSUP,
)  # what some network filesystems say of a folder that is to be synced


@contextmanager
def appearing(fs: pafs.FileSystem, path: str, place: str) -> Iterator[str]:
    """A hidden name to write to; what lies there when the block ends without an exception is then the file `path`.

    Otherwise nothing is left behind. Raises FullDiskError, which names `place`, where the disk is full.
    """
    head, tail = posixpath.split(path)
    hidden = posixpath.join(head, f".{tail}.{uuid.uuid4().hex}{_HIDDEN}")  # which readers of datasets skip
    try:
        _make_folder(fs, head)
        yield hidden
        _sync(fs, hidden)
        fs.move(hidden, path)
        _sync(fs, head)
    except BaseException as error:
        if fs.get_file_info(hidden).type == pafs.FileType.File:
            fs.delete_file(hidden)
        if isinstance(error, OSError) and error.errno in FULL:
            raise FullDiskError(
                f"the disk of {place} is full; free some space there (older run folders, exports, tables of "
                "settings that are no longer used) and run it again: what was committed stays"
            ) from None
        raise


def delete(fs: pafs.FileSystem, path: str) -> None:
    """Delete a file, so that it stays deleted; harmless where it is gone already."""
    with suppress(FileNotFoundError):
        fs.delete_file(path)
        _sync(fs, posixpath.dirname(path))


def sweep(fs: pafs.FileSystem, folder: str) -> None:
    """Delete what killed processes left half written in a folder and all below it: no file takes a day."""
    for info in fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True, recursive=True)):
        is_hidden = info.base_name.startswith(".") and info.base_name.endswith(_HIDDEN)
        if is_hidden and info.type == pafs.FileType.File and is_stale(info):
            delete(fs, info.path)


def is_stale(info: pafs.FileInfo) -> bool:
    """Whether nobody has written to a file or folder for a day, as far as the filesystem knows."""
    return info.mtime_ns is not None and time.time() - info.mtime_ns / 1e9 > _DAY_S


def _make_folder(fs: pafs.FileSystem, path: str) -> None:
    if not isinstance(fs, pafs.LocalFileSystem):
        fs.create_dir(path, recursive=True)
        return
    new = [each for each in (Path(path), *Path(path).parents) if not each.exists()]
    fs.create_dir(path, recursive=True)
    for each in new:
        _sync(fs, str(each.parent))


def _sync(fs: pafs.FileSystem, path: str) -> None:
    """Bring a file's content, or a folder's list of names, to the disk."""
    if not isinstance(fs, pafs.LocalFileSystem):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_THING:
            raise
    finally:
        os.close(descriptor)
