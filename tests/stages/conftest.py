"""What tests of stages share: a pass whose worker runs in this process."""

from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest
import ray

from alia_ray.cluster.placement import Placement
from alia_ray.stages import streaming
from alia_ray.stages.streaming import Pass


class InProcess:
    """The counts of a pass, as Ray Data gives them."""

    def __init__(self, job: Pass, placement: Placement) -> None:
        self.job = job

    def iter_rows(self) -> Iterator[dict[str, object]]:
        """Do block after block, as they are asked for."""
        job = self.job
        rows = job.prepare(pq.read_table(job.source, columns=job.columns))
        worker = job.worker(*job.worker_args)
        for start in range(0, rows.num_rows, job.batch_size):
            made = worker(rows.slice(start, job.batch_size))
            yield from streaming._commit(made, job.stage, job.target, job.key).to_pylist()


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes run here: for what a stage decides and in which order it commits, in a tenth of the time."""
    monkeypatch.setattr(streaming, "_commits", InProcess)
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
