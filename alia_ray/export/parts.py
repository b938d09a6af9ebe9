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
from alia_ray.store.patience import patiently
from alia_ray.store.rows import ROWS_AT_ONCE, homes
from alia_ray.store.run_folder import FILE, RunFolder, below, filesystem
from alia_ray.training.examples import Examples, count

SAMPLES_PER_PART = 1000  # at most: of a shard, and of what a killed task may lose
_TASKS_PER_CPU = 2  # handed to Ray at once; one waits while one runs


@dataclass(frozen=True)
class Part:
    """What one task writes."""

    split: str
    number: int  # within the split
    pieces: tuple[Examples, ...]  # the table of each is one committed file


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


def parts_of(split: str, examples: Sequence[Examples], size: int = SAMPLES_PER_PART) -> list[Part]:
    """Cut what a split consists of into parts of at most `size`; they follow the order of the committed files.

    So a task opens few files, and of those almost none twice. Raises StageError for an id that is not there.
    """
    pieces = [piece for source in examples for piece in _of_each_file(source.resolved())]
    rows = [(index, example_id) for index, piece in enumerate(pieces) for example_id in piece.ids]
    parts = []
    for number, start in enumerate(range(0, len(rows), size)):
        of_piece = groupby(rows[start : start + size], key=lambda row: row[0])
        chosen = tuple(replace(pieces[index], ids=tuple(key for _, key in some)) for index, some in of_piece)
        parts.append(Part(split, number, chosen))
    return parts


def _of_each_file(examples: Examples) -> list[Examples]:
    """The same examples by the committed file that holds them."""
    rows = homes(examples.table, examples.key, examples.ids)
    if rows.num_rows < count([examples]):
        missing = count([examples]) - rows.num_rows
        raise StageError(f"export: {missing} images are not in {examples.table} any more; export again")
    pairs = sorted(zip(*(rows.column(name).to_pylist() for name in (FILE, examples.key)), strict=True))
    return [
        replace(examples, table=below(examples.table, posixpath.basename(path)), ids=tuple(key for _, key in some))
        for path, some in groupby(pairs, key=lambda pair: pair[0])
    ]


def write_parts(export: Export, cluster: Cluster) -> None:
    """Write the parts that are not whole yet, and what belongs to all of them. Raises StageError."""
    missing = _missing(export)
    start = ray.remote(num_cpus=1)(_write_part).remote
    waiting = (start(replace(export, parts=(part,))) for part in missing)
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
        ids, found = pa.array(piece.ids, pa.string()), 0
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
