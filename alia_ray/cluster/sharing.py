"""How captions and trainings share a cluster, so that the base classifier trains while the captions are read.

It is decided before either starts, and holds wherever Ray puts the trainers: neither then waits for the other.
"""

from dataclasses import dataclass, replace

from alia_ray.cluster.memory import caption_needs, train_needs
from alia_ray.cluster.placement import Cluster, Node, place, slots, trainer_of
from alia_ray.config import Config, ConfigError

_CAPTIONERS_KEPT = 0.75  # of those on the whole cluster: with fewer, captions take longer than is gained


@dataclass(frozen=True)
class Share:
    """What each of the two gets."""

    rest: Cluster  # for captions
    trainers: Cluster
    trainings: int  # at once


def share(settings: Config, cluster: Cluster, trainings: int, images: int) -> Share | None:
    """What captions get beside as many as possible of some trainings on `images` each; None: there is no room.

    There is where the captioners stay nearly as many as without, and the language model's server finds its node.
    """
    needs = caption_needs(settings, cluster)
    worker = trainer_of(settings.train, cluster, train_needs(settings.train, images, cluster))
    try:
        alone = place("caption", settings.caption, cluster, needs)
        if alone.num_gpus % 1:  # parts of many cards may be taken, and none be left whole for a trainer
            return None
        captioner = Node(alone.num_cpus, alone.num_gpus, alone.memory)
        for at_once in range(trainings, 0, -1):
            trainers = at_once * settings.train.workers
            rest = _without(worker, trainers, captioner, cluster)
            if rest is None or not _holds_server(settings, cluster, worker, trainers):
                continue
            if cluster.gpus and not rest.gpus:  # where captions would be made by CPUs
                continue
            if place("caption", settings.caption, rest, needs).workers >= _CAPTIONERS_KEPT * alone.workers:
                return Share(rest, Cluster(trainers * worker.cpus, trainers * worker.gpus), at_once)
    except ConfigError:  # not one captioner fits, or not the number that was asked for
        return None
    return None


def _without(worker: Node, trainers: int, captioner: Node, cluster: Cluster) -> Cluster | None:
    """A cluster without some trainers, each where it displaces most captioners; None: they do not fit."""
    nodes = list(cluster.machines)
    for _ in range(trainers):
        costs = {
            number: slots(captioner, node) - slots(captioner, _less(node, worker))
            for number, node in enumerate(nodes)
            if slots(worker, node)
        }
        if not costs:
            return None
        dearest = max(costs, key=costs.__getitem__)
        nodes[dearest] = _less(nodes[dearest], worker)
    return Cluster.of(tuple(nodes))


def _holds_server(settings: Config, cluster: Cluster, worker: Node, trainers: int) -> bool:
    """Whether a node has room for the language model's server wherever so many trainers lie."""
    if settings.llm.base_url is not None or settings.llm.model.is_simulated:
        return True
    server, left = Node(1, settings.llm.gpus if cluster.gpus else 0), trainers
    for node in cluster.machines:
        while slots(server, node):
            if not left or not slots(worker, node):
                return True
            node, left = _less(node, worker), left - 1
    return False


def _less(node: Node, worker: Node) -> Node:
    memory = None if node.memory is None else node.memory - worker.memory
    return replace(node, cpus=node.cpus - worker.cpus, gpus=node.gpus - worker.gpus, memory=memory)
