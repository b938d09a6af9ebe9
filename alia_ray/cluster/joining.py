"""Joining Ray, and the resource plan: which pool gets how many workers on what share of a GPU."""

import logging
import os
import time
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
from ray.autoscaler.sdk import request_resources

from alia_ray.config import ConfigError, Llm, Pool, Run, Train
from alia_ray.errors import StageError
from alia_ray.progress import say

_GPU_POLL_S = 5.0


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
        if run.gpus and ray.is_initialized():
            request_resources(bundles=[])  # the autoscaler may let the GPUs go
        ray.shutdown()


def join(run: Run) -> Cluster:
    """Connect to Ray and say what it has.

    Joins `run.address` or a cluster that RAY_ADDRESS names (a submitted job), else starts Ray on this machine.
    There, one logical CPU more than cores is declared, so that reading and writing go on beside the workers.
    With `run.gpus` it returns once they are up. Raises ConfigError when the address does not answer or GPUs are
    wanted that cannot be there, and StageError when they did not come in time.
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
        # Nobody announces that this machine will go, and a process less starts sooner.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        ray.init(num_cpus=(os.cpu_count() or 1) + 1, include_dashboard=False, **options)
    if run.gpus:
        _wait_for_gpus(run.gpus, run.gpu_timeout_s if address else 0.0)
    return available(run.accelerator)


def _wait_for_gpus(wanted: int, timeout_s: float) -> None:
    """Ask the cluster's autoscaler, if it has one, for GPUs to keep up, and wait for them.

    A cluster that scales from none shows no GPU before one is asked for, and so nothing to size a pool by.
    """
    request_resources(bundles=[{"GPU": 1}] * wanted)
    deadline = time.monotonic() + timeout_s
    while (found := ray.cluster_resources().get("GPU", 0.0)) < wanted:
        if time.monotonic() > deadline:
            raise StageError(
                f"run.gpus: {found:g} of {wanted} GPUs were there after {timeout_s:g} s; lower run.gpus, or raise "
                "run.gpu_timeout_s and the cluster's max_workers"
            )
        say(f"cluster: {found:g} of {wanted} GPUs are up")
        time.sleep(_GPU_POLL_S)


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


def check_trainers(train: Train, cluster: Cluster) -> None:
    """Raise ConfigError for more trainers than the cluster has room for.

    Ray Train's controller asks for no CPU of its own (Ray 2.60), so the workers may take all there are.
    """
    workers, cpus = train.workers, train.workers * train.cpus_per_worker
    if cpus > cluster.cpus or (cluster.gpus and workers > cluster.gpus):
        gpus = f" and {workers} GPUs" if cluster.gpus else ""
        raise ConfigError(
            f"train.workers: {workers} workers need {cpus:g} CPUs{gpus}, but the cluster has "
            f"{cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs; lower train.workers or train.cpus_per_worker"
        )


def trainings_at_once(train: Train, cluster: Cluster) -> int:
    """How many trainings fit side by side, leaving one CPU for other tasks where it can."""
    most = int((cluster.cpus - 1) // (train.workers * train.cpus_per_worker))
    return max(1, min(most, int(cluster.gpus // train.workers)) if cluster.gpus else most)


def check_llm(llm: Llm, cluster: Cluster) -> None:
    """Raise ConfigError for more GPUs of one server than the cluster has."""
    if cluster.gpus and llm.gpus > cluster.gpus:
        raise ConfigError(
            f"llm.gpus: {llm.gpus} GPUs on one node are asked for; the cluster has {cluster.gpus:g} in all"
        )


def _gpu_slots(share: float, gpus: float) -> int:
    """Workers that fit: a worker's fraction of a GPU must lie on one card."""
    return int(gpus) * int(1 / share + 1e-9) if share < 1 else int(gpus // share)
