"""The one way a stage streams rows through an actor pool: read, prepare, work, commit.

A pass reads a committed table, lets `prepare` keep what is still to be done, sends batches to a pool of
workers and commits what they return, block by block, from Ray tasks. Only counts come back to the driver.
Rows that failed carry a reason in their `error` column: they go to the errors table, and into the pass's own
table only if that has such a column. A pass that is killed loses the blocks under way and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy, DataContext

from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.placement import Placement
from alia_ray.config import Run
from alia_ray.errors import StageError
from alia_ray.progress import Progress
from alia_ray.store import tables
from alia_ray.store.run_folder import Table

COMPLETES = "completes"  # how many rows of its input a row completes, where they do not answer one by one
RESTARTS = 5  # of a lost worker, and of what it was at; Ray Data's own number has no end
ROWS_PER_BLOCK = 64  # at least this many rows are committed at once; also what a killed worker may lose


@dataclass(frozen=True)
class Pass:
    """One resumable pass of a stage."""

    stage: str
    source: str  # the folder of Parquet files it reads
    columns: list[str]
    prepare: Callable[[pa.Table], pa.Table]  # rows of the source -> rows for the workers; runs in tasks
    # worker(*worker_args)(batch: pa.Table) -> pa.Table of the target's columns and `error`: a row for each of the
    # batch, or any number of them with a column COMPLETES
    worker: type
    worker_args: tuple[Any, ...]
    target: Table
    batch_size: int
    todo: int  # how many rows `prepare` lets through in all
    run: Run

    @property
    def errors(self) -> Table:
        """Where the rows that failed go."""
        return self.target.errors(self.stage)


def run_pass(job: Pass, placement: Placement) -> None:
    """Stream a pass to its end. Raises StageError when too many rows fail."""
    if job.run.retry_errors:
        job.errors.clear()  # what fails again is written again
    job.errors.create()
    if not job.todo:
        return
    context = DataContext.get_current()
    context.enable_progress_bars = False
    rows_per_block = _block_rows(job.batch_size, job.todo, placement.workers)
    resources = {"num_cpus": placement.num_cpus}
    if placement.num_gpus:
        resources["num_gpus"] = placement.num_gpus
    if placement.memory:
        resources["memory"] = placement.memory
    counts = (
        ray.data.read_parquet(job.source, filesystem=job.target.folder.fs)
        .select_columns(job.columns)
        .map_batches(job.prepare, batch_format="pyarrow", batch_size=None)
        .repartition(target_num_rows_per_block=rows_per_block)
        .map_batches(
            job.worker,
            fn_constructor_args=job.worker_args,
            batch_format="pyarrow",
            batch_size=job.batch_size,
            compute=ActorPoolStrategy(size=placement.workers),
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            **resources,
        )
        .map_batches(
            _commit,
            fn_kwargs={"stage": job.stage, "target": job.target, "errors": job.errors},
            batch_format="pyarrow",
            batch_size=None,
        )
    )
    rows = done = failed = 0
    with failures_of(job.stage), Progress(job.stage, job.todo) as progress:
        for count in counts.iter_rows():
            rows, done, failed = rows + count["rows"], done + count["done"], failed + count["errors"]
            progress.advance(count["done"], failed)
            check_error_rate(job.stage, failed, rows, job.run.max_error_rate, final=False)
    check_error_rate(job.stage, failed, rows, job.run.max_error_rate, final=True)
    if done < job.todo:
        raise StageError(f"{job.stage}: {job.todo - done} of {job.todo} rows never came back; run it again")


def _block_rows(batch_size: int, todo: int, workers: int) -> int:
    """Whole batches, at least ROWS_PER_BLOCK rows, but enough blocks that no worker stays idle."""
    per_worker = -(-todo // workers)
    wanted = min(max(ROWS_PER_BLOCK, batch_size), max(per_worker, 1))
    return -(-wanted // batch_size) * batch_size


def check_error_rate(stage: str, failed: int, rows: int, limit: float, final: bool) -> None:
    """Raise StageError once the share of failed rows is past the limit (early only after 200 rows)."""
    if rows and (final or rows >= 200) and failed > limit * rows:
        raise StageError(
            f"{stage}: {failed} of {rows} rows failed, more than run.max_error_rate={limit:g} allows; "
            f"the errors table gives each one's reason"
        )


def _commit(rows: pa.Table, stage: str, target: Table, errors: Table) -> pa.Table:
    """Write a block's rows and errors, and return how many there were."""
    if not rows.num_rows:
        return pa.table({name: pa.array([], pa.int64()) for name in ("rows", "done", "errors")})
    failed = rows.filter(pc.is_valid(rows.column("error")))
    reported = pa.table(
        [[stage] * failed.num_rows, failed.column(tables.KEYS[target.name]), failed.column("error")],
        schema=tables.ERRORS,
    )
    errors.commit(reported)
    keeps_errors = "error" in target.schema.names
    target.commit(rows if keeps_errors else rows.filter(pc.is_null(rows.column("error"))))
    done = pc.sum(rows.column(COMPLETES)).as_py() if COMPLETES in rows.column_names else rows.num_rows
    return pa.table({"rows": [rows.num_rows], "done": [done], "errors": [failed.num_rows]})


def keep_ids(key: str, wanted: ray.ObjectRef) -> Callable[[pa.Table], pa.Table]:
    """A `prepare` that lets through the rows whose `key` is in the set behind `wanted`."""

    def prepare(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.is_in(rows.column(key), value_set=ray.get(wanted)))

    return prepare
