"""What tests share: one small local Ray for the whole session, and passes that need none."""

import os
import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from alia_ray.cluster.placement import Placement
    from alia_ray.stages.streaming import Pass

# Every Ray that a test starts asks for this token, wherever it listens; else Ray leaves one in the home folder.
SECRETS = {
    name: secrets.token_hex(32)
    for name in ("RAY_AUTH_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")
}
"""What no run may keep."""
os.environ |= {"RAY_AUTH_MODE": "token", **SECRETS}


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory) -> Iterator[None]:
    """Ray on this machine, with three logical CPUs whatever it has, and whatever other Ray runs here."""
    os.environ["HF_DATASETS_CACHE"] = str(
        tmp_path_factory.mktemp("datasets")
    )  # of workers; else in the home folder
    import ray

    from alia_ray.cluster import joining  # noqa: F401, what it sets for Ray

    ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="WARNING")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def finished(ray_cluster, tmp_path_factory) -> Path:
    """The folder of a whole run of `a_run.small`. Who changes it makes a copy of it first."""
    from a_run import run_it

    folder = tmp_path_factory.mktemp("run") / "demo"
    run_it(folder)
    return folder


@pytest.fixture(scope="session")
def secrets_of_the_environment() -> list[str]:
    """The secrets that all processes of the tests have in their environment."""
    return list(SECRETS.values())


class InProcess:
    """The counts of a pass whose worker runs in this process, as Ray Data gives them."""

    def __init__(self, job: "Pass", placement: "Placement", counter: object) -> None:
        self.job = job

    def iter_rows(self) -> Iterator[dict[str, object]]:
        """Do block after block, as they are asked for."""
        from ray import cloudpickle

        from alia_ray.stages import streaming

        job = self.job
        rows = job.prepare(pq.read_table(job.source, columns=job.columns))
        arguments = streaming.worker_of(job)
        cloudpickle.dumps(arguments)  # which is how Ray sends them to a worker
        worker = streaming.Recorded(*arguments)
        for start in range(0, rows.num_rows, job.batch_size):
            made = worker(rows.slice(start, job.batch_size))
            yield from streaming._commit(made, job.stage, job.target, job.key).to_pylist()


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes run here: for what a stage decides and in which order it commits, in a tenth of the time."""
    import ray

    from alia_ray.stages import streaming

    monkeypatch.setattr(streaming, "_commits", InProcess)
    monkeypatch.setattr(streaming, "counting", lambda show: nullcontext())
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
