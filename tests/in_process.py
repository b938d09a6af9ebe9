"""What Ray's workers do, done in this process: none has to start and to import its libraries first."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import Lock
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import ray.train
import torch
from ray import cloudpickle

from alia_ray.cluster.placement import Cluster, Placement
from alia_ray.stages import streaming
from alia_ray.stages.streaming import Pass
from alia_ray.training import lanes, learner, loop


class InProcess:
    """The counts of a pass whose worker runs in this process, as Ray Data gives them."""

    def __init__(self, job: Pass, placement: Placement, counter: object) -> None:
        self.job = job

    def iter_rows(self) -> Iterator[dict[str, object]]:
        """Do block after block, as they are asked for."""
        job = self.job
        todo = pq.read_table(streaming._write_todo(job), filesystem=job.target.folder.fs)
        rows = streaming._with_source(job.source, job.prepare)(todo)
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


@contextmanager
def trainings_here() -> Iterator[None]:
    """Trainings by one worker run in this process meanwhile, one after the other."""
    alone = Lock()  # torch has one generator, and one group of workers

    def attempt(first: lanes.Training, jobs: Sequence[loop.Job], cluster: Cluster) -> None:
        assert first.settings.workers == 1
        with alone, as_the_only_worker():
            loop.run({"jobs": [ray.put(job) for job in jobs]})

    only = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_try", attempt)
        patch.setattr(learner, "prepare_model", lambda model: model)
        patch.setattr(ray.train, "get_context", lambda: only)
        yield


@contextmanager
def as_the_only_worker() -> Iterator[None]:
    """What Ray Train sets up for a worker; and what a worker changes for itself is put back."""
    level, threads = logging.getLogger().level, torch.get_num_threads()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
        logging.getLogger().setLevel(level)
        torch.set_num_threads(threads)
