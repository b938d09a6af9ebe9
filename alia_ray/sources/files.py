"""What layouts share: reading files of any pyarrow filesystem, by paths that never lead out of their folder."""

import csv
import io
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.decoding.opening import MOST_BYTES
from alia_ray.errors import one_line
from alia_ray.sources.listing import AT_ONCE, Column, values
from alia_ray.store.patience import may_pass, patiently
from alia_ray.store.run_folder import filesystem, without_query

MOST_OF_A_LIST = 2**30  # bytes of a CSV or another list, as it is unpacked
MOST_COLUMNS = 10_000  # of a CSV: a megabyte of commas would be a million, at a kilobyte each and more
_PART = 2**20
FILES = pa.schema([("path", pa.string()), ("version", pa.string())])  # see `version_of`

Content = bytes | OSError
"""An image's encoded bytes, or why they cannot be read: now, or at all, which is a NoPictureError."""


NO_PATH = "the image column holds a text that is no path; if it is base64, write the bytes instead"
_LONGEST_PATH = 4096  # on Linux


class NoPictureError(OSError):
    """A row that holds no picture, such as a null: to read it again would find no more."""


def is_no_path(text: str) -> bool:
    """Whether a text in a column of images cannot be the path of one, as base64."""
    return len(text) > _LONGEST_PATH or text.startswith("data:")


def read_files(root: str, relative_paths: list[str]) -> list[Content]:
    """Read files below `root`, several at a time; what cannot be read is returned as its error."""
    fs, base = filesystem(root)

    def read(relative: str) -> Content:
        try:
            return patiently(lambda: _picture(fs, posixpath.join(base, relative)))
        except OSError as error:
            return error
        except ValueError as error:  # pyarrow's of a path that its filesystem cannot have, such as a NUL in it
            return NoPictureError(one_line(error))

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(read, relative_paths))


def _picture(fs: pafs.FileSystem, path: str) -> Content:
    """A file as it is: pyarrow's streams unpack whatever is called .gz or .zst."""
    if isinstance(fs, pafs.LocalFileSystem) and fs.get_file_info(path).type == pafs.FileType.Unknown:
        return NoPictureError("it is a device or a pipe, which may never come to its end")
    with fs.open_input_file(path) as file:
        return too_large(file.size()) or file.read()


def too_large(size: int) -> NoPictureError | None:
    """Why so many bytes are no picture, before any of them is read."""
    if size <= MOST_BYTES:
        return None
    return NoPictureError(f"its {size} bytes are more than the {MOST_BYTES} that a picture may have")


def _unpacked(fs: pafs.FileSystem, path: str) -> bytes:
    """The bytes of a list, which may be called .gz and alike; not many more than a list may have."""
    content = bytearray()
    with fs.open_input_stream(path) as stream:
        while len(content) <= MOST_OF_A_LIST and (part := stream.read(_PART)):
            content += part
    return bytes(content)


Part, Within = TypeVar("Part"), TypeVar("Within")


def read_by_part(
    places: list[tuple[Part, Within]], read: Callable[[Part, list[Within]], list[Content]]
) -> list[Content]:
    """What lies at some places, each within a part, such as a shard: `read` is called once for each part.

    It gets the places in their order, and is called again where it fails for a moment. What cannot be read is
    returned as its error.
    """
    contents: list[Content] = [OSError("not read")] * len(places)
    order = sorted(range(len(places)), key=places.__getitem__)
    for part, members in groupby(order, key=lambda index: places[index][0]):
        indices = list(members)
        within = [places[index][1] for index in indices]
        try:
            found = patiently(lambda part=part, within=within: read(part, within))
        except OSError as error:
            found = [error] * len(indices)
        for index, content in zip(indices, found, strict=True):
            contents[index] = content
    return contents


def version_of(info: pafs.FileInfo) -> str | None:
    """What tells a file from the one that had its name before: size and time, as far as the filesystem knows."""
    return None if info.mtime_ns is None else f"{info.size}-{info.mtime_ns}"


def versions(root: str, relative_paths: Column) -> pa.ChunkedArray:
    """The version of each file below `root`; null where there is none. Raises OSError.

    Folders are listed, since an object store answers for a thousand files as fast as for one.
    """
    fs, base = filesystem(root)
    full = (posixpath.join(base, path) for path in values(relative_paths))
    wanted = pa.chunked_array([pa.array(full, pa.string())])
    folders = sorted({posixpath.dirname(path) for path in values(wanted)})

    def listed(folder: str) -> pa.Table:
        try:
            infos = patiently(lambda: fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True)))
        except OSError as error:
            if may_pass(error):
                raise
            infos = []  # such as of a folder that may not be listed, though its files may be read
        except ValueError:  # a path that cannot be; reading it says so
            infos = []
        return _by_path(infos)

    with ThreadPoolExecutor(8) as threads:
        found = pa.concat_tables([_by_path([]), *threads.map(listed, folders)])
    return found.column("version").take(pc.index_in(wanted, value_set=found.column("path").combine_chunks()))


def _by_path(infos: list[pafs.FileInfo]) -> pa.Table:
    paths, found = [], []
    for info in infos:
        try:
            paths.append(info.path)
        except UnicodeDecodeError:  # a name that is not UTF-8, which no path that we were given is
            continue
        found.append(version_of(info))
    return pa.table([paths, found], schema=FILES)


def read_list(key: str, root: str, *name: str) -> bytes:
    """The bytes of a file that a layout cannot do without: `name` below `root`, or `root` itself.

    Raises ConfigError that names `key`.
    """
    fs, base = filesystem(root)
    try:
        content = patiently(lambda: _unpacked(fs, posixpath.join(base, *name)))
    except OSError as error:
        raise ConfigError(f"source.{key}: cannot read {posixpath.join(root, *name)}: {error}") from error
    if len(content) > MOST_OF_A_LIST:
        raise ConfigError(
            f"source.{key}: {posixpath.join(root, *name)} has more than {MOST_OF_A_LIST} bytes; split it"
        )
    return content


def read_text(key: str, root: str, *name: str) -> str:
    """The text of such a file, in UTF-8, or in UTF-16 where its mark is there. Raises as `read_list` does."""
    content = read_list(key, root, *name)
    try:
        return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"source.{key}: {posixpath.join(root, *name)} is not UTF-8; save it as that") from error


def read_csv(key: str, root: str, *name: str) -> pa.Table:
    """The CSV `name` below `root`, or `root` itself, as text that stands as it stood: "007" and "NA" stay.

    Of comma, semicolon and tab the one that parts the first line into most columns separates. Spaces after it do
    not count, nor do empty lines. Raises ConfigError that names `key`.
    """
    shown, text = posixpath.join(root, *name), read_text(key, root, *name)
    try:
        separator = max(",;\t", key=lambda mark: len(next(_rows(text, mark), [])))
        rows = _rows(text, separator)
        header = [column.strip() for column in next(rows, [])]
        if len(header) > MOST_COLUMNS:
            raise csv.Error(f"its first line has {len(header)} columns, more than {MOST_COLUMNS}")
        parts = [_table(header, [])]
        while some := list(islice(rows, AT_ONCE)):
            if odd := next((row for row in some if len(row) != len(header)), None):
                raise csv.Error(
                    f"its first line has {len(header)} columns, but {separator.join(odd)!r} has {len(odd)}"
                )
            parts.append(_table(header, some))
    except csv.Error as error:
        raise ConfigError(f"source.{key}: {shown} is no CSV: {error}") from error
    return pa.concat_tables(parts)


def _table(header: list[str], rows: list[list[str]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [[] for _ in header]
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], names=header)


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    lines = io.StringIO(text, newline="")
    return filter(any, csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))


def text_column(rows: pa.Table, column: str, key: str) -> pa.ChunkedArray:
    """A column of a CSV; null where it is empty. Raises ConfigError that names `key` unless there is one such."""
    if column not in rows.column_names:
        raise ConfigError(f"source.{key}: the table has no column {column!r}, only {', '.join(rows.column_names)}")
    if rows.column_names.count(column) > 1:
        raise ConfigError(f"source.{key}: the table has two columns {column!r}; rename one")
    texts = rows.column(column)
    return pc.if_else(pc.equal(texts, ""), None, texts)


def paths_below(key: str, paths: Iterable[str | None], root: str) -> Iterator[str]:
    """Paths that data gives, below `root`; they may be absolute, and a backslash parts folders as / does.

    Raises ConfigError that names `key` for a path that is empty, leads out of `root`, or is a URL.
    """
    folders = [folder.rstrip("/") + "/" for folder in (without_query(root), filesystem(root)[1])]
    for path in paths:
        if not path:
            raise ConfigError(f"source.{key}: a row names no file")
        inner = path.replace("\\", "/")
        for folder in folders:
            inner = inner.removeprefix(folder)
        if "://" in inner:
            raise ConfigError(f"source.{key}: {path!r} is a URL; download the files, and name them below {root}")
        if inner.startswith("/") or re.match("[A-Za-z]:/", inner) or ".." in inner.split("/"):
            raise ConfigError(f"source.{key}: the path {path!r} leads out of {root}")
        yield inner
