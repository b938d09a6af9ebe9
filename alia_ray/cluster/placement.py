"""The resource plan: which pool gets how many workers on what share of a GPU. Knows nothing of Ray."""

from dataclasses import dataclass

from alia_ray.config import ConfigError, Llm, Pool, Train


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
