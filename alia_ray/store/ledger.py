"""Narrow columns of a run folder's tables in an embedded database, for what is asked of all rows at once.

DuckDB holds them in a temporary file on this machine, and of that no more than MEMORY at a time: to find what is
missing of a million rows takes a process no more memory than of a thousand. Pictures never come here.
"""

import contextlib
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.store import parquet, tables
from alia_ray.store.damage import put_damaged_aside
from alia_ray.store.patience import patiently
from alia_ray.store.run_folder import FILE, READS, RunFolder, Table, Version, version_of

MEMORY = "400MB"
THREADS = 2  # each takes some of it; with four, half as much was too little for a million images
_ROWS_AT_ONCE = 100_000  # of a table that is being read
_FILES_AT_ONCE = 256


class Ledger:
    """What is known of the tables of a run folder; one for a process. Not for several threads at once."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="alia-ray-ledger-", ignore_cleanup_errors=True)
        threads = min(THREADS, os.cpu_count() or 1)
        settings = {"memory_limit": MEMORY, "threads": threads, "temp_directory": self._place.name}
        self._sql = duckdb.connect(Path(self._place.name) / "ledger.db", config=settings)
        self._sql.execute("SET preserve_insertion_order = false")
        self._files: dict[str, dict[str, tuple[int, Version]]] = {}  # relation -> file -> its number, as it was
        self._strays: dict[str, dict[str, set[str]]] = {}  # relation -> file -> ids whose row elsewhere counts
        self._columns: dict[str, list[str]] = {}
        self._tokens: dict[str, str] = {}  # what is kept -> what it depends on
        self._states: dict[str, str] = {}  # relation -> what is another when its rows are
        self._kept = itertools.count()

    def close(self) -> None:
        """Forget everything."""
        self._sql.close()
        self._place.cleanup()

    # ---------------------------------------------------------------- asking

    def ask(self, query: str) -> pa.Table:
        """What a query gives."""
        return self._sql.sql(query).to_arrow_table()

    def number(self, query: str) -> int:
        """The one number that a query gives; 0 for none."""
        return next(iter(self.column(query)), 0) or 0

    def column(self, query: str) -> list[Any]:
        """The values of the one column that a query gives."""
        return self.ask(query).column(0).to_pylist()

    def batches(self, query: str, rows: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
        """What a query gives, some rows at a time."""
        with self._sql.cursor() as apart:  # others may be asked meanwhile
            yield from apart.sql(query).to_arrow_reader(rows)

    def keep(self, name: str, what: "str | pa.Table", **values: Any) -> str:
        """Keep rows, or what a query gives, under a name, which is returned for queries.

        values: of the query's parameters, `$name`.
        """
        if isinstance(what, str):
            self._sql.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS {what}", values or None)
        else:
            with self._seen(what) as seen:
                self._sql.execute(f"CREATE OR REPLACE TABLE {quoted(name)} AS SELECT * FROM {seen}")
        self._tokens[name] = f"kept as number {next(self._kept)}"
        return quoted(name)

    def keep_in_parts(self, name: str, queries: Sequence[str]) -> str:
        """Keep what some queries give, one after the other, under one name."""
        kept = self.keep(name, queries[0])
        for query in queries[1:]:
            self._sql.execute(f"INSERT INTO {kept} {query}")
        return kept

    def keep_once(self, name: str, token: str, query: Callable[[], tuple[str, dict[str, Any]]]) -> str:
        """Keep what a query and its parameters give, unless it is kept already. token: what it depends on."""
        if self._tokens.get(name) != token:
            what, values = query()
            self.keep(name, what, **values)
            self._tokens[name] = token
        return quoted(name)

    def token_of(self, name: str) -> str:
        """What is another where something is kept anew under its name."""
        return self._tokens[unquoted(name)]

    def given(self, rows: pa.Table) -> str:
        """A few rows of this process as a relation that stays: the same for the same rows."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows.combine_chunks())
        name = f"given/{hashlib.sha256(sink.getvalue()).hexdigest()[:16]}"
        if name not in self._tokens:
            self.keep(name, rows)
            self._tokens[name] = name
        return quoted(name)

    @contextlib.contextmanager
    def _seen(self, rows: pa.Table) -> Iterator[str]:
        """Rows of this process as a relation."""
        self._sql.register("seen_now", rows)
        try:
            yield "seen_now"
        finally:
            self._sql.unregister("seen_now")

    # ---------------------------------------------------------------- the tables of the folder

    def rows(self, table: Table, columns: Sequence[str]) -> str:
        """A relation of the rows of a table, each id once, as `Table.read` gives them: some columns, and `file`.

        `file` is a number, which `file_names` tells. What is there is read once, and later what was added: of
        columns that are narrow all, and a relation of its own where one is asked for that is not.
        """
        narrow = [field.name for field in table.schema if _is_narrow(field)]
        if wide := sorted(set(columns) - set(narrow)):
            self.rows(table, [])  # which tells files and states
        name = _name_of(table, wide)
        known = self._columns.get(name, [] if wide else narrow)
        if name not in self._columns or not set(columns) <= set(known):
            self._forget(name, dict.fromkeys([*known, *(column for column, *_ in table.order()), *columns]))
        patiently(lambda: self._bring_up_to_date(table, name))
        return self._as_read(table, name)

    def _as_read(self, table: Table, name: str) -> str:
        """What readers see of the rows that are there: some pass over a few."""
        passed_over = table.passed_over(name)
        if passed_over is None:
            return name
        view = f"{unquoted(name)} as it is read"
        gone = self.keep_once(f"not in {view}", self.state_of(table), lambda: (passed_over, {}))
        if not self.number(f"SELECT count(*) FROM {gone}"):
            return name
        rows = f"SELECT * FROM {name} ANTI JOIN {gone} USING ({tables.KEYS[table.name]})"
        self._sql.execute(f"CREATE OR REPLACE VIEW {quoted(view)} AS {rows}")
        return quoted(view)

    def file_names(self, table: Table) -> pa.Table:
        """`file` and `path` of the files that `rows` has read of a table."""
        files = self._files[_name_of(table)]
        numbers = pa.array([number for number, _ in files.values()], pa.int32())
        return pa.table({"file": numbers, "path": pa.array(files, pa.string())})

    def homes(self, table: Table, ids: Iterable[str]) -> pa.Table:
        """Which file holds each of some rows of a table, for `rows.stream`: its key, and FILE."""
        key, rows = tables.KEYS[table.name], self.rows(table, [])
        some, paths = (self.given(each) for each in (_as_column("id", ids), self.file_names(table)))
        return self.ask(
            f"SELECT {key}, path AS {quoted(FILE)} FROM {rows} JOIN {paths} USING (file) "
            f"WHERE {key} IN (SELECT id FROM {some}) ORDER BY {key}"
        )

    def state_of(self, table: Table) -> str:
        """What changes with the rows that `rows` has read of a table."""
        return self._states[_name_of(table)]

    def now_of(self, *several: Table) -> str:
        """What changes with the rows that there are of some tables; reads what is new."""
        for table in several:
            self.rows(table, [])
        return "; ".join(map(self.state_of, several))

    def strays(self, table: Table) -> dict[str, set[str]]:
        """file -> the ids of which it holds a row that readers pass over, since another one counts."""
        return dict(self._strays[_name_of(table)])

    def merged(self, table: Table, files: Mapping[str, Sequence[str]]) -> None:
        """Take note that rows lie in other files now: file -> those that it was made of."""
        name = _name_of(table)
        known, there = self._files.get(name, {}), {info.path: version_of(info) for info in table.listed()}
        if not all(new in there and known.keys() >= set(old) for new, old in files.items()):
            return  # which reads it anew when it is asked
        moves = []
        for number, (new, old) in enumerate(files.items(), start=self._next_number(name)):
            moves += [{"old": known.pop(file)[0], "new": number} for file in old]
            for file in old:
                self._strays[name].pop(file, None)
            known[new] = (number, there[new])
        self._note_state(name)
        with self._seen(pa.Table.from_pylist(moves)) as seen:
            self._sql.execute(f"UPDATE {name} SET file = m.new FROM {seen} m WHERE file = m.old")

    def _next_number(self, name: str) -> int:
        return max((number for number, _ in self._files[name].values()), default=-1) + 1

    def _forget(self, name: str, columns: Iterable[str] | None = None) -> None:
        self._columns[name] = list(columns or self._columns[name])
        self._files[name], self._strays[name] = {}, {}
        self._note_state(name)
        self._sql.execute(f"DROP TABLE IF EXISTS {name}")

    def _note_state(self, name: str) -> None:
        versions = sorted((file, version) for file, (_, version) in self._files[name].items())
        self._states[name] = hashlib.sha256(repr((name, versions)).encode()).hexdigest()

    def _bring_up_to_date(self, table: Table, name: str) -> None:
        for _ in range(READS):
            files = {info.path: info for info in table.listed()}
            known = self._files[name].items()
            if any(file not in files or version_of(files[file]) != version for file, (_, version) in known):
                self._forget(name)
            try:
                self._read(table, name, files)
                return
            except FileNotFoundError:
                self._forget(name)
            except (pa.ArrowInvalid, OSError):
                self._forget(name)
                if not put_damaged_aside(table.folder.fs, table.files(), self._columns[name]):
                    raise
        self._read(table, name, {info.path: info for info in table.listed()})

    def _read(self, table: Table, name: str, infos: Mapping[str, pafs.FileInfo]) -> None:
        """Add the rows of the files that are not known yet, and leave of each id the row that counts."""
        columns, known = self._columns[name], self._files[name]
        files = [file for file in infos if file not in known]
        fields = [table.schema.field(column) for column in columns] + [pa.field("file", pa.int32())]
        if not known:
            self.keep(unquoted(name), pa.schema(fields).empty_table())
        for start in range(0, len(files), _FILES_AT_ONCE):
            some, first = files[start : start + _FILES_AT_ONCE], self._next_number(name)
            rows = parquet.dataset([infos[file] for file in some], table.folder.fs, table.schema).to_table(
                columns=[*columns, FILE]
            )
            place = pc.add(pc.index_in(rows.column(FILE), value_set=pa.array(some, pa.string())), first)
            rows = rows.drop_columns(FILE).append_column(fields[-1], pc.cast(place, pa.int32()))
            with self._seen(rows) as seen:
                self._sql.execute(f"INSERT INTO {name} SELECT * FROM {seen}")
            known |= {file: (first + place, version_of(infos[file])) for place, file in enumerate(some)}
        if files:
            self._note_state(name)
            self._leave_one_of_each(table, name)

    def _leave_one_of_each(self, table: Table, name: str) -> None:
        key, paths = tables.KEYS[table.name], self.file_names(table)
        again = f"SELECT {key} FROM {name} GROUP BY {key} HAVING count(*) > 1"
        with self._seen(paths) as seen:
            ranked = (
                f"SELECT r.rowid AS place, row_number() OVER (PARTITION BY {key} ORDER BY "
                f"{_order_of(table)}, path) AS rank FROM {name} r JOIN {seen} USING (file) "
                f"WHERE {key} IN ({again})"
            )
            strays = f"SELECT place FROM ({ranked}) WHERE rank > 1"
            query = f"SELECT {key} AS key, path FROM {name} r JOIN {seen} USING (file) WHERE r.rowid IN ({strays})"
            for row in self.ask(query).to_pylist():
                self._strays[name].setdefault(row["path"], set()).add(row["key"])
            if self._strays[name]:
                self._sql.execute(f"DELETE FROM {name} WHERE rowid IN ({strays})")


def _order_of(table: Table) -> str:
    """`Table.order` in SQL."""
    places = {"at_start": "FIRST", "at_end": "LAST"}
    return ", ".join(f"{quoted(name)} NULLS {places[place]}" for name, _, place in table.order())


def _name_of(table: Table, wide: Sequence[str] = ()) -> str:
    """The relation of a table's rows."""
    return quoted(f"{table.name}/{table.fingerprint}{''.join(f' with {column}' for column in wide)}")


def _is_narrow(field: pa.Field) -> bool:
    """Whether a column may be kept of every row: no picture, no scores of all classes, not how it was made."""
    return not (pa.types.is_binary(field.type) or pa.types.is_nested(field.type) or field.name in tables.HOW)


def _as_column(name: str, values: Iterable[str]) -> pa.Table:
    return pa.table({name: pa.array(list(values), pa.string())})


def hashed(column: str) -> str:
    """SQL of what `tables.as_hashed` gives of a column's texts, which are shorter than 65,536 bytes."""
    length = f"octet_length(encode({column}))"
    return f"unhex(printf('%02x%02x000000000000', {length} & 255, {length} >> 8)) || encode({column})"


def content_id_of(column: str, *before: str) -> str:
    """SQL of `tables.content_id(*before, text)` of a column's texts."""
    known = "".join(f"\\x{byte:02x}" for byte in tables.as_hashed(*before))
    return f"sha256('{known}'::BLOB || {hashed(column)})[:32]"


def literal(text: str) -> str:
    """A text as SQL takes any."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """The same backwards."""
    return name[1:-1].replace('""', '"')


_open: dict[str, Ledger] = {}


def ledger_of(folder: RunFolder) -> Ledger:
    """The ledger of a run folder in this process, which holds that of one folder."""
    where = folder.uri()
    if where not in _open:
        for other in _open.values():
            other.close()
        _open.clear()
        _open[where] = Ledger()
    return _open[where]
