"""What lies in a folder of data: the files that are a person's pictures or tables, and what is passed over.

Systems and tools leave files of their own between a person's. Those, and files whose ending says that they are
something else, are counted, so that nothing goes without a word.
"""

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.sources.files import FILES, version_of
from alia_ray.sources.listing import AT_ONCE, Over
from alia_ray.store.patience import patiently
from alia_ray.store.run_folder import filesystem

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


@dataclass(frozen=True)
class _Folder:
    """A folder to be entered."""

    path: str
    above: frozenset[str] = frozenset()  # the real paths of those that hold it
    links: int = 0  # that lead here, of which there may be _MOST_LINKS


def visible(fs: pafs.FileSystem, root: str) -> Found:
    """The files and folders below `root` that are not hidden.

    Links to files and folders are followed, but not a link to a folder that holds it. A link that leads nowhere
    is a file, one that cannot be read. Raises ConfigError where a folder may not be read.
    """

    def look() -> Found:
        found = Found()
        found.files = dict(
            sorted(_files(fs, root, _all_below(fs, _Folder(root), found), found), key=itemgetter(0))
        )
        found.folders.sort()
        return found

    return _looked(root, look)


def visible_rows(path: str, over: Over) -> tuple[pa.Table, Found]:
    """The same of a folder or URI with the files as a table, of path and version (`version_of`), for millions.

    The folders of the first two levels, as SPLIT/CLASS, are what `over` goes over.
    """
    tables, found, folders = [], Found(), [_Folder(filesystem(path)[1])]
    for is_deep in (False, False, True):
        listed, folders = over(partial(_rows_of, path, is_deep), folders), []
        for rows, below, beside in listed:
            tables.append(rows)
            folders += below
            found.folders += beside.folders
            found.passed += beside.passed
    found.folders.sort()
    return pa.concat_tables(tables).sort_by("path").combine_chunks(), found


def _rows_of(path: str, is_deep: bool, folder: _Folder) -> tuple[pa.Table, list[_Folder], Found]:
    """The files of a folder, of all that it holds where `is_deep`; else the folders to be entered, too."""
    fs, root = filesystem(path)

    def look() -> tuple[pa.Table, list[_Folder], Found]:
        found, below, parts = Found(), [], [FILES.empty_table()]
        infos = _all_below(fs, folder, found) if is_deep else _beside_folders(fs, folder, found, below)
        files = _files(fs, root, infos, found)
        while some := list(islice(files, AT_ONCE)):
            paths, versions = [path for path, _ in some], [version_of(info) for _, info in some]
            parts.append(pa.table([paths, versions], schema=FILES))
        return pa.concat_tables(parts), below, found

    return _looked(root, look)


def _looked(root: str, look: Callable[[], T]) -> T:
    try:
        return patiently(look)
    except OSError as error:
        raise ConfigError(f"source.path: cannot list {root}: {error}") from error


def _files(
    fs: pafs.FileSystem, root: str, infos: Iterator[pafs.FileInfo], found: Found
) -> Iterator[tuple[str, pafs.FileInfo]]:
    """The visible files by their paths below `root`, in no order; at their end `found` has all else."""
    hidden = set()
    for info in infos:
        path = info.path[len(root) :].strip("/")
        if part := hidden_part(path):
            hidden.add(part)
        elif info.type == pafs.FileType.Directory:
            found.folders.append(path)
        elif info.type == pafs.FileType.Unknown:
            found.passed["devices or pipes"] += 1
        else:
            yield path, info
    if hidden:
        found.passed["hidden"] = len(hidden)


def _all_below(fs: pafs.FileSystem, folder: _Folder, found: Found) -> Iterator[pafs.FileInfo]:
    if isinstance(fs, pafs.LocalFileSystem):
        return _infos(fs, _paths_below(folder, found.passed))
    return iter(fs.get_file_info(pafs.FileSelector(folder.path, recursive=True, allow_not_found=True)))


def _beside_folders(
    fs: pafs.FileSystem, folder: _Folder, found: Found, below: list[_Folder]
) -> Iterator[pafs.FileInfo]:
    """What a folder holds itself; those to be entered are put into `below`."""
    if isinstance(fs, pafs.LocalFileSystem):
        yield from _infos(fs, _entries(folder, found.passed, below))
        return
    for info in fs.get_file_info(pafs.FileSelector(folder.path, allow_not_found=True)):
        if info.type == pafs.FileType.Directory and not is_hidden(info.base_name):
            below.append(_Folder(info.path))
        yield info


def _infos(fs: pafs.FileSystem, paths: Iterator[str]) -> Iterator[pafs.FileInfo]:
    while some := list(islice(paths, AT_ONCE)):
        yield from fs.get_file_info(some)


def _paths_below(folder: _Folder, passed: Counter[str]) -> Iterator[str]:
    """What lies below a folder of this machine; hidden folders and links to a folder above are not entered."""
    below: list[_Folder] = []
    yield from _entries(folder, passed, below)
    for inner in below:
        yield from _paths_below(inner, passed)


def _entries(folder: _Folder, passed: Counter[str], below: list[_Folder]) -> Iterator[str]:
    """What a folder of this machine holds; those to be entered are put into `below`."""
    real = os.path.realpath(folder.path)
    if folder.links > _MOST_LINKS:
        passed["linked through many links"] += 1
        return
    if real in folder.above:
        passed["linked in a circle"] += 1
        return
    with os.scandir(folder.path) as entries:
        for entry in entries:
            if not _is_utf8(entry.name):
                passed["not named in UTF-8"] += 1
                continue
            yield entry.path
            is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
            if is_folder and not is_hidden(entry.name):
                below.append(_Folder(entry.path, folder.above | {real}, folder.links + entry.is_symlink()))


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
