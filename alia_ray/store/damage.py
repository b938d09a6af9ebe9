"""Committed files that cannot be read, as a power loss or a full disk of the storage's own may leave them.

They are put aside: renamed beside their place, under a name that no reader takes, and told in one line. What they
held then counts as missing, and whatever made it makes it again.

Who puts them aside is the command that holds the run folder's lease, with its workers. One that only reads there,
as `plan`, `report` and `export` do, or has not got the lease yet, does so where nobody holds it. Where somebody
does, it leaves them where they are: the running command may be reading other columns of them, or writing them anew
at this moment, and what is damaged may be the reader's own view of the storage. To it they count as missing too.
"""

import json
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.errors import DamagedError, first_line, shortened
from alia_ray.progress import say
from alia_ray.store import parquet
from alia_ray.store.patience import patiently

LEASE = "lease.json"  # in the run folder, while a command works there
_ASIDE = "_damaged-"  # pyarrow and Ray Data skip such names in a folder of Parquet files
_LENGTH_BYTES = 8  # at the beginning of a safetensors file, the length of its header


_left: set[str] | None = None  # the damaged files that this process leaves to others; None: it leaves none
_only_looks = False  # whether it leaves them where nobody has the folder, too


@contextmanager
def only_reading(is_so: bool = True) -> Iterator[None]:
    """For who does not hold the lease of the run folder: damaged files are left to who does, if anybody."""
    global _left
    before, _left = _left, set() if is_so else None
    try:
        yield
    finally:
        _left = before


@contextmanager
def only_looking() -> Iterator[None]:
    """For who writes nothing at all: damaged files count as missing and stay where they are."""
    global _only_looks
    before, _only_looks = _only_looks, True
    try:
        with only_reading():
            yield
    finally:
        _only_looks = before


def is_left(path: str) -> bool:
    """Whether a file is known to be damaged and is still there."""
    return _left is not None and path in _left


def put_aside(fs: pafs.FileSystem, path: str, why: str) -> bool:
    """Rename a damaged file, or leave it to who has the run folder, and say so. Returns whether it was renamed."""
    if is_left(path):
        return False
    if _left is not None and (_only_looks or _is_held(fs, path)):
        _left.add(path)
        whom = "as it is" if _only_looks else "to the command that works there"
        say(f"{path} is damaged ({why}), and counts as missing; it is left {whom}")
        return False
    head, tail = posixpath.split(path)
    with suppress(FileNotFoundError):  # another process has done so at this moment
        fs.move(path, posixpath.join(head, _ASIDE + tail))
    say(f"{path} is damaged ({why}); it lies beside as {_ASIDE}{tail} now, and what it held counts as missing")
    return True


def _is_held(fs: pafs.FileSystem, path: str) -> bool:
    """Whether a command works in the run folder that a file lies in."""
    folders = [path]
    while (above := posixpath.dirname(folders[-1])) not in ("", folders[-1]):
        folders.append(above)
    return any(info.is_file for info in fs.get_file_info([posixpath.join(each, LEASE) for each in folders[1:]]))


def damage_of_parquet(fs: pafs.FileSystem, path: str, columns: Sequence[str] | None = None) -> str | None:
    """What is wrong with a Parquet file, looking at some of its columns; None where it can be read.

    Raises OSError where the storage does not give it.
    """
    try:
        return _parquet_error(fs.open_input_file(path), columns)
    except OSError:  # of the storage, or of pyarrow, which does not know what it reads: the bytes tell
        with fs.open_input_stream(path) as stream:
            content = stream.read()
    try:
        return _parquet_error(pa.BufferReader(content), columns)
    except OSError as error:
        return first_line(error)


def _parquet_error(file: pa.NativeFile, columns: Sequence[str] | None) -> str | None:
    try:
        with file, parquet.opened(file) as opened:
            found = opened.schema_arrow.names
            opened.read(None if columns is None else [name for name in columns if name in found])
    except pa.ArrowInvalid as error:
        return first_line(error)
    return None


def put_damaged_aside(
    fs: pafs.FileSystem, paths: Sequence[str], columns: Sequence[str] | None = None
) -> list[str]:
    """Put aside those of some Parquet files of which some columns cannot be read. Returns which those are."""
    damage = {path: damage_of_parquet(fs, path, columns) for path in paths}
    for path, why in damage.items():
        if why is not None:
            put_aside(fs, path, why)
    return [path for path, why in damage.items() if why is not None]


@contextmanager
def reading(fs: pafs.FileSystem, paths: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[None]:
    """For a worker that reads Parquet files: a damaged one is put aside. Raises DamagedError, which names it."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if damaged := put_damaged_aside(fs, paths, columns):
            told = "is damaged, and left to the command that works there; run it again after that"
            told = told if is_left(damaged[0]) else "was damaged, and is put aside; run it again"
            raise DamagedError(f"{shortened(damaged)} {told}") from error
        raise


def damage_of_tensors(fs: pafs.FileSystem, path: str) -> str | None:
    """What is wrong with a safetensors file by its header and its size; None where it is whole or not there."""
    return patiently(lambda: _tensors_error(fs, path))


def _tensors_error(fs: pafs.FileSystem, path: str) -> str | None:
    info = fs.get_file_info(path)
    if info.type != pafs.FileType.File:
        return None
    with fs.open_input_file(path) as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= info.size - _LENGTH_BYTES:
            return "its header is cut"
        header = file.read(length)
    try:
        tensors = json.loads(header)
        ends = [each["data_offsets"][1] for name, each in tensors.items() if name != "__metadata__"]
    except (ValueError, AttributeError, LookupError, TypeError):
        return "its header is no list of tensors"
    held, wanted = info.size - _LENGTH_BYTES - length, max(ends, default=0)
    return None if held == wanted else f"its tensors have {held} of {wanted} bytes"
