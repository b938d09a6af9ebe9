"""The run folder: where each table lies, what is done, and what may be resumed.

    RUN/
      images/FINGERPRINT/part-*.parquet    and captions/, domains/, edits/, errors/ alike
      listing/FINGERPRINT/                 what was ingested last, and whether ingest came to its end
      classifiers/FINGERPRINT/             a classifier, its history, its test metrics
      todo/STAGE-FINGERPRINT/              what a stage has to do, while it does it
      answers/FINGERPRINT/                 what the language model said of captions, until it has read all of them
      logs/                                what a run does not say, and what the language model's server wrote
      results/NAME/                        of each configuration its config.yaml, metrics.json and report.html, and
                                           stages/STAGE.json: rows, errors and seconds of each stage
      config.yaml, metrics.json, report.html    those of the results that were written last

A table's fingerprint covers everything its rows depend on, so a changed setting starts a new table beside
the old one and never mixes with it, while batch and pool sizes do not matter. Rows are committed in whole files,
which appear at once. A file's name comes from its ids, so a task that runs twice writes it twice.
"""

import json
import posixpath
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.store import parquet, tables
from alia_ray.store.damage import damage_of_parquet, is_left, put_aside, put_damaged_aside
from alia_ray.store.filesystems import below, filesystem, without_query
from alia_ray.store.patience import patiently
from alia_ray.store.writing import appearing, delete, sweep

HISTORY = "history.json"  # of a classifier; written last, so it marks a finished training
METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"  # of a classifier on the test images, in this order
CLASSIFIER, TENSORS = "classifier.json", "model.safetensors"  # what a classifier is, and its weights
LOGS, ANSWERS = "logs", "answers"
FILE = "__filename"  # pyarrow's name for the file that a row was read from
PICTURE_SIZE = "image_bytes"  # the column of the edits that says whether there is a picture, without reading it
Version = tuple[int | None, int | None, int]
_written: Counter[str] = Counter()  # by this process; the clock of a store may not tell two writings apart
READS = 3  # of a table whose files another process is putting in the place of others at this moment


@dataclass(frozen=True)
class RunFolder:
    """A run's folder. Cheap to send to a worker: it holds nothing but the path."""

    path: str

    @property
    def fs(self) -> pafs.FileSystem:
        """The filesystem the folder is on."""
        return filesystem(self.path)[0]

    def file(self, *parts: str) -> str:
        """The path of something in the folder, on `fs`."""
        return posixpath.join(filesystem(self.path)[1], *parts)

    def uri(self, *parts: str) -> str:
        """The path of something in the folder with its scheme, for those who find the filesystem again."""
        return below(self.path if "://" in self.path else self.file(), *parts)

    def shown(self, *parts: str) -> str:
        """The path of something in the folder as a person is told it."""
        return without_query(self.uri(*parts))

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(without_query(self.uri()).rstrip("/"))

    @property
    def parent(self) -> "RunFolder":
        """The folder that it lies in."""
        path = without_query(self.uri())
        return RunFolder(posixpath.dirname(path.rstrip("/")) + self.uri()[len(path) :])

    def table(self, name: str, fingerprint: str) -> "Table":
        """The table `name` under the settings that `fingerprint` stands for."""
        return Table(self, name, fingerprint)

    def tables(self, name: str) -> list["Table"]:
        """The tables `name` under whatever settings, in the order of their fingerprints."""
        found = self.fs.get_file_info(pafs.FileSelector(self.file(name), allow_not_found=True))
        return [self.table(name, info.base_name) for info in sorted(found, key=lambda info: info.path)]

    def write_json(self, value: Any, *parts: str) -> None:
        """Write JSON in one step: a reader sees the old file or the new one."""
        self.write_bytes((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(), *parts)

    def read_json(self, *parts: str, keys: Collection[str] = (), if_damaged: Any = None) -> Any:
        """The value of a JSON file, or None where there is none.

        A damaged one is put aside, as is one without some of `keys`. `if_damaged` is then given and, if it is not
        None, written in its place.
        """
        try:
            value = self.read_foreign_json(*parts)
            if value is None or not keys or (isinstance(value, dict) and value.keys() >= set(keys)):
                return value
            why = "it does not say all that was written"
        except ValueError as error:
            why = str(error)
        if put_aside(self.fs, self.file(*parts), why) and if_damaged is not None:
            self.write_json(if_damaged, *parts)
        return if_damaged

    def read_foreign_json(self, *parts: str) -> Any:
        """The same in a folder that is not the run's own, and is left as it is. Raises ValueError for no JSON."""
        try:
            return json.loads(self.read_bytes(*parts))
        except FileNotFoundError:
            return None

    def read_bytes(self, *parts: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""

        def read() -> bytes:
            with self.fs.open_input_file(self.file(*parts)) as file:  # whose size is known: read at once
                return file.read()

        return patiently(read)

    def has_file(self, *parts: str) -> bool:
        """Whether a file is there."""
        return self.fs.get_file_info(self.file(*parts)).type == pafs.FileType.File

    def write_parquet(self, rows: pa.Table, *parts: str) -> None:
        """Write rows beside the tables in one step."""
        self._fill(lambda stream: parquet.write(rows, stream), *parts)

    def read_parquet(self, *parts: str, columns: list[str] | None = None) -> pa.Table | None:
        """The rows of a file, or None where there is none. A damaged one is put aside."""
        return patiently(lambda: self._rows(self.file(*parts), columns))

    def _rows(self, path: str, columns: list[str] | None) -> pa.Table | None:
        try:
            return parquet.read(path, self.fs, columns)
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError):
            why = damage_of_parquet(self.fs, path, columns)
            if why is None:
                raise
            put_aside(self.fs, path, why)
            return None

    def write_bytes(self, content: bytes, *parts: str) -> None:
        """Write a file in one step."""
        self._fill(lambda stream: stream.write(content), *parts)

    def _fill(self, fill: Callable[[pa.NativeFile], object], *parts: str) -> None:
        """Write a file by what `fill` does to its stream, again where that fails for a moment."""

        def write() -> None:
            with self.writing(*parts) as stream:
                fill(stream)

        patiently(write)

    @contextmanager
    def writing(self, *parts: str) -> Iterator[pa.NativeFile]:
        """A stream into a file that appears, whole, when the block ends without an exception."""
        with appearing(self.fs, self.file(*parts), self.path) as stream:
            yield stream

    def sweep(self) -> None:
        """Delete what killed processes left half written, of whatever kind."""
        sweep(self.fs, self.file())


@dataclass(frozen=True)
class Table:
    """One table under one fingerprint: a folder of Parquet files, each committed whole."""

    folder: RunFolder
    name: str
    fingerprint: str

    @property
    def path(self) -> str:
        """The folder of its files, on the run folder's filesystem."""
        return self.folder.file(self.name, self.fingerprint)

    @property
    def uri(self) -> str:
        """The folder of its files with its scheme."""
        return self.folder.uri(self.name, self.fingerprint)

    def passed_over(self, rows: str) -> str | None:
        """SQL of the ids that readers pass over, of a relation of all rows; None where there are none."""
        return None

    @property
    def schema(self) -> pa.Schema:
        """Its Arrow schema."""
        return tables.SCHEMAS[self.name]

    def errors(self, stage: str) -> "Table":
        """The errors table of a stage that fills this one."""
        return self.folder.table("errors", f"{stage}-{self.fingerprint}")

    def commit(self, rows: pa.Table) -> str | None:
        """Add rows as one file that appears at once; the same ids give the same file. Returns its path, if any."""
        if not rows.num_rows:
            return None
        key = tables.KEYS[self.name]
        return self._write(rows, tables.content_id(*sorted(rows.column(key).to_pylist())))

    def create(self) -> None:
        """Make sure that there is a table to read, if one without rows."""
        if not self.exists():
            self._write(self.schema.empty_table(), "empty")

    def discard(self, ids: set[str]) -> None:
        """Take rows out. Where this is killed, some may be left, and doing it again takes them out."""
        for path in self._holding(ids):
            self._rewrite(path, lambda rows: self._without(rows, ids))

    def correct(self, values: dict[str, dict[str, Any]]) -> None:
        """Give rows other values: id -> column -> value. Where this is killed, doing it again goes on."""
        key = tables.KEYS[self.name]

        def corrected(rows: pa.Table) -> pa.Table:
            found = [{**row, **values.get(row[key], {})} for row in rows.to_pylist()]
            return pa.Table.from_pylist(found, schema=self.schema)

        for path in self._holding(values.keys()):
            self._rewrite(path, corrected)

    def drop_repeated(self, strays: Mapping[str, set[str]] | None = None) -> None:
        """Leave of each id the row that `read` gives; an edit made after it failed has two, as after a kill.

        One that was made again for its picture keeps what was said of it before, since results have told that.
        strays: file -> the ids whose rows there are to go, where they are known.
        """
        strays = self._strays() if strays is None else strays
        if strays and PICTURE_SIZE in self.schema.names:
            self._keep_what_was_said(set().union(*strays.values()))
        left = dict(strays)
        for path in sorted(strays):
            if repeated := left.pop(path, None):
                new = self._rewrite(path, lambda rows, repeated=repeated: self._without(rows, repeated))
                left.pop(new, None)  # of these very ids: what was a stray there has become the row that counts

    def _strays(self) -> dict[str, set[str]]:
        order = self.order()
        key, names = order[0][0], [*(name for name, *_ in order), FILE]
        rows = self.stored(names).sort_by([*order, (FILE, "ascending", "at_start")])
        home = first_of_each(rows, key)
        place = pc.index_in(rows.column(key), value_set=home.column(key).combine_chunks())
        is_stray = pc.not_equal(rows.column(FILE), home.column(FILE).take(place))
        strays: dict[str, set[str]] = {}
        for row in rows.filter(is_stray).to_pylist():
            strays.setdefault(row[FILE], set()).add(row[key])
        return strays

    def _keep_what_was_said(self, ids: set[str]) -> None:
        """Give rows with a picture the other values of the row of the same id that has none and is no error."""
        said = [name for name in self.schema.names if name not in ("image", PICTURE_SIZE)]
        rows = self.stored([*said, PICTURE_SIZE])
        key = pa.array(sorted(ids), pa.string())
        rows = rows.filter(pc.is_in(rows.column(tables.KEYS[self.name]), value_set=key))
        is_bare = pc.and_(pc.is_null(rows.column(PICTURE_SIZE)), pc.is_null(rows.column("error")))
        bare = rows.filter(is_bare).select(said).to_pylist()
        self.correct({row[tables.KEYS[self.name]]: row for row in bare})

    def parts(self) -> list[str]:
        """Its files for one who reads them as they are: none repeats a row of another, and all have their keys.

        Other columns may still be damaged, of which nothing was read here: see `damage.reading`.
        """
        self.drop_repeated()
        return self.files()

    def replace(self, files: list[str], rows: pa.Table) -> None:
        """Put rows in the place of some files. Where this is killed, some of those are still beside them."""
        new = self.commit(rows) or self._write(self.schema.empty_table(), "empty")
        for path in files:
            if path != new:
                delete(self.folder.fs, path)

    def _without(self, rows: pa.Table, ids: Collection[str]) -> pa.Table:
        unwanted = pc.is_in(rows.column(tables.KEYS[self.name]), value_set=pa.array(list(ids), pa.string()))
        return rows.filter(pc.invert(unwanted))

    def _holding(self, ids: Collection[str]) -> list[str]:
        """The files that hold any of some ids."""
        if not ids:
            return []
        places = self.stored([tables.KEYS[self.name], FILE])
        is_held = pc.is_in(places.column(0), value_set=pa.array(list(ids), pa.string()))
        return sorted(set(places.column(FILE).filter(is_held).to_pylist()))

    def _rewrite(self, path: str, change: Callable[[pa.Table], pa.Table]) -> str | None:
        """Put what `change` makes of a file's rows in its place, and return where that is, if anything is left.

        A file of an older release may lack a column.
        """
        rows = patiently(lambda: parquet.dataset(path, self.folder.fs, self.schema).to_table())
        new = self.commit(change(rows))
        if new != path:
            delete(self.folder.fs, path)
        return new

    def _write(self, rows: pa.Table, name: str) -> str:
        path, fs = posixpath.join(self.path, f"part-{name}.parquet"), self.folder.fs

        def write() -> None:
            with appearing(fs, path, self.folder.path) as stream:
                parquet.write(rows.select(self.schema.names).cast(self.schema), stream)

        patiently(write)
        _written[path] += 1
        return path

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows, each id once, ordered by id, so that a reader never depends on who wrote what when.

        Where an id failed once and was made later, the row without an error counts; where it was made again for
        its picture, that with one.
        """
        order, wanted = self.order(), columns or self.schema.names
        rows = self.stored(list(dict.fromkeys([*(name for name, *_ in order), *wanted])))
        return first_of_each(rows.sort_by(order), order[0][0]).select(wanted)

    def order(self) -> list[tuple[str, str, str]]:
        """In which order rows are read: of an id one without an error comes first, of those one with a picture."""
        nulls = {tables.KEYS[self.name]: "at_start", "error": "at_start", PICTURE_SIZE: "at_end"}
        return [(name, "ascending", place) for name, place in nulls.items() if name in self.schema.names]

    def stored(self, columns: list[str] | None = None) -> pa.Table:
        """Every row that is committed, in no order; an id may be there twice. Damaged files are put aside."""
        return patiently(lambda: self._stored(columns))

    def _stored(self, columns: list[str] | None) -> pa.Table:
        for _ in range(READS):
            try:
                return self._scan(columns or self.schema.names)
            except FileNotFoundError:
                continue
            except (pa.ArrowInvalid, OSError):
                if not put_damaged_aside(self.folder.fs, self.files(), columns):
                    raise
        return self._scan(columns or self.schema.names)

    def _scan(self, columns: list[str]) -> pa.Table:
        listed = self.listed()
        if not listed:
            return self.schema.append(pa.field(FILE, pa.string())).empty_table().select(columns)
        return parquet.dataset(listed, self.folder.fs, self.schema).to_table(columns=columns)

    def ids(self) -> set[str]:
        """The ids that are committed."""
        return set(self.read([tables.KEYS[self.name]]).column(0).to_pylist())

    def exists(self) -> bool:
        """Whether any file has been committed."""
        return bool(self.files())

    def files(self) -> list[str]:
        """The committed files, in the order of their names, without those that are known to be damaged."""
        return [info.path for info in self.listed()]

    def listed(self) -> list[pafs.FileInfo]:
        """The same with their sizes: an object store need not be asked for those again, file by file."""
        return listed_in(self.folder.fs, self.path)


def version_of(info: pafs.FileInfo) -> Version:
    """What is another where other rows lie under the same name."""
    return info.size, info.mtime_ns, _written[info.path]


def parts_in(fs: pafs.FileSystem, folder: str) -> list[str]:
    """The files of a table, as `Table.files`."""
    return [info.path for info in listed_in(fs, folder)]


def listed_in(fs: pafs.FileSystem, folder: str) -> list[pafs.FileInfo]:
    """The same with their sizes, as `Table.listed`."""
    found = fs.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    parts = [info for info in found if info.base_name.startswith("part-") and not is_left(info.path)]
    return sorted(parts, key=lambda info: info.path)


def first_of_each(rows: pa.Table, key: str) -> pa.Table:
    """`rows`, sorted by `key`, without the repetitions of a key."""
    keys = rows.column(key).combine_chunks()
    if len(keys) < 2:
        return rows
    new = pc.not_equal(keys[1:], keys[:-1])
    return rows.filter(pa.concat_arrays([pa.array([True]), new]))
