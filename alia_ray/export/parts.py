"""export: rows of the images and edits tables -> files that any trainer reads. Makes nothing new.

A split is cut into parts, and each part is written by a Ray task that streams it from the committed files that
hold it, so no picture passes through the driver and a worker holds a batch of them. A part that is whole is not
written again.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.placement import Cluster
from alia_ray.errors import StageError
from alia_ray.export.formats import FORMATS
from alia_ray.export.formats.samples import SAMPLES
from alia_ray.progress import Progress
from alia_ray.store import parquet
from alia_ray.store.damage import only_reading, reading
from alia_ray.store.ledger import Ledger, ledger_of, quoted
from alia_ray.store.patience import patiently
from alia_ray.store.rows import ROWS_AT_ONCE
from alia_ray.store.run_folder import RunFolder, Table, below, filesystem
from alia_ray.store.tables import KEYS
from alia_ray.training.examples import Examples, count

SAMPLES_PER_PART = 1000  # at most: of a shard, and of what a killed task may lose
_TASKS_PER_CPU = 2  # handed to Ray at once; one waits while one runs


@dataclass(frozen=True)
class Part:
    """What one task writes."""

    split: str
    number: int  # within the split
    pieces: tuple[Examples, ...]  # the table of each is one committed file, its ids are a slice of all

    def alone(self) -> "Part":
        """The same without what its ids are slices of, which would travel with them."""
        return replace(self, pieces=tuple(replace(each, ids=pa.concat_arrays([each.ids])) for each in self.pieces))


@dataclass(frozen=True)
class Export:
    """What is written, where to and how."""

    out: RunFolder
    format: str  # one of FORMATS
    parts: tuple[Part, ...]
    about: dict[str, Any]  # what it is, for whoever finds it; "classes" are the class names, sorted

    def mark(self, part: Part) -> str:
        """The path below `out` of the file that says that a part is whole."""
        return FORMATS[self.format].mark(part.split, part.number)


@dataclass(frozen=True)
class Chosen:
    """Rows of a table that are exported."""

    table: Table
    ids: pa.StringArray

    @property
    def key(self) -> str:
        """The column of the ids."""
        return KEYS[self.table.name]

    def relation(self, ledger: Ledger, columns: Sequence[str] = ()) -> str:
        """SQL of their `key` and `file`, and of some columns; those that failed are left out."""
        failed = ["error"] if "error" in self.table.schema.names else []
        rows = ledger.rows(self.table, [*columns, *failed])
        chosen = ledger.keep("exported", pa.table({self.key: self.ids}))
        names = ", ".join(map(quoted, [*columns, "file"]))
        where = " AND ".join(f"{name} IS NULL" for name in failed) or "true"
        return f"SELECT {self.key} AS key, {names} FROM {rows} SEMI JOIN {chosen} USING ({self.key}) WHERE {where}"


def parts_of(split: str, chosen: Sequence[Chosen], size: int = SAMPLES_PER_PART) -> list[Part]:
    """Cut what a split consists of into parts of at most `size`; they follow the order of the committed files.

    So a task opens few files, and of those almost none twice. Raises StageError for an id that is not there.
    """
    cut: list[list[Examples]] = []
    room = 0
    for piece in (piece for rows in chosen for piece in _of_each_file(rows)):
        start = 0
        while start < len(piece.ids):
            if not room:
                cut.append([])
                room = size
            ids = piece.ids.slice(start, room)
            cut[-1].append(replace(piece, ids=ids))
            room, start = room - len(ids), start + len(ids)
    return [Part(split, number, tuple(pieces)) for number, pieces in enumerate(cut)]


def _of_each_file(chosen: Chosen) -> Iterator[Examples]:
    """The same rows by the committed file that holds them: slices of one column."""
    ledger = ledger_of(chosen.table.folder)
    relation = chosen.relation(ledger)
    files = ledger.given(ledger.file_names(chosen.table))
    found = ledger.keep("homes", f"SELECT key, path FROM ({relation}) JOIN {files} USING (file)")
    ids = ledger.ask(f"SELECT key FROM {found} ORDER BY path, key").column(0).combine_chunks()
    whole = Examples(chosen.table.uri, chosen.key, chosen.ids).resolved()
    if missing := count([whole]) - len(ids):
        raise StageError(f"export: {missing} images are not in {whole.table} any more; export again")
    start = 0
    for row in ledger.ask(f"SELECT path, count(*) AS rows FROM {found} GROUP BY path ORDER BY path").to_pylist():
        path = below(whole.table, posixpath.basename(row["path"]))
        yield replace(whole, table=path, ids=ids.slice(start, row["rows"]))
        start += row["rows"]


def write_parts(export: Export, cluster: Cluster) -> None:
    """Write the parts that are not whole yet, and what belongs to all of them. Raises StageError."""
    missing = _missing(export)
    start = ray.remote(num_cpus=1)(_write_part).remote
    waiting = (start(replace(export, parts=(part.alone(),))) for part in missing)
    total = sum(count(part.pieces) for part in missing)
    with failures_of("export"), Progress("export", total, unit="images") as progress:
        running = list(islice(waiting, _TASKS_PER_CPU * max(1, int(cluster.cpus))))
        while running:
            done, running = ray.wait(running)
            progress.advance(sum(ray.get(done)))
            running += islice(waiting, len(done))
    finish = FORMATS[export.format].finish
    if finish is not None:
        by_split = groupby(export.parts, key=lambda part: part.split)
        finish(export.out, {split: [export.mark(part) for part in parts] for split, parts in by_split})


def is_whole(export: Export) -> bool:
    """Whether a finished export still has everything."""
    is_split_whole = FORMATS[export.format].is_whole
    if is_split_whole is None:
        return not _missing(export)
    return all(is_split_whole(export.out, split, images) for split, images in export.about["images"].items())


def _missing(export: Export) -> list[Part]:
    """The parts whose mark is not there, or is empty, which is what a full disk may leave."""
    infos = export.out.fs.get_file_info([export.out.file(export.mark(part)) for part in export.parts])
    return [part for part, info in zip(export.parts, infos, strict=True) if not info.is_file or not info.size]


def _write_part(export: Export) -> int:
    """Write the one part of an export; how many samples it has."""
    [part] = export.parts
    classes, write_part = pa.array(export.about["classes"], pa.string()), FORMATS[export.format].write_part
    with only_reading():
        patiently(lambda: write_part(_samples(part, classes), export.out, export.mark(part)))
    return count(part.pieces)


def _samples(part: Part, classes: pa.Array) -> Iterator[pa.Table]:
    """The rows of a part as tables of schema SAMPLES, a batch at a time."""
    for piece in part.pieces:
        fs, path = filesystem(piece.table)
        ids, found = piece.ids, 0
        with reading(fs, [path]), parquet.opened(path, fs) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                rows = pa.Table.from_batches([batch])
                rows = rows.filter(pc.is_in(rows.column(piece.key), value_set=ids))
                found += rows.num_rows
                if rows.num_rows:
                    yield _as_samples(rows, part.split, classes)
        if found != len(ids):
            raise ValueError(f"{path} has {found} of {len(ids)} images that it had before")


def _as_samples(rows: pa.Table, split: str, classes: pa.Array) -> pa.Table:
    """Rows of the images or of the edits table as samples of a split; what the table does not have is null."""
    columns = {name: rows.column(name) for name in rows.column_names}
    columns["split"] = pa.array([split] * rows.num_rows, pa.string())
    columns["class_index"] = pc.index_in(rows.column("label"), value_set=classes)
    if "edit_id" in columns:  # the table's verdict is that of the filters when it was written, not of the arm's
        columns["verdict"] = pa.array(["kept"] * rows.num_rows, pa.string())
    found = [columns.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in SAMPLES]
    return pa.table(found, schema=SAMPLES)
