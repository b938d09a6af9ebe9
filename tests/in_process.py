"""Passes whose workers run in this process: for what a stage decides and in which order it commits, in a tenth of
the time that Ray takes to start workers and they to import their libraries."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pyarrow.parquet as pq
import pytest
from ray import cloudpickle

from alia_ray.cluster.placement import Placement
from alia_ray.stages import streaming
from alia_ray.stages.streaming import Pass


class InProcess:
    """The counts of a pass whose worker runs in this process, as Ray Data gives them."""

    def __init__(self, job: Pass, placement: Placement, counter: object) -> None:
        self.job = job

    def iter_rows(self) -> Iterator[dict[str, object]]:
        """Do block after block, as they are asked for."""
        job = self.job
        rows = job.prepare(pq.read_table(job.source, columns=job.columns))
        arguments = streaming.worker_of(job)
        cloudpickle.dumps(arguments)  # which is how Ray sends them to a worker
        worker = streaming.Recorded(*arguments)
        for start in range(0, rows.num_rows, job.batch_size):
            made = worker(rows.slice(start, job.batch_size))
            yield from streaming._commit(made, job.stage, job.target, job.key).to_pylist()


@contextmanager
def passes_here() -> Iterator[None]:
    """Passes run in this process meanwhile; trainings and what else Ray does go on there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "_commits", InProcess)
        patch.setattr(streaming, "counting", lambda show: nullcontext())
        yield
