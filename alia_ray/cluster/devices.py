"""Which device a worker computes on, and whether torch can use the GPUs that Ray counts.

Ray counts cards by the driver or by what it was told; torch may still have none: a build without CUDA, a driver
that is too old, a card whose kernels this build does not hold. Tests and trials without a card start Ray with
`num_gpus` and ALIA_RAY_LOGICAL_GPUS=1 in the environment: GPUs are then only counted, and workers use the CPU.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alia_ray.errors import StageError, first_line

if TYPE_CHECKING:
    import torch

LOGICAL_GPUS = "ALIA_RAY_LOGICAL_GPUS"
_PROBE_TIMEOUT_S = 60.0  # torch is imported from a slow filesystem, perhaps


@dataclass(frozen=True)
class Sight:
    """What torch sees of the GPUs in a process's reach."""

    cards: tuple[str, ...] = ()  # their names
    free: float | None = None  # bytes, of the card that has the fewest
    problem: str | None = None  # why torch cannot compute on them


def logical_gpus() -> bool:
    """Whether GPUs are meant to be counted only."""
    return os.environ.get(LOGICAL_GPUS, "0") not in ("", "0")


def worker_device() -> "torch.device":
    """The device of the worker that asks: a GPU where Ray assigned it one, else the CPU.

    A worker without a GPU of its own leaves those of others alone, although Ray does not hide them from it.
    Raises StageError for a GPU that torch cannot use. Outside of Ray: a GPU where there is one.
    """
    import torch

    from alia_ray.models.loading import pick_device

    if not ray.is_initialized():
        return pick_device()
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU") or logical_gpus():
        return torch.device("cpu")
    if problem := see_gpus().problem:
        raise StageError(f"this worker was given a GPU, but {problem}; mend that, or set run.accelerator to cpu")
    return torch.device("cuda")


def see_gpus() -> Sight:
    """Try every GPU that this process can see. CUDA stays initialised in it."""
    import torch

    try:
        torch.cuda.init()
        for place in range(torch.cuda.device_count()):
            torch.zeros(1, device=f"cuda:{place}").add(1).item()  # "no kernel image" is found only by a kernel
    except (RuntimeError, AssertionError) as error:
        said = first_line(error).rstrip(".")
        return Sight(problem=f"torch {torch.__version__} cannot use it ({said})")
    places = range(torch.cuda.device_count())
    if not places:
        return Sight(problem=f"torch {torch.__version__} sees none")
    free = min(torch.cuda.mem_get_info(place)[0] for place in places)
    return Sight(tuple(torch.cuda.get_device_name(place) for place in places), free)


_known: dict[str, Sight] = {}  # of nodes by Ray's id: asked once in a process


def sights(nodes: dict[str, float]) -> dict[str, Sight]:
    """What torch sees on each of some nodes, given as Ray's id and number of GPUs.

    A probe takes all GPUs of its node for a second or a few. A node whose GPUs are busy, or that is slow, is left
    out: its workers will say what is wrong.
    """
    probes = {}
    for node, gpus in nodes.items():
        if node not in _known:
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            probe = ray.remote(num_cpus=0, num_gpus=gpus, max_calls=1, max_retries=0)(see_gpus)
            probes[probe.options(scheduling_strategy=there).remote()] = node
    done, late = ray.wait(list(probes), num_returns=len(probes), timeout=_PROBE_TIMEOUT_S) if probes else ([], [])
    for probe in late:
        ray.cancel(probe, force=True)
    _known.update({probes[probe]: _seen(probe) for probe in done})
    return {node: _known[node] for node in nodes if node in _known}


def _seen(probe: ray.ObjectRef) -> Sight:
    try:
        return ray.get(probe)
    except RayError as error:
        return Sight(problem=f"the process that tried it died ({first_line(error)})")
