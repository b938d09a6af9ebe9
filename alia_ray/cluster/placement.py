"""The resource plan: which pool gets how many workers on what share of a GPU. Knows nothing of Ray.

A worker lies on one node, so everything is counted node by node: two nodes of 4 CPUs hold no worker of 6.
"""

from dataclasses import dataclass, replace

from alia_ray.config import ConfigError, Llm, Pool, Train

GB = 10**9


@dataclass(frozen=True)
class Node:
    """What one node has, in Ray's logical units. Memory in bytes; None: not known, and not counted."""

    cpus: float
    gpus: float = 0.0
    memory: float | None = None  # that workers may take
    gpu_memory: float | None = None  # free on each card


@dataclass(frozen=True)
class Cluster:
    """What a run may use, in Ray's logical units; without `nodes` it is one node."""

    cpus: float
    gpus: float
    nodes: tuple[Node, ...] = ()

    @property
    def machines(self) -> tuple[Node, ...]:
        """The nodes, one at least."""
        return self.nodes or (Node(self.cpus, self.gpus),)

    @classmethod
    def of(cls, nodes: tuple[Node, ...]) -> "Cluster":
        """The cluster of some nodes."""
        return cls(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes), nodes)


@dataclass(frozen=True)
class Needs:
    """Bytes that one worker needs at its peak, on its node and on its card."""

    memory: float = 0.0
    gpu_memory: float = 0.0


NOTHING = Needs()
"""What is not known, and not counted."""


@dataclass(frozen=True)
class Placement:
    """A pool's size, and what each of its workers holds."""

    workers: int
    num_cpus: float
    num_gpus: float
    memory: int = 0  # bytes that Ray sets aside for each


def place(stage: str, pool: Pool, cluster: Cluster, needs: Needs = NOTHING) -> Placement:
    """Size a stage's pool, leaving one CPU for reading and writing.

    A share of a GPU that is too small for what a worker needs is raised to what it needs.
    Raises ConfigError when the pool can never be scheduled or cannot fit the memory, instead of waiting for ever.
    """
    worker = Node(pool.cpus_per_worker, pool.gpus_per_worker if cluster.gpus else 0.0, needs.memory)
    if none := _why_none(stage, worker, needs, cluster):
        raise ConfigError(none)
    worker = replace(worker, gpus=_share(worker.gpus, needs.gpu_memory, cluster))
    most = _most(worker, cluster)
    if most < 1:
        raise ConfigError(
            f"{stage}.workers: none fits: a worker needs {_text(worker)} on one node, and reading and writing "
            f"need one CPU more; {_have(cluster)}; lower {stage}.cpus_per_worker or {stage}.gpus_per_worker"
        )
    workers = most if pool.workers == "auto" else pool.workers
    if workers > most:
        raise ConfigError(
            f"{stage}.workers: {workers} workers of {_text(worker)} each, and one CPU more for reading and "
            f"writing, do not fit; {_have(cluster)}; at most {most} fit, so lower it or set it to auto"
        )
    return Placement(workers, worker.cpus, worker.gpus, int(needs.memory))


def check_trainers(train: Train, cluster: Cluster, needs: Needs = NOTHING) -> None:
    """Raise ConfigError for more trainers than the cluster has room for.

    Ray Train's controller asks for no CPU of its own (Ray 2.60), so the workers may take all there are.
    """
    trainer = trainer_of(train, cluster, needs)
    only_memory = train.loading == "memory" and most_trainers(train, cluster) >= train.workers
    other = ", or set train.loading to stream" if only_memory else ""
    if none := _why_none("train", trainer, needs, cluster):
        raise ConfigError(none + other)
    most = most_trainers(train, cluster, needs)
    if train.workers > most:
        raise ConfigError(
            f"train.workers: {train.workers} workers of {_text(trainer)} each do not fit; {_have(cluster)}; at "
            f"most {most} fit, so lower train.workers or train.cpus_per_worker{other}"
        )


def most_trainers(train: Train, cluster: Cluster, needs: Needs = NOTHING) -> int:
    """How many workers of trainings the cluster has room for."""
    return sum(slots(trainer_of(train, cluster, needs), node) for node in cluster.machines)


def trainings_at_once(train: Train, cluster: Cluster, needs: Needs = NOTHING) -> int:
    """How many trainings fit side by side, leaving one CPU for other tasks where it can."""
    return max(1, _most(trainer_of(train, cluster, needs), cluster) // train.workers)


def trainer_of(train: Train, cluster: Cluster, needs: Needs) -> Node:
    """What a worker of a training holds."""
    return Node(train.cpus_per_worker, 1.0 if cluster.gpus else 0.0, needs.memory)


def check_llm(llm: Llm, cluster: Cluster) -> None:
    """Raise ConfigError for more GPUs of one server than any node has."""
    most = max(node.gpus for node in cluster.machines)
    if cluster.gpus and llm.gpus > most:
        raise ConfigError(
            f"llm.gpus: {llm.gpus} GPUs of one node are asked for, and no node has more than {most:g}; lower it, "
            "or give llm.base_url of a server that runs"
        )


# -------------------------------------------------------------------- counting


def _most(worker: Node, cluster: Cluster) -> int:
    """Workers that fit beside one CPU, which is taken from the node where that costs least."""
    each = [slots(worker, node) for node in cluster.machines]
    costs = [
        most - slots(worker, replace(node, cpus=node.cpus - 1))
        for node, most in zip(cluster.machines, each, strict=True)
        if node.cpus >= 1
    ]
    return sum(each) - min(costs) if costs else 0


def slots(worker: Node, node: Node) -> int:
    """Workers that fit a node: a worker's fraction of a GPU must lie on one card."""
    most = [_times(worker.cpus, node.cpus)]
    if worker.gpus:
        on_a_card = _times(worker.gpus, 1.0)
        most.append(int(node.gpus) * on_a_card if worker.gpus < 1 else _times(worker.gpus, node.gpus))
    if worker.memory and node.memory is not None:
        most.append(_times(worker.memory, node.memory))
    return min(most)


def _times(part: float, whole: float) -> int:
    return int(whole / part + 1e-9)


def _share(share: float, needed: float, cluster: Cluster) -> float:
    """The share of a GPU that holds what a worker needs of its memory, where that is known."""
    cards = [node.gpu_memory for node in cluster.machines if node.gpus and node.gpu_memory]
    large = [card for card in cards if card >= needed]
    if not 0 < share < 1 or not needed or not large:
        return share
    return max(share, 1 / _times(needed, min(large)))


def _why_none(stage: str, worker: Node, needs: Needs, cluster: Cluster) -> str | None:
    """Why no node at all could hold one worker of a stage, if so, by the key that is to blame."""
    nodes = cluster.machines
    for key, wanted, kind, most in (
        ("cpus_per_worker", worker.cpus, "CPUs", max(node.cpus for node in nodes)),
        ("gpus_per_worker", worker.gpus, "GPUs", max(node.gpus for node in nodes)),
    ):
        if wanted > most:
            return f"{stage}.{key}: a worker needs {wanted:g} {kind} of one node; {_have(cluster)}; lower it"
    nodes = [node for node in nodes if node.cpus >= worker.cpus and node.gpus >= worker.gpus] or list(nodes)
    memory = max(float("inf") if node.memory is None else node.memory for node in nodes)
    smaller = f"lower {stage}.batch_size, take a smaller model, or a machine with more"
    if needs.memory > memory:
        return (
            f"{stage}: a worker needs about {needs.memory / GB:.1f} GB of memory, and no node has more than "
            f"{memory / GB:.1f} GB free; {smaller}"
        )
    cards = [node.gpu_memory for node in nodes if node.gpus and node.gpu_memory is not None]
    if worker.gpus and cards and needs.gpu_memory > max(cards):
        return (
            f"{stage}: a worker needs about {needs.gpu_memory / GB:.1f} GB of a GPU's memory, and no card has "
            f"more than {max(cards) / GB:.1f} GB free; {smaller}"
        )
    return None


def _text(worker: Node) -> str:
    """What a worker holds."""
    gpus = f" and {worker.gpus:g} GPUs" if worker.gpus else ""
    memory = f", {worker.memory / GB:.1f} GB of memory" if worker.memory else ""
    return f"{worker.cpus:g} CPUs{gpus}{memory}"


def _have(cluster: Cluster) -> str:
    """What there is: of each kind of node, the largest first."""
    kinds: dict[str, int] = {}
    for node in sorted(cluster.machines, key=lambda node: (-node.gpus, -node.cpus)):
        memory = f" and {node.memory / GB:.1f} GB" if node.memory is not None else ""
        kind = f"{node.cpus:g} CPUs, {node.gpus:g} GPUs{memory}"
        kinds[kind] = kinds.get(kind, 0) + 1
    if len(kinds) > 3:
        return f"the cluster has {cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs on {len(cluster.machines)} nodes"
    nodes = (f"{count} × {kind}" if count > 1 else kind for kind, count in kinds.items())
    return f"the cluster has {'; '.join(nodes)}" if len(kinds) > 1 or cluster.nodes else f"there are {next(nodes)}"
