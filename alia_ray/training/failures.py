"""Why a training failed: a worker of it was lost, or it raised an error, which it may or must do again."""

import re
from dataclasses import dataclass

from ray.train import TrainingFailedError

from alia_ray.cluster.failures import out_of_memory
from alia_ray.errors import StageError, one_line
from alia_ray.store.patience import may_pass

_OF_ONE_IMAGE = "more than 1 value per channel"  # in torch's words
_COMES_AGAIN = (
    *(ValueError, TypeError, LookupError, AttributeError, ImportError, ArithmeticError, AssertionError),
    *(NotImplementedError, StageError),
)
_MISFIT = re.compile(r"shape|sizes? of|size mismatch|to have \d+ channels|same dtype", re.IGNORECASE)
"""What torch's RuntimeError says of tensors that do not fit each other, which is no fault of a device."""


@dataclass(frozen=True)
class Failure:
    """What ended a group of workers."""

    reason: str
    of_group: bool = False  # it never ran: no job is to blame
    is_lost: bool = False  # a worker died or was out of reach, or its storage or the network was
    of_gpu_memory: bool = False
    comes_again: bool = False  # whatever is tried: it is of what is trained, and not of where

    def retries(self, max_failures: int) -> int:
        """How often a training is tried again after such a failure.

        Once after an error of which nobody knows: a device's fault may look so, and images may have crowded a GPU.
        """
        if self.comes_again:
            return 0
        return max_failures if self.is_lost else min(max_failures, 1)


def failure_of(error: TrainingFailedError) -> Failure:
    """What Ray Train's error says.

    Where one worker dies, the others fail too, in the middle of talking to it: a loss counts before all else.
    """
    import torch  # not above: the driver imports it when it trains
    from torch.distributed import DistError

    failures = getattr(error, "worker_failures", {})
    if not failures:
        return Failure(one_line(error), of_group=True)
    raised = [failures[rank] for rank in sorted(failures)]
    lost = [each for each in raised if type(each).__module__.startswith("ray.")]
    if lost:
        full = next(filter(None, (out_of_memory(str(each)) for each in lost)), None)
        return Failure(full or one_line(lost[0]), is_lost=full is None)
    first = next(filter(_comes_again, raised), raised[0])  # others only say that they lost it
    if isinstance(first, torch.OutOfMemoryError):
        hint = "lower train.batch_size or train.image_size"
        return Failure(f"a GPU's memory did not do ({one_line(first)}); {hint}", of_gpu_memory=True)
    if _OF_ONE_IMAGE in str(first):
        return Failure(
            "a worker's batch held one image, from which a BatchNorm layer learns nothing at this size; raise "
            "train.batch_size or train.image_size, or lower train.workers",
            comes_again=True,
        )
    is_lost = isinstance(first, DistError) or (isinstance(first, OSError) and may_pass(first))
    return Failure(f"{type(first).__name__}: {one_line(first)}", is_lost=is_lost, comes_again=_comes_again(first))


def _comes_again(error: BaseException) -> bool:
    """Whether an error would come again wherever it is tried."""
    if isinstance(error, OSError):
        return not may_pass(error)
    return isinstance(error, _COMES_AGAIN) or (type(error) is RuntimeError and bool(_MISFIT.search(str(error))))
