"""The GPUs of a cluster that scales: asked for, waited for, and their nodes kept for as long as the run lives.

A placement group asks, since Ray's autoscaler takes one that waits for demand. It would also keep the GPUs from
the run's own pools, so it goes as soon as they are there. From then on an actor that does nothing sits on each of
their nodes, which so is never idle. Both are the job's own: Ray ends them with it, whatever it dies of, and leaves
those of other runs alone. (Ray's `request_resources` is one for all runs, and outlives them.)
"""

import time

import ray
from ray.actor import ActorHandle
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alia_ray.errors import StageError
from alia_ray.progress import say

_POLL_S = 5.0
_MEMORY = 2**20  # bytes of Ray's account that a keeper holds, so that its node is in use

_keepers: list[ActorHandle] = []  # an actor ends when nobody holds it any more


def wait_for_gpus(wanted: int, timeout_s: float) -> None:
    """Return once so many GPUs are free, with their nodes kept. Raises StageError when that takes too long.

    A cluster that scales from none shows no GPU before one is asked for, and so nothing to size a pool by.
    Nothing is waited for where `timeout_s` is 0: Ray runs on this machine alone.
    """
    asked, told, deadline = placement_group([{"GPU": 1}] * wanted), "", time.monotonic() + timeout_s
    try:
        while not asked.wait(_POLL_S):
            up, free = ray.cluster_resources().get("GPU", 0.0), ray.available_resources().get("GPU", 0.0)
            found = f"{up:g} are up, {free:g} of them free"
            if time.monotonic() > deadline:
                if not timeout_s:  # a Ray of this machine alone gets no more by waiting
                    raise StageError(f"run.gpus: {wanted} GPUs are not on this machine ({found}); lower run.gpus")
                raise StageError(
                    f"run.gpus: {wanted} GPUs were not free after {timeout_s:g} s ({found}); lower run.gpus, or "
                    "raise run.gpu_timeout_s and the cluster's max_workers"
                )
            if found != told:
                say(f"cluster: waiting for {wanted} GPUs; {found}")
            told = found
        nodes = set(placement_group_table(asked)["bundles_to_node_id"].values())
    finally:
        remove_placement_group(asked)
    _keepers[:] = [_keeper(node) for node in sorted(nodes)]


@ray.remote(num_cpus=0, memory=_MEMORY)
class _Keeper:
    """Does nothing, on a node that is to stay."""


def _keeper(node: str) -> ActorHandle:
    return _Keeper.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
