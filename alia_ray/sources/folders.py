"""What lies in a folder of data: the files that are a person's pictures or tables, and what is passed over.

Systems and tools leave files of their own between a person's. Those, and files whose ending says that they are
something else, are counted, so that nothing goes without a word.
"""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.sources.files import version_of
from alia_ray.store.patience import patiently

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".tga"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx"),
)
"""Endings of pictures, for layouts whose files hold other things too."""

NO_PICTURES = {
    *(".txt", ".md", ".rst", ".html", ".htm", ".xml", ".pdf", ".doc", ".docx", ".csv", ".tsv", ".xls", ".xlsx"),
    *(".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".lst", ".list", ".names"),
    *(".cls", ".npy", ".npz", ".mat", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".h5", ".hdf5", ".safetensors"),
    *(".parquet", ".arrow", ".feather", ".tfrecord", ".mdb", ".db", ".sqlite", ".py", ".ipynb", ".sh", ".m"),
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".md5", ".sha1", ".sha256", ".lnk", ".url"),
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".wav", ".mp3", ".xmp", ".aae", ".thm", ".part", ".crdownload"),
    *(".tmp", ".lock", ".bak", ".webloc"),
}
"""Endings of what is no picture. Any other file is tried, as an ending says little and may be missing."""

_NO_PICTURE_NAMES = {"readme", "license", "licence", "copying", "notice", "makefile", "sha256sums", "md5sums"}
_SYSTEM = {
    *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "system volume information"),
    *("$recycle.bin", "lost+found", "@eadir", "#recycle", "@recycle", "#snapshot", "__pycache__", "paxheader"),
    *("~snapshot", "_gsdata_", "zbthumbnail.info"),
}
_FILES = pa.schema([("path", pa.string()), ("version", pa.string())])
_AT_ONCE = 10_000  # files as Python's objects
_MOST_LINKS = 4  # to folders, on one path: two in each folder would double what is found at every level
_LEFT_BEHIND = ("~", ":zone.identifier", ":encryptable")  # an editor's copy, what Windows notes beside a file


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system or an archiver made."""
    lower = name.lower()
    begins = lower.startswith((".", "paxheaders.", "~$")) and name not in (".", "..")
    return begins or lower.endswith(_LEFT_BEHIND) or lower in _SYSTEM


def hidden_part(path: str) -> str | None:
    """The path as far as its first hidden folder or file; None where there is none."""
    parts = path.split("/")
    return next(("/".join(parts[: place + 1]) for place, part in enumerate(parts) if is_hidden(part)), None)


def may_be_picture(path: str) -> bool:
    """Whether a file's name leaves it open that it is a picture; one without an ending is tried too."""
    name = posixpath.basename(path).lower()
    return ending(name) not in NO_PICTURES and name not in _NO_PICTURE_NAMES


def ending(path: str) -> str:
    """A file's ending in lower case, ".jpg"."""
    return posixpath.splitext(path)[1].lower()


T = TypeVar("T")


@dataclass
class Found:
    """What lies below a folder, by its path there, sorted."""

    files: dict[str, pafs.FileInfo] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)  # how many of what kind were passed over


def visible(fs: pafs.FileSystem, root: str) -> Found:
    """The files and folders below `root` that are not hidden.

    Links to files and folders are followed, but not a link to a folder that holds it. A link that leads nowhere
    is a file, one that cannot be read. Raises ConfigError where a folder may not be read.
    """

    def look() -> Found:
        found = Found()
        found.files = dict(sorted(_files(fs, root, found), key=itemgetter(0)))
        return found

    return _looked(root, look)


def visible_rows(fs: pafs.FileSystem, root: str) -> tuple[pa.Table, Found]:
    """The same with the files as a table, of path and version (`version_of`), where there may be millions."""

    def look() -> tuple[pa.Table, Found]:
        found, parts = Found(), [_FILES.empty_table()]
        files = _files(fs, root, found)
        while some := list(islice(files, _AT_ONCE)):
            paths, versions = [path for path, _ in some], [version_of(info) for _, info in some]
            parts.append(pa.table([paths, versions], schema=_FILES))
        return pa.concat_tables(parts).sort_by("path").combine_chunks(), found

    return _looked(root, look)


def _looked(root: str, look: Callable[[], T]) -> T:
    try:
        return patiently(look)
    except OSError as error:
        raise ConfigError(f"source.path: cannot list {root}: {error}") from error


def _files(fs: pafs.FileSystem, root: str, found: Found) -> Iterator[tuple[str, pafs.FileInfo]]:
    """The visible files by their paths below `root`, in no order; at their end `found` has all else."""
    hidden = set()
    for info in _infos(fs, root, found.passed):
        path = info.path[len(root) :].strip("/")
        if part := hidden_part(path):
            hidden.add(part)
        elif info.type == pafs.FileType.Directory:
            found.folders.append(path)
        elif info.type == pafs.FileType.Unknown:
            found.passed["devices or pipes"] += 1
        else:
            yield path, info
    found.folders.sort()
    if hidden:
        found.passed["hidden"] = len(hidden)


def _infos(fs: pafs.FileSystem, root: str, passed: Counter[str]) -> Iterator[pafs.FileInfo]:
    if not isinstance(fs, pafs.LocalFileSystem):
        yield from fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
        return
    paths = _local(root, frozenset(), 0, passed)
    while some := list(islice(paths, _AT_ONCE)):
        yield from fs.get_file_info(some)


def _local(folder: str, above: frozenset[str], links: int, passed: Counter[str]) -> Iterator[str]:
    """What lies below a folder of this machine; hidden folders and links to one of `above` are not entered.

    links: how many lead here, of which there may be _MOST_LINKS.
    """
    real = os.path.realpath(folder)
    if links > _MOST_LINKS:
        passed["linked through many links"] += 1
        return
    if real in above:
        passed["linked in a circle"] += 1
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_utf8(entry.name):
                passed["not named in UTF-8"] += 1
                continue
            yield entry.path
            is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
            if is_folder and not is_hidden(entry.name):
                yield from _local(entry.path, above | {real}, links + entry.is_symlink(), passed)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def passed_over(
    passed: Counter[str], endings: Counter[str], are_not: str, example: str | None = None
) -> list[str]:
    """What was passed over as a sentence; none where nothing was.

    endings: of the files that `are_not` wanted; example: the path of one of them.
    """
    parts = [f"{count} {kind}" for kind, count in sorted(passed.items())]
    if endings:
        most = ", ".join(f"{name or 'no ending'} {count}" for name, count in endings.most_common(5))
        more = ", …" if len(endings) > 5 else ""
        such_as = f"; such as {example!r}" if example else ""
        parts.append(f"{endings.total()} {are_not} ({most}{more}{such_as})")
    return [f"passed over: {', '.join(parts)}"] if parts else []
