"""What a worker's end says, in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import OutOfMemoryError, RayError

from alia_ray.errors import StageError, first_line

_DAMAGED = re.compile(r"^alia_ray\.errors\.DamagedError: (.+)$", re.MULTILINE)  # it says itself what to do


@contextmanager
def failures_of(stage: str) -> Iterator[None]:
    """Say in one sentence what a worker's exception said; Ray prints where it came from."""
    try:
        yield
    except OutOfMemoryError as error:
        reason = out_of_memory(str(error)) or "a node ran out of memory"
        raise StageError(f"{stage}: {reason}; what was committed stays, run it again") from error
    except RayError as error:
        if damaged := _DAMAGED.search(str(error)):
            raise StageError(f"{stage}: {damaged[1]}") from error
        own = _said_by_worker(error)
        again = "mend that, then run it again" if own else "run it again"
        reason = own or first_line(error)
        raise StageError(f"{stage}: a worker failed: {reason}; what was committed stays, {again}") from error


def _said_by_worker(error: RayError) -> str | None:
    """A worker's own exception, if any: what Ray took it from, or found in the text that Ray made of it.

    Such a one ends a stage at its first try; Ray tries again what is lost with a worker or a node.
    """
    cause = getattr(error, "cause", None)
    if cause is not None and not type(cause).__module__.startswith("ray."):
        return f"{type(cause).__name__}: {cause}"
    raised = re.findall(r"^\s*([\w.]*(?:Error|Exception|Interrupt): .+)$", str(error), re.MULTILINE)
    return raised[0] if raised else None  # the first is the worker's own


def out_of_memory(message: str) -> str | None:
    """What to do where a message of Ray's says that its memory monitor killed a worker; None where it does not."""
    if "killed due to the node running low on memory" not in message:
        return None
    used = re.search(r"was (\S+ used / \S+) limit", message)
    return (
        f"a node ran out of memory ({used[1] if used else 'its workers took all'}), and Ray killed workers until "
        "none was left to try again; lower the stage's workers or batch_size, or take a smaller model"
    )
