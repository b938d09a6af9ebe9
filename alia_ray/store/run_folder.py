"""The run folder: where each table lies, what is done, and what may be resumed.

    RUN/
      config.yaml                          the configuration, resolved
      images/FINGERPRINT/part-*.parquet    and captions/, domains/, edits/, errors/ alike
      listing/FINGERPRINT/                 what was ingested last, and whether ingest came to its end
      classifiers/FINGERPRINT/             a classifier, its history, its test metrics
      stages/STAGE.json                    rows, errors and seconds of each stage
      logs/                                what a run does not say, and what the language model's server wrote
      metrics.json, report.html

A table's fingerprint covers everything its rows depend on, so a changed setting starts a new table beside
the old one and never mixes with it, while batch and pool sizes do not matter. Rows are committed in whole
files: written under a hidden name, then renamed. A file's name comes from the ids in it, so a task that runs
twice writes the same file twice. To resume is to ask which ids are missing.
"""

import json
import posixpath
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.errors import FULL, FullDiskError
from alia_ray.store import tables
from alia_ray.store.patience import patiently

HISTORY = "history.json"  # of a classifier; written last, so it marks a finished training
METRICS, PREDICTIONS = "metrics.json", "predictions.parquet"  # of a classifier on the test images, in this order
CLASSIFIER = "classifier.json"  # what a classifier is; its tensors lie beside it
LOGS = "logs"
_FILE = "__filename"  # pyarrow's name for the file that a row was read from
_HIDDEN = ".tmp"
_DAY_S = 24 * 3600


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The pyarrow filesystem of a path or URI ("s3://…", "gs://…", "runs/demo"), and the path on it."""
    if "://" in path:
        return _opened(path)
    return pafs.LocalFileSystem(), posixpath.abspath(path)


@lru_cache(maxsize=64)
def _opened(uri: str) -> tuple[pafs.FileSystem, str]:
    """Once for each process: of a bucket whose region is not given, pyarrow asks the network each time."""
    return pafs.FileSystem.from_uri(uri)


def below(place: str, *parts: str) -> str:
    """The path or URI of something in the folder `place`; a URI's query, which says how to connect, stays last."""
    path, mark, query = place.partition("?") if "://" in place else (place, "", "")
    return posixpath.join(path, *parts) + mark + query


def without_query(place: str) -> str:
    """A path or URI for a person, or to take apart: without how to connect."""
    return place.partition("?")[0] if "://" in place else place


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

    def read_json(self, *parts: str) -> Any:
        """The value of a JSON file, or None where there is none."""
        if not self.has_file(*parts):
            return None
        with self.fs.open_input_stream(self.file(*parts)) as stream:
            return json.loads(stream.read())

    def has_file(self, *parts: str) -> bool:
        """Whether a file is there."""
        return self.fs.get_file_info(self.file(*parts)).type == pafs.FileType.File

    def write_parquet(self, rows: pa.Table, *parts: str) -> None:
        """Write rows beside the tables in one step."""
        with self.writing(*parts) as stream:
            pq.write_table(rows, stream)

    def read_parquet(self, *parts: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a file. Raises FileNotFoundError."""
        return pq.read_table(self.file(*parts), columns=columns, filesystem=self.fs)

    def write_bytes(self, content: bytes, *parts: str) -> None:
        """Write a file in one step."""

        def write() -> None:
            with self.writing(*parts) as stream:
                stream.write(content)

        patiently(write)

    @contextmanager
    def writing(self, *parts: str) -> Iterator[pa.NativeFile]:
        """A stream into a file that appears, whole, when the block ends without an exception."""
        path = self.file(*parts)
        hidden = _hidden_name(path)
        with _or_nothing(self, hidden):
            self.fs.create_dir(posixpath.dirname(path), recursive=True)
            with self.fs.open_output_stream(hidden) as stream:
                yield stream
            self.fs.move(hidden, path)


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

    def drop_repeated(self) -> None:
        """Leave of each id the row that `read` gives; an edit made after it failed has two, as after a kill."""
        order = self._order()
        rows = self.stored([*order, _FILE]).sort_by([(name, "ascending", "at_start") for name in [*order, _FILE]])
        home: dict[str, str] = {}
        strays: dict[str, set[str]] = {}
        for row_id, path in zip(rows.column(order[0]).to_pylist(), rows.column(_FILE).to_pylist(), strict=True):
            if home.setdefault(row_id, path) != path:
                strays.setdefault(path, set()).add(row_id)
        for path, repeated in strays.items():
            self._rewrite(path, lambda rows, repeated=repeated: self._without(rows, repeated))

    def replace(self, files: list[str], rows: pa.Table) -> None:
        """Put rows in the place of some files. Where this is killed, some of those are still beside them."""
        new = self.commit(rows) or self._write(self.schema.empty_table(), "empty")
        for path in files:
            if path != new:
                self.folder.fs.delete_file(path)

    def sweep(self) -> None:
        """Delete what killed processes left half written: no file takes a day."""
        for info in self.folder.fs.get_file_info(pafs.FileSelector(self.path, allow_not_found=True)):
            is_hidden = info.base_name.startswith(".") and info.base_name.endswith(_HIDDEN)
            if is_hidden and is_stale(info):
                self.folder.fs.delete_file(info.path)

    def _without(self, rows: pa.Table, ids: Collection[str]) -> pa.Table:
        unwanted = pc.is_in(rows.column(tables.KEYS[self.name]), value_set=pa.array(list(ids), pa.string()))
        return rows.filter(pc.invert(unwanted))

    def _holding(self, ids: Collection[str]) -> list[str]:
        """The files that hold any of some ids."""
        if not ids:
            return []
        places = self.stored([tables.KEYS[self.name], _FILE])
        is_held = pc.is_in(places.column(0), value_set=pa.array(list(ids), pa.string()))
        return sorted(set(places.column(_FILE).filter(is_held).to_pylist()))

    def _rewrite(self, path: str, change: Callable[[pa.Table], pa.Table]) -> None:
        """Put what `change` makes of a file's rows in its place; a file of an older release may lack a column."""
        file = ds.dataset(path, filesystem=self.folder.fs, schema=self.schema, format="parquet")
        if self.commit(change(file.to_table())) != path:
            self.folder.fs.delete_file(path)

    def _write(self, rows: pa.Table, name: str) -> str:
        path = posixpath.join(self.path, f"part-{name}.parquet")
        hidden, fs = _hidden_name(path), self.folder.fs

        def write() -> None:
            fs.create_dir(self.path, recursive=True)
            pq.write_table(rows.select(self.schema.names).cast(self.schema), hidden, filesystem=fs)
            fs.move(hidden, path)

        with _or_nothing(self.folder, hidden):
            patiently(write)
        return path

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows, each id once, ordered by id, so that a reader never depends on who wrote what when.

        Where an id failed once and was made later, the row without an error counts.
        """
        order, wanted = self._order(), columns or self.schema.names
        rows = self.stored(list(dict.fromkeys([*order, *wanted])))
        rows = rows.sort_by([(name, "ascending", "at_start") for name in order])
        return first_of_each(rows, order[0]).select(wanted)

    def _order(self) -> list[str]:
        """By which columns rows are read: of an id, one without an error comes first."""
        return [name for name in (tables.KEYS[self.name], "error") if name in self.schema.names]

    def stored(self, columns: list[str] | None = None) -> pa.Table:
        """Every row that is committed, in no order; an id may be there twice."""
        columns = columns or self.schema.names
        if not self.exists():
            return self.schema.append(pa.field(_FILE, pa.string())).empty_table().select(columns)
        return ds.dataset(self.path, filesystem=self.folder.fs, schema=self.schema).to_table(columns=columns)

    def ids(self) -> set[str]:
        """The ids that are committed."""
        return set(self.read([tables.KEYS[self.name]]).column(0).to_pylist())

    def exists(self) -> bool:
        """Whether any file has been committed."""
        return bool(self.files())

    def files(self) -> list[str]:
        """The committed files, in the order of their names."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        names = [info.path for info in self.folder.fs.get_file_info(selector)]
        return sorted(name for name in names if posixpath.basename(name).startswith("part-"))


def is_stale(info: pafs.FileInfo) -> bool:
    """Whether nobody has written to a file or folder for a day, as far as the filesystem knows."""
    return info.mtime_ns is not None and time.time() - info.mtime_ns / 1e9 > _DAY_S


def first_of_each(rows: pa.Table, key: str) -> pa.Table:
    """`rows`, sorted by `key`, without the repetitions of a key."""
    keys = rows.column(key).combine_chunks()
    if len(keys) < 2:
        return rows
    new = pc.not_equal(keys[1:], keys[:-1])
    return rows.filter(pa.concat_arrays([pa.array([True]), new]))


def _hidden_name(path: str) -> str:
    """A name beside `path` that dataset readers skip."""
    head, tail = posixpath.split(path)
    return posixpath.join(head, f".{tail}.{uuid.uuid4().hex}{_HIDDEN}")


@contextmanager
def _or_nothing(folder: RunFolder, hidden: str) -> Iterator[None]:
    """Leave no half-written file behind. Raises FullDiskError where the disk is full."""
    try:
        yield
    except BaseException as error:
        if folder.fs.get_file_info(hidden).type == pafs.FileType.File:
            folder.fs.delete_file(hidden)
        if isinstance(error, OSError) and error.errno in FULL:
            raise FullDiskError(
                f"the disk of {folder.path} is full; free some space there (older run folders, exports, tables of "
                "settings that are no longer used) and run it again: what was committed stays"
            ) from None
        raise
