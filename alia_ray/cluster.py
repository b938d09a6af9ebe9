"""Joining Ray, and the resource plan: which pool gets how many workers on what share of a GPU."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Ray reads both variables when it is imported.
# It repeats these lines at every pool and every second of a training; they say nothing that one could mend.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "Failed to query Ray Train|constructor arguments in the object store"
)
# Under `uv run` Ray would start every worker through uv again, at many seconds each.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
import ray

from alia_ray.config import ConfigError, Pool, Run


@dataclass(frozen=True)
class Cluster:
    """What a run may use, in Ray's logical units."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Placement:
    """A pool's size, and what each of its workers holds."""

    workers: int
    num_cpus: float
    num_gpus: float


@contextmanager
def joined(run: Run) -> Iterator[Cluster]:
    """Ray for the time of a `with` block: what `join` gives, and left in every way out."""
    try:
        yield join(run)
    finally:
        ray.shutdown()


def join(run: Run) -> Cluster:
    """Connect to Ray and say what it has.

    Joins `run.address` or a cluster that RAY_ADDRESS names (a submitted job), else starts Ray on this machine.
    There, one logical CPU more than cores is declared, so that reading and writing go on beside the workers.
    Raises ConfigError when the address does not answer.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and timings; ours are shorter
    address = run.address or os.environ.get("RAY_ADDRESS")
    options = {"log_to_driver": True, "logging_level": "WARNING", "ignore_reinit_error": True}
    if address:
        try:
            ray.init(address=address, **options)
        except ConnectionError as error:
            raise ConfigError(f"run.address: no Ray cluster answers at {address}") from error
    elif not ray.is_initialized():
        ray.init(num_cpus=(os.cpu_count() or 1) + 1, include_dashboard=False, **options)
    return available(run.accelerator)


def available(accelerator: str) -> Cluster:
    """The cluster's resources; without GPUs when `accelerator` is "cpu"."""
    resources = ray.cluster_resources()
    gpus = 0.0 if accelerator == "cpu" else resources.get("GPU", 0.0)
    if accelerator == "gpu" and not gpus:
        raise ConfigError("run.accelerator is 'gpu', but the cluster has no GPU; set it to 'auto' or 'cpu'")
    return Cluster(cpus=resources.get("CPU", 0.0), gpus=gpus)


def place(stage: str, pool: Pool, cluster: Cluster) -> Placement:
    """Size a stage's pool, leaving one CPU for reading and writing.

    Raises ConfigError when the pool can never be scheduled, instead of waiting for ever.
    """
    spare_cpus = cluster.cpus - 1
    most = int(spare_cpus // pool.cpus_per_worker)
    if cluster.gpus:
        most = min(most, _gpu_slots(pool.gpus_per_worker, cluster.gpus))
    workers = max(most, 1) if pool.workers == "auto" else pool.workers
    if workers > most:
        raise ConfigError(
            f"{stage}.workers: {workers} workers need {workers * pool.cpus_per_worker:g} CPUs (and one more for "
            f"reading and writing) and {workers * pool.gpus_per_worker if cluster.gpus else 0:g} GPUs, but the "
            f"cluster has {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs; at most {most} fit"
        )
    return Placement(workers, pool.cpus_per_worker, pool.gpus_per_worker if cluster.gpus else 0.0)


def _gpu_slots(share: float, gpus: float) -> int:
    """Workers that fit: a worker's fraction of a GPU must lie on one card."""
    return int(gpus) * int(1 / share + 1e-9) if share < 1 else int(gpus // share)
