"""Joining Ray, and waiting for the GPUs of a cluster that scales."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Ray reads both variables when it is imported.
# It repeats these lines at every pool and every second of a training; they say nothing that one could mend.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "Failed to query Ray Train|constructor arguments in the object store"
)
# Under `uv run` Ray would start every worker through uv again, at many seconds each.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
import ray
from ray.autoscaler.sdk import request_resources

from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError, Run
from alia_ray.errors import StageError
from alia_ray.progress import say

_GPU_POLL_S = 5.0


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
