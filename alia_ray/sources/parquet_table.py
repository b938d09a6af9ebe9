"""A Parquet dataset whose rows hold encoded images, or name their files."""

import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.config import ConfigError
from alia_ray.config.source import ParquetTable
from alia_ray.errors import one_line
from alia_ray.plain_text import LONGEST_NAME
from alia_ray.sources.files import (
    NO_PATH,
    Content,
    NoPictureError,
    is_no_path,
    paths_below,
    read_by_part,
    read_files,
    version_of,
)
from alia_ray.sources.folders import ending, passed_over, visible
from alia_ray.sources.listing import FOUND, Over, make_listing
from alia_ray.store.run_folder import RunFolder, filesystem

_ENDINGS = (".parquet", ".parq", ".pq")
_BYTES_OR_PATHS = (
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null),
)
_TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)  # of numbers that are bytes
_BROKEN = (OSError, pa.ArrowException, UnicodeDecodeError)  # what pyarrow raises for a file that is
_AT_ONCE = 16  # images that are decoded at a time, of a row group that may be of any size
_BUFFER = 2**22  # bytes that are read at a time; else a row group's whole column is


def list_images(source: ParquetTable, over: Over) -> pa.Table:
    """List every row as FILE#ROWGROUP#ROW.

    Folders "KEY=VALUE" are columns of what lies in them. Raises ConfigError for a missing path or column, a file
    that cannot be read, images that are neither bytes nor paths, and labels that are lists or structs.
    """
    fs, root = filesystem(source.path)
    files, notes = _files(fs, root, source.path)
    parts = over(partial(_listed, source), [(base, info.path, version_of(info)) for base, info in files.items()])
    fractions = source.val_fraction, source.test_fraction
    return make_listing(*pa.concat_tables(parts).columns, *fractions, notes)


def _listed(source: ParquetTable, file: tuple[str, str, str | None]) -> pa.Table:
    """The rows of a file, of which the name that origins begin with, the path and the version are given."""
    base, path, version = file
    fs, _ = filesystem(source.path)
    parts = [FOUND.empty_table()]
    try:
        with pq.ParquetFile(path, filesystem=fs) as file:
            texts = _texts(source, file.schema_arrow)
        with pq.ParquetFile(path, filesystem=fs, read_dictionary=texts) as file:
            columns = _Columns(source, base, file)
            for number in range(file.num_row_groups):
                rows = columns.read(number)
                count = file.metadata.row_group(number).num_rows
                origins = [f"{base}#{number}#{row}" for row in range(count)]
                described = (source.label_column, source.split_column, source.group_column or source.label_column)
                columns_of_part = [origins, *map(rows.__getitem__, described), [version] * count]
                parts.append(pa.table(columns_of_part, schema=FOUND))
    except _BROKEN as error:
        raise ConfigError(f"source.path: cannot read {path}: {one_line(error)}") from error
    return pa.concat_tables(parts)


def _texts(source: ParquetTable, schema: pa.Schema) -> list[str]:
    """The listed columns that hold text, which are read with each value once: few bytes can repeat a long one."""
    listed = {source.label_column, source.split_column, source.group_column} & set(schema.names)
    return [name for name in sorted(listed) if any(holds(schema.field(name).type) for holds in _TEXTS)]


def _files(fs: pafs.FileSystem, root: str, shown: str) -> tuple[dict[str, pafs.FileInfo], list[str]]:
    """The files by the names that origins begin with, and what is to be said of what lies beside them."""
    info = fs.get_file_info(root)
    if info.type == pafs.FileType.File:
        return {posixpath.basename(root): info}, []
    found = visible(fs, root) if info.type == pafs.FileType.Directory else None
    files, others = {}, Counter()
    for base in found.files if found else ():
        if any(part.startswith("_") for part in base.split("/")):  # _SUCCESS, _metadata, _temporary/
            found.passed["hidden"] += 1
        elif ending(base) in _ENDINGS:
            files[base] = found.files[base]
        else:
            others[ending(base)] += 1
    if not files:
        raise ConfigError(f"source.path: there is no Parquet file under {shown}")
    return files, passed_over(found.passed, others, "that are no Parquet files")


class _Columns:
    """The columns of a file that are listed, as text."""

    def __init__(self, source: ParquetTable, base: str, file: pq.ParquetFile) -> None:
        schema, self.file = file.schema_arrow, file
        folders = (part.partition("=") for part in posixpath.dirname(base).split("/"))
        self.of_folders = {key: _of_folder(value) for key, mark, value in folders if mark}
        names = [*schema.names, *(key for key in self.of_folders if key not in schema.names)]
        needed = {"image_column": schema.names, "label_column": names, "group_column": names}
        for key, known in (needed | ({"split_column": names} if source.names_splits else {})).items():
            column = getattr(source, key)
            if column is not None and column not in known:
                raise ConfigError(f"source.{key}: {base} has no column {column!r}, only {', '.join(known)}")
            if column in schema.names:
                _check_type(key, column, base, schema.field(column).type)
        self.wanted = {source.label_column, source.split_column, source.group_column or source.label_column}
        self.classes = _class_names(schema)

    def read(self, number: int) -> dict[str | None, list[str | None]]:
        """The wanted columns of a row group; one that is nowhere is null."""
        stored = [name for name in self.wanted if name in self.file.schema_arrow.names]
        rows = self.file.read_row_group(number, columns=stored) if stored else None
        count = self.file.metadata.row_group(number).num_rows
        if rows is not None and rows.num_rows != count:
            raise OSError(f"row group {number} has {rows.num_rows} rows and says {count}")
        return {
            name: _text(rows.column(name), self.classes.get(name))
            if name in stored
            else [self.of_folders.get(name)] * count
            for name in self.wanted
        }


def _of_folder(value: str) -> str | None:
    return None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)


def _check_type(key: str, column: str, base: str, kind: pa.DataType) -> None:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if key != "image_column":
        fits, wanted = not pa.types.is_nested(value), "one value a row"
    else:
        is_struct = pa.types.is_struct(kind) and {"bytes", "path"} & {field.name for field in kind}
        is_list = any(holds(kind) for holds in _LISTS) and kind.value_type in (pa.uint8(), pa.int8())
        fits = is_struct or is_list or any(holds(value) for holds in _BYTES_OR_PATHS)
        wanted = "encoded pictures, as bytes or as a struct of bytes and path, or the paths of files"
    if not fits:
        raise ConfigError(f"source.{key}: {column!r} of {base} holds {kind}; it must hold {wanted}")


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names behind class numbers, by column, where Hugging Face's `datasets` left them in the schema."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {column: feature["names"] for column, feature in features.items() if "names" in feature}
        return {
            column: names
            for column, names in found.items()
            if isinstance(names, list) and all(isinstance(name, str) for name in names)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _text(column: pa.ChunkedArray, names: list[str] | None) -> list[str | None]:
    if names is not None and pa.types.is_integer(column.type):  # -1 stands for none
        return [names[n] if n is not None and 0 <= n < len(names) else None for n in column.to_pylist()]
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array(map(_beginnings, column.chunks), pa.string())
    text = column.cast(pa.string()).to_pylist()
    return [None if value == "nan" else value for value in text] if pa.types.is_floating(column.type) else text


def _beginnings(chunk: pa.DictionaryArray) -> pa.Array:
    """Its text, of values that are too long for a name only as much as tells that."""
    values = pc.utf8_slice_codeunits(chunk.dictionary.cast(pa.string()), 0, LONGEST_NAME + 1)
    return values.take(chunk.indices)


def read_images(source: ParquetTable, rows: pa.Table) -> list[Content]:
    """The images of some rows. A row group is gone through once, however many batches of it are asked for."""

    def read(part: tuple[str, int], numbers: list[int]) -> list[Content]:
        return _contents(source, part[0], _taken(source, *part, numbers))

    places = (origin.rsplit("#", 2) for origin in rows.column("origin").to_pylist())
    return read_by_part([((base, int(number)), int(row)) for base, number, row in places], read)


class _RowGroup:
    """The images of a row group, from the first to the last, few of them in memory at a time."""

    def __init__(self, fs: pafs.FileSystem, path: str, number: int, column: str) -> None:
        self.file = pq.ParquetFile(path, filesystem=fs, buffer_size=_BUFFER, pre_buffer=False)
        self.number, self.column = number, column
        if number >= self.file.num_row_groups or column not in self.file.schema_arrow.names:
            raise NoPictureError(f"there is no row group {number} of {column!r} any more; the file was replaced")
        self._rewind()

    def _rewind(self) -> None:
        self.batches: Iterator[pa.RecordBatch] = self.file.iter_batches(
            _AT_ONCE, row_groups=[self.number], columns=[self.column], use_threads=False
        )
        self.first, self.batch = 0, next(self.batches, ())

    def take(self, rows: list[int]) -> list[bytes | str | None]:
        """The values of some rows, which ascend. Rows before those that were taken last are read anew.

        Raises NoPictureError for a row that is not there.
        """
        if rows[0] < self.first:
            self._rewind()
        taken = []
        for row in rows:
            while row >= self.first + len(self.batch):
                if not len(self.batch):
                    raise NoPictureError(
                        f"there is no row {row} in row group {self.number}; the file was replaced"
                    )
                self.first += len(self.batch)
                self.batch = next(self.batches, ())
            taken.append(_value(self.batch.column(0)[row - self.first]))
        return taken


def _value(cell: pa.Scalar) -> bytes | str | None:
    """The bytes of an image, or the path of its file."""
    if isinstance(cell, pa.StructScalar):
        fields = dict(cell.items()) if cell.is_valid else {}
        found = (_value(fields[name]) for name in ("bytes", "path") if name in fields)
        return next((value for value in found if value is not None), None)
    if isinstance(cell, pa.ListScalar) and cell.is_valid:
        return cell.values.to_numpy(zero_copy_only=False).tobytes()
    return cell.as_py()


@lru_cache(maxsize=1)
def _opened(source_path: str, path: str, number: int, column: str, state: tuple[int, int]) -> _RowGroup:
    """A worker goes through one row group at a time; `state` is the file's, which may be replaced."""
    return _RowGroup(filesystem(source_path)[0], path, number, column)


def _taken(source: ParquetTable, base: str, number: int, rows: list[int]) -> list[bytes | str | OSError | None]:
    """The values of some rows of a row group. Raises OSError."""
    fs, root = filesystem(source.path)
    path = root if fs.get_file_info(root).type == pafs.FileType.File else posixpath.join(root, base)
    info = fs.get_file_info(path)
    try:
        return _opened(source.path, path, number, source.image_column, (info.mtime_ns, info.size)).take(rows)
    except _BROKEN as error:
        _opened.cache_clear()  # its batches may have come to a stop
        if isinstance(error, OSError) and not isinstance(error, NoPictureError):
            raise
        return [NoPictureError(one_line(error))] * len(rows)


def _contents(source: ParquetTable, base: str, values: list[bytes | str | OSError | None]) -> list[Content]:
    """The images themselves, those that a file of the table names by a path read from where that leads."""
    fs, root = filesystem(source.path)
    is_folder = fs.get_file_info(root).type == pafs.FileType.Directory
    folder = source.path if is_folder else RunFolder(source.path).parent.path
    contents = [NoPictureError("the image column is null") if value is None else value for value in values]
    for index, value in enumerate(contents):
        if isinstance(value, str):
            contents[index] = _file(folder, posixpath.dirname(base), value)
    return contents


def _file(root: str, folder: str, path: str) -> Content:
    """A file by its path from the folder of the table that names it, or else from the source's folder."""
    if is_no_path(path):
        return NoPictureError(NO_PATH)
    try:
        [inner] = paths_below("path", [path], root)
    except ConfigError as error:
        return NoPictureError(f"the image column names no file of the source: {error}")
    content, *_ = read_files(root, [posixpath.join(folder, inner)])
    return read_files(root, [inner])[0] if folder and isinstance(content, OSError) else content
