"""Going over the parts of something: here, or by Ray's tasks where that takes long."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TypeVar

import ray
from ray.exceptions import RayTaskError

from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.joining import joined
from alia_ray.config import Run
from alia_ray.log import quiet
from alia_ray.progress import Progress, duration, say
from alia_ray.sources.listing import THREADS, Over, here

SOON_S = 20.0  # what lasts no longer is done before a cluster is joined
TASKS_PER_CPU = 4  # so that all end at about the same time
Part, Found = TypeVar("Part"), TypeVar("Found")


def spread(run: Run, stage: str) -> Over:
    """A `map` that begins here and, where what is left would last over SOON_S more, goes on in tasks of Ray.

    Ray is joined for that long where it is not yet, and no GPU is waited for. What the function raises is raised
    here, and StageError where tasks cannot be run.
    """

    def over(find: Callable[[Part], Found], parts: Sequence[Part]) -> Iterator[Found]:
        began = time.monotonic()
        for done in range(0, len(parts), THREADS):
            took = time.monotonic() - began
            if took > SOON_S and took * (len(parts) - done) > SOON_S * done:
                so_far = f"{done} of {len(parts)} parts took {duration(took)}"
                say(f"{stage}: {so_far}; the cluster goes over the others")
                yield from in_tasks(run, stage, find, parts[done:])
                return
            yield from here(find, parts[done : done + THREADS])

    return over


def in_tasks(run: Run, stage: str, find: Callable[[Part], Found], parts: Sequence[Part]) -> list[Found]:
    """What a function finds in each part, by tasks that take a CPU each. Raises as `spread` says."""

    def find_all(some: Sequence[Part]) -> list[Found]:
        return [find(part) for part in some]

    found: list[Found] = []
    apart = nullcontext() if ray.is_initialized() else quiet(None, stage)
    with (
        apart,
        joined(run.without_gpus()) as cluster,
        failures_of(stage),
        Progress(stage, len(parts), "parts", "starting") as progress,
    ):
        each = max(1, len(parts) // int(TASKS_PER_CPU * max(cluster.cpus, 1)))
        task = ray.remote(find_all)
        answers = [task.remote(parts[start : start + each]) for start in range(0, len(parts), each)]
        try:
            for answer in answers:
                some = ray.get(answer)
                found += some
                progress.advance(len(some))
        except RayTaskError as error:
            raise error.cause from error
    return found
