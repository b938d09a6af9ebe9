"""How a file appears: whole, at once, and to stay.

On a file system it is written under a hidden name, brought to the disk, and renamed; then the folder's record of
that is brought to the disk too. Without this a power loss may leave a name that stands for an empty file.

An object store shows nothing before it holds all of it. So a file is put together on the disk of this machine, and
sent under its own name: by one request, or in parts where it is larger than 10 MB, of which nothing is to be seen
before the last one is there. pyarrow's own stream into a store would not do: it is completed wherever it ends, by
an exception too. Of two that write one name the last one wins; they write the same, since names of rows come from
their content, and all else is written by who holds the lease.
"""

import errno
import os
import posixpath
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.errors import FULL, FullDiskError
from alia_ray.store.filesystems import is_object_store

_HIDDEN = ".tmp"
_DAY_S = 24 * 3600
_NO_SUCH_THING = (
    errno.EINVAL,
    errno.ENOTSUP,
)  # what some network filesystems say of a folder that is to be synced


@contextmanager
def appearing(fs: pafs.FileSystem, path: str, place: str) -> Iterator[pa.NativeFile]:
    """A stream to write to; when the block ends without an exception, what was written is the file `path`.

    Otherwise nothing is left behind. Raises FullDiskError, which names `place`, where the disk is full.
    """
    is_sent = is_object_store(fs)
    try:
        with _sent(fs, path) if is_sent else _renamed(fs, path) as stream:
            yield stream
    except OSError as error:
        if error.errno not in FULL:
            raise
        where, how = place, "older run folders, exports, tables of settings that are no longer used"
        if is_sent:
            where, how = tempfile.gettempdir(), f"or let TMPDIR name a folder where files for {place} fit"
        raise FullDiskError(
            f"the disk of {where} is full; free some space there ({how}) and run it again: what was committed "
            "stays"
        ) from None


@contextmanager
def _renamed(fs: pafs.FileSystem, path: str) -> Iterator[pa.NativeFile]:
    head, tail = posixpath.split(path)
    hidden = posixpath.join(head, f".{tail}.{uuid.uuid4().hex}{_HIDDEN}")  # which readers of datasets skip
    try:
        _make_folder(fs, head)
        with fs.open_output_stream(hidden) as stream:
            yield stream
        _sync(fs, hidden)
        fs.move(hidden, path)
        _sync(fs, head)
    except BaseException:
        if fs.get_file_info(hidden).type == pafs.FileType.File:
            fs.delete_file(hidden)
        raise


@contextmanager
def _sent(fs: pafs.FileSystem, path: str) -> Iterator[pa.NativeFile]:
    with tempfile.TemporaryDirectory(prefix="alia-ray-") as folder:
        whole = posixpath.join(folder, posixpath.basename(path))
        with pa.OSFile(whole, "wb") as stream:
            yield stream
        with ThreadPoolExecutor(
            1
        ) as apart:  # where nothing interrupts it, such as Ctrl-C, and completes a half file
            apart.submit(_send, fs, path, whole).result()


def _send(fs: pafs.FileSystem, path: str, whole: str) -> None:
    """Send a file at once. `pyarrow.fs.copy_files` would not say that a store refuses it."""
    content = pa.memory_map(whole).read_buffer() if os.path.getsize(whole) else b""
    with fs.open_output_stream(path) as stream:
        stream.write(content)


def delete(fs: pafs.FileSystem, path: str) -> None:
    """Delete a file, so that it stays deleted; harmless where it is gone already."""
    with suppress(FileNotFoundError):
        fs.delete_file(path)
        _sync(fs, posixpath.dirname(path))


def sweep(fs: pafs.FileSystem, folder: str) -> None:
    """Delete what killed processes left half written in a folder and all below it: no file takes a day."""
    if is_object_store(fs):  # where nothing is half written
        return
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
