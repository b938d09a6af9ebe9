"""Where the decoded images of a training lie: on its GPU beside what a step takes, in main memory, or on the disk.

Of the card nothing is estimated. The first epoch reads from main memory or the disk; after it torch keeps what the
largest step and the validation took, so what is free on the card then is free for good, and that is the one budget
of all splits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from alia_ray.training.on_disk import OnDisk

RESERVE = 0.1
"""The share of a card that is left alone: for other kernels' workspaces, and for who else uses the card."""


@dataclass(frozen=True)
class Images:
    """A worker's part of a split."""

    pixels: torch.Tensor | OnDisk  # uint8 (N, 3, S, S)
    labels: torch.Tensor  # int64 (N,), on the pixels' device

    def batches(self, plan: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pixels and labels of batches that are given as indices, int64 (B,), where they lie or in main memory."""
        plan = [indices.to(self.labels.device) for indices in plan]
        is_read = isinstance(self.pixels, OnDisk)
        pixels = self.pixels.batches(plan) if is_read else (self.pixels[indices] for indices in plan)
        return zip(pixels, (self.labels[indices] for indices in plan), strict=True)

    def to(self, device: torch.device) -> "Images":
        """The same on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))


def that_fit(sizes: Sequence[int], free: int, total: int) -> list[bool]:
    """Which of some splits go onto a card: in their order each that fits beside those before it.

    sizes: of each, in bytes; `free` and `total`: of the card after a whole epoch.
    """
    left, fit = free - RESERVE * total, []
    for size in sizes:
        fit.append(size <= left)
        left -= size if fit[-1] else 0
    return fit


def placed(splits: Sequence[Images], device: torch.device) -> list[Images]:
    """Some splits after a whole epoch: those that fit on their GPU there."""
    if device.type != "cuda":
        return list(splits)
    fit = that_fit([each.pixels.nbytes for each in splits], *torch.cuda.mem_get_info(device))
    return [each.to(device) if fits else each for each, fits in zip(splits, fit, strict=True)]
