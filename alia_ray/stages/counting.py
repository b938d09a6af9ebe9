"""How a pass comes on: its workers tell an actor what they make, long before a block of it is committed.

Only numbers go there, one message for each batch, so it costs nothing at any size. Nothing hangs on it: where the
actor dies, progress is what is committed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError

LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Counts:
    """What workers have made so far; what one made again, after another was lost with it, is counted again."""

    made: int = 0  # rows
    completed: int = 0  # rows of the pass's input


@ray.remote(num_cpus=0)
class _Counter:
    def __init__(self) -> None:
        self.counts = Counts()

    def add(self, made: int, completed: int) -> None:
        self.counts = Counts(self.counts.made + made, self.counts.completed + completed)

    def now(self) -> Counts:
        return self.counts


Counter = ActorHandle | None
"""Whom workers tell; None where nobody asks."""


def tell(counter: Counter, made: int, completed: int) -> None:
    """Tell of what was made just now, without waiting for an answer."""
    if counter is not None:
        counter.add.remote(made, completed)


@contextmanager
def counting(show: Callable[[Counts], None]) -> Iterator[Counter]:
    """Somebody for workers to tell; `show` gets the counts every LOOK_EVERY_S, from a thread of its own."""
    if not ray.is_initialized():
        yield None
        return
    counter, ended = _Counter.remote(), Event()
    thread = Thread(target=_look, args=(counter, show, ended), daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        ended.set()
        thread.join()
        ray.kill(counter)


def _look(counter: ActorHandle, show: Callable[[Counts], None], ended: Event) -> None:
    counts, asked = Counts(), counter.now.remote()
    while not ended.wait(LOOK_EVERY_S):
        try:
            if ray.wait([asked], timeout=0)[0]:
                counts, asked = ray.get(asked), counter.now.remote()
        except RayError:  # it is gone, and what is committed is shown from now on
            return
        show(counts)
