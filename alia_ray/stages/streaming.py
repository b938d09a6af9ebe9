"""The one way a stage streams rows through an actor pool: read, prepare, work, commit.

What is to be done is a query of the run folder's ledger, and is written down as files of narrow rows. Ray tasks
read the pictures of just those rows, a pool of workers works on them, and what that returns is committed, block by
block, from Ray tasks. Only counts come back to the driver.
Rows that failed carry a reason in their `error` column: they go to the errors table, and into the pass's own
table only if that has such a column. A pass that is killed loses the blocks under way and nothing else: an error
of an earlier run stays until the outcome of trying it again is committed.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError

from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.placement import Placement
from alia_ray.config import Run, Section
from alia_ray.errors import FullDiskError, StageError, shortened
from alia_ray.models.revisions import pinned
from alia_ray.plain_text import LONGEST_REASON, plain_line
from alia_ray.progress import Progress, note, number_of, say
from alia_ray.stages import made_with
from alia_ray.stages.answered import failed_of, keys_of, left_to_do, listed, made, tally, too_many_failed
from alia_ray.stages.counting import Counter, Counts, counting, tell
from alia_ray.stages.merging import drop_repeated, merge_files
from alia_ray.store import rows as stored
from alia_ray.store import tables
from alia_ray.store.errors import Row, is_tried_again, read_errors, settle
from alia_ray.store.ledger import Ledger, ledger_of
from alia_ray.store.patience import still_unseen
from alia_ray.store.run_folder import FILE, Table
from alia_ray.store.tables import ERRORS

COMPLETES = "completes"  # how many rows of its input a row completes, where they do not answer one by one
MADE_WITH = "made_with"  # the record of what a worker made a row with, as JSON; see `made_with.py`
SAID = "said"  # a sentence of the worker's for the person, or null
RESTARTS = 5  # of a lost worker, and of what it was at; Ray Data's own number has no end
ROWS_PER_BLOCK = 64  # at least this many rows are committed at once; also what a killed worker may lose
ROWS_PER_QUICK_BLOCK = 512  # the same where a row takes little, and a block's own cost is felt
ROWS_BEFORE_REFUSING = 200  # before so many rows no share of errors stops a pass that has not come to its end
MANY_BLOCKS = 4096  # a pass that would have more has larger ones: the driver keeps some 30 KB of each to its end
BLOCKS = 24  # a small pass has about so many, as far as its batches allow, for progress that moves
BLOCKS_PER_WORKER = 4  # and at least so many, so that workers end at about the same time


Source = tuple[Table, list[str]]
"""A table of which the ledger knows the files, and the columns to read: of rows that give its key and `file`."""


@dataclass(frozen=True)
class Pass:
    """One resumable pass of a stage."""

    stage: str
    rows: str  # SQL of what is to be done, with the columns that workers need
    todo: int  # how many rows that gives
    # worker(*worker_args)(batch: pa.Table) -> pa.Table of the target's columns and `error`, and `kind` where
    # that is not "model": a row for each of the batch, or any number of them with a column COMPLETES; maybe SAID
    worker: type
    worker_args: tuple[Any, ...]  # of sections of the configuration their models are loaded
    target: Table
    key: str  # the column of the target by which the errors table names a row
    wanted: str  # SQL of the keys (`key`) of all rows that the stage is to answer for under this configuration
    batch_size: int
    run: Run
    source: Source | None = None  # what is read for each of the rows
    prepare: Callable[[pa.Table], pa.Table] | None = None  # rows as read -> rows for the workers; runs in tasks
    # A worker that has an attribute `tell` may call it with how many rows it has made in the middle of a batch.
    unit: str = "rows"  # what is counted
    rows_per_block: int = ROWS_PER_BLOCK  # of a pass that is large enough
    makes_one_each: bool = True  # of each row of its input
    makes: int | None = None  # how many in all, where it makes not one of each and yet knows it

    @property
    def errors(self) -> Table:
        """Where the rows that failed go."""
        return self.target.errors(self.stage)

    def expected(self, counts: Counts) -> int:
        """How many rows the pass will have made at its end, by what it has made so far."""
        if self.makes_one_each or self.makes is not None:
            return self.todo if self.makes is None else self.makes
        each = max(counts.made / counts.completed, 1) if counts.completed else 1
        return round(counts.made + (self.todo - counts.completed) * each)

    @property
    def ledger(self) -> Ledger:
        """Where its queries are asked."""
        return ledger_of(self.target.folder)


def run_pass(job: Pass, placement: Placement) -> None:
    """Stream a pass to its end. Raises StageError when too many of the stage's rows have failed, now or before."""
    with progress_of(job, placement) as progress:
        stream(job, placement, progress)
    check_error_rate(job)
    tell_errors(job)


def progress_of(job: Pass, placement: Placement) -> Progress:
    """The progress of a stage whose first pass this is."""
    made_so_far, _ = tally(job.stage, job.target, job.key, job.wanted, [])
    before = (made_so_far, _number(job, job.wanted) if job.makes_one_each else None)
    starting = f"starting {number_of(placement.workers, 'workers')}" if job.todo else ""
    return Progress(job.stage, job.expected(Counts()), job.unit, starting, before)


def stream(job: Pass, placement: Placement, progress: Progress) -> None:
    """Stream a pass to its end, or until too many rows have failed. Raises StageError."""
    with failures_of(job.stage):
        job.errors.create()
        drop_repeated(job.target)
        before = settle(job.errors, _made_by_now(job))
        if not job.todo:
            return
        try:
            _stream(job, placement, before, progress)
        except RayError as error:
            if isinstance(error, (ActorDiedError, OutOfMemoryError)):
                _tell_suspects(job, placement)
            raise
        finally:
            again = [row for row in before if is_tried_again(row, job.run.retry_errors)]
            settle(job.errors, _made_by_now(job), again)
            drop_repeated(job.target)
            _delete_todo(job)
        merge_files(job.target)


def _number(job: Pass, keys: str) -> int:
    return job.ledger.number(f"SELECT count(*) FROM ({keys})")


def _made_by_now(job: Pass) -> set[str]:
    """The keys among the errors of a pass that its target holds without an error."""
    failed = keys_of(job.target, f"{job.stage}, all", read_errors(job.errors))
    return set(job.ledger.column(f"SELECT key FROM {failed} SEMI JOIN ({made(job.target, job.key)}) USING (key)"))


def _tell_suspects(job: Pass, placement: Placement) -> None:
    """Where so little is left that workers had it all in their hands, say what: one of it may kill any worker."""
    keys = left_to_do(job.wanted, job.target, job.stage, job.key, job.run.retry_errors)
    most = 2 * job.batch_size * placement.workers
    left = job.ledger.column(f"SELECT key FROM ({keys}) ORDER BY key LIMIT {most + 1}")
    if 0 < len(left) <= most:
        named = list(map(repr, left))
        note(f"{job.stage}: left are {', '.join(named)}")
        say(
            f"{job.stage}: {number_of(len(left), 'rows')} are left, and if workers die again, one of these kills "
            f"them; take it out of the source: {shortened(named, 'more, which the log names')}"
        )


def _stream(job: Pass, placement: Placement, before: list[Row], progress: Progress) -> None:
    failed_for_good = [row for row in before if not is_tried_again(row, job.run.retry_errors)]
    counted, failed_before = tally(job.stage, job.target, job.key, job.wanted, failed_for_good)
    there = _number(job, made(job.target, job.key))
    done, failed, said, files = 0, 0, set(), set()
    now: list[made_with.Record] = []
    earlier = made_with.records(job.target)
    with counting(_shown_by(job, progress)) as counter:
        for count in _commits(job, placement, counter).iter_rows():
            if count["trouble"]:
                raise StageError(f"{job.stage}: {count['trouble']}")
            for sentence in sorted(set(count["said"]) - said):
                say(f"{job.stage}: {sentence}")
            said.update(count["said"])
            files.update(count["files"])
            for record in map(json.loads, count["made_with"]):
                if record not in now:
                    now.append(record)
                    made_with.tell(job.target, now, earlier, there)
            counted, done, failed = counted + count["rows"], done + count["done"], failed + count["errors"]
            progress.advance(count["rows"], progress.failed + count["errors"])
            if counted >= ROWS_BEFORE_REFUSING and failed_before + failed > job.run.max_error_rate * counted:
                check_error_rate(job)
    if done < job.todo:
        raise StageError(f"{job.stage}: {job.todo - done} of {job.todo} rows never came back; run it again")
    _wait_until_seen(job, files)


def _shown_by(job: Pass, progress: Progress) -> Callable[[Counts], None]:
    """Shows what workers of this pass have made, beside what earlier passes of the stage did."""
    earlier, about = progress.done, not job.makes_one_each and job.makes is None

    def show(counts: Counts) -> None:
        progress.expect(earlier + job.expected(counts), about)
        progress.sees(earlier + counts.made)

    show(Counts())
    return show


def _wait_until_seen(job: Pass, files: set[str]) -> None:
    """Wait until the files that were counted are listed here too. Raises StageError where they never are."""
    if unseen := still_unseen(lambda: files - {*job.target.files(), *job.errors.files()}):
        raise StageError(
            f"{job.stage}: {len(unseen)} of {len(files)} files that its workers wrote are not to be seen from "
            f"here, such as {min(unseen)}; is the run folder the same on every node? Run it again"
        )


def _commits(job: Pass, placement: Placement, counter: Counter) -> ray.data.Dataset:
    """The pass as a dataset of the counts of what was committed; it runs while they are read."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    rows_per_block = _block_rows(job.rows_per_block, job.batch_size, job.todo, placement.workers)
    resources = {"num_cpus": placement.num_cpus}
    if placement.num_gpus:
        resources["num_gpus"] = placement.num_gpus
    if placement.memory:
        resources["memory"] = placement.memory
    return (
        ray.data.read_parquet(_write_todo(job), filesystem=job.target.folder.fs)
        .repartition(target_num_rows_per_block=rows_per_block)
        .map_batches(
            _with_source(job.source, job.prepare),
            batch_format="pyarrow",
            # What a task holds at once; Ray puts blocks together that are smaller than that.
            batch_size=min(rows_per_block, max(ROWS_PER_BLOCK, job.batch_size)),
        )
        .map_batches(
            Recorded,
            fn_constructor_args=(*worker_of(job), counter),
            batch_format="pyarrow",
            batch_size=job.batch_size,
            compute=ActorPoolStrategy(size=placement.workers),
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            **resources,
        )
        .map_batches(
            _commit,
            fn_kwargs={"stage": job.stage, "target": job.target, "key": job.key},
            batch_format="pyarrow",
            batch_size=None,
        )
    )


def _todo_folder(job: Pass) -> tuple[str, ...]:
    return "todo", f"{job.stage}-{job.target.fingerprint}"


def _write_todo(job: Pass) -> list[str]:
    """What is to be done, as files that tasks on any node can read; what is read of one file lies side by side."""
    folder, names = job.target.folder, _todo_folder(job)
    query = job.rows
    if job.source is not None:
        table, _ = job.source
        files = job.ledger.keep("files of what is read", job.ledger.file_names(table))
        query = (
            f"SELECT * EXCLUDE (file) FROM ({job.rows}) JOIN {files} USING (file) "
            f"ORDER BY path, {tables.KEYS[table.name]}"
        )
    written = []
    for number, batch in enumerate(job.ledger.batches(query)):
        name = f"part-{number:06d}.parquet"
        folder.write_parquet(pa.Table.from_batches([batch]), *names, name)
        written.append(folder.file(*names, name))
    return written


def _delete_todo(job: Pass) -> None:
    folder = job.target.folder
    with suppress(FileNotFoundError):
        folder.fs.delete_dir(folder.file(*_todo_folder(job)))


def _with_source(
    source: Source | None, prepare: Callable[[pa.Table], pa.Table] | None
) -> Callable[[pa.Table], pa.Table]:
    """Rows of what is to be done -> the same with what is read for them, prepared; for tasks."""
    place = (source[0].uri, tables.KEYS[source[0].name], source[1]) if source else None

    def read(rows: pa.Table) -> pa.Table:
        if place is not None and rows.num_rows:
            uri, key, columns = place
            homes = rows.select([key, "path"]).rename_columns([key, FILE])
            found = pa.concat_tables(stored.stream(uri, homes, columns))
            order = pc.index_in(rows.column(key), value_set=found.column(key).combine_chunks())
            for name in columns:
                rows = rows.append_column(name, found.column(name).take(order))
            rows = rows.drop_columns("path")
        return prepare(rows) if prepare and rows.num_rows else rows

    return read


def worker_of(job: Pass) -> tuple[str, type, tuple[Any, ...]]:
    """What a `Recorded` of a pass is made from. Every worker loads the commits of models that are found here."""
    args = tuple(pinned(arg) if isinstance(arg, Section) else arg for arg in job.worker_args)
    return job.stage, job.worker, args


class Recorded:
    """A worker whose rows say what they were made with."""

    def __init__(self, stage: str, worker: type, args: tuple[Any, ...], counter: Counter = None) -> None:
        self.worker, self.counter = worker(*args), counter
        self.told = 0  # of the rows of this batch
        if hasattr(self.worker, "tell"):
            self.worker.tell = self._tell
        sections = [arg for arg in args if isinstance(arg, Section)]
        self.record = json.dumps(made_with.record(stage, sections))

    def __call__(self, rows: pa.Table) -> pa.Table:
        self.told = 0
        made = self.worker(rows)
        tell(self.counter, made.num_rows - self.told, rows.num_rows)
        return made.append_column(MADE_WITH, pa.array([self.record] * made.num_rows, pa.string()))

    def _tell(self, made: int) -> None:
        self.told += made
        tell(self.counter, made, 0)


def _block_rows(at_most: int, batch_size: int, todo: int, workers: int) -> int:
    """Whole batches, about `at_most` rows, but so many blocks that no worker idles and progress moves."""
    at_most = max(at_most, min(todo // MANY_BLOCKS, ROWS_PER_QUICK_BLOCK))
    blocks = max(BLOCKS, BLOCKS_PER_WORKER * workers)
    wanted = min(at_most, max(todo // blocks, 1))
    return -(-wanted // batch_size) * batch_size


def check_error_rate(job: Pass) -> None:
    """Raise StageError where the share of the stage's rows that failed, in whatever run, is past the limit."""
    if failed := too_many_failed(job.stage, job.target, job.key, job.wanted, job.run.max_error_rate):
        raise StageError(failed)


def tell_errors(job: Pass) -> None:
    """Say how many of a stage's rows failed, if any did, in whatever run, and why."""
    reasons, failed, rows = failed_of(job.stage, job.target, job.key, job.wanted)
    if failed:
        where = listed(job.target, job.stage)
        say(f"{job.stage}: {failed} of {number_of(rows, job.unit)} failed: {reasons}; {where}")


_COUNTS = pa.schema(
    [
        *(pa.field(name, pa.int64()) for name in ("rows", "done", "errors")),
        pa.field("trouble", pa.string()),
        *(pa.field(name, pa.list_(pa.string())) for name in ("said", "made_with", "files")),
    ]
)


def _commit(rows: pa.Table, stage: str, target: Table, key: str) -> pa.Table:
    """Write a block's rows and errors, and return how many there were, or what trouble there was with the disk."""
    if not rows.num_rows:
        return _COUNTS.empty_table()
    names = rows.column_names
    failed = rows.filter(pc.is_valid(rows.column("error")))
    kinds = failed.column("kind").to_pylist() if "kind" in names else ["model"] * failed.num_rows
    named = zip(failed.column(key).to_pylist(), failed.column("error").to_pylist(), kinds, strict=True)
    reported = [
        {"stage": stage, "key": each, "reason": plain_line(reason, LONGEST_REASON), "kind": kind}
        for each, reason, kind in named
    ]
    keeps_errors = "error" in target.schema.names
    records = rows.column(MADE_WITH).unique().to_pylist()
    try:
        for record in records:
            made_with.keep(target, json.loads(record))
        files = [
            target.errors(stage).commit(pa.Table.from_pylist(reported, schema=ERRORS)),
            target.commit(rows if keeps_errors else rows.filter(pc.is_null(rows.column("error")))),
        ]
    except FullDiskError as error:  # not raised: the person needs this sentence, and no traceback of each task
        nothing = {"rows": 0, "done": 0, "errors": 0, "said": [], "made_with": [], "files": []}
        return pa.Table.from_pylist([{**nothing, "trouble": str(error)}], schema=_COUNTS)
    done = pc.sum(rows.column(COMPLETES)).as_py() if COMPLETES in names else rows.num_rows
    counts = {
        "rows": rows.num_rows,
        "done": done,
        "errors": failed.num_rows,
        "said": rows.column(SAID).drop_null().unique().to_pylist() if SAID in names else [],
        "made_with": records,
        "files": [file for file in files if file],
    }
    return pa.Table.from_pylist([counts], schema=_COUNTS)
