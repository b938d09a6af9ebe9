"""Images of several sizes as one batch of a model."""

from collections.abc import Callable, Sequence

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

_LONG = 9  # times the shorter side: what lies farther out is in no square of the middle, nor in its interpolation


def as_batch(images: Sequence[torch.Tensor], seen: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What a model sees of images: `seen` turns float (N, 3, H, W) of one size into the model's input.

    images: float (3, H, W) each, or (N, 3, H, W). Those of one size go through together.
    """
    if len({image.shape for image in images}) > 1:
        return torch.cat([seen(image[None]) for image in images])
    return seen(images if isinstance(images, torch.Tensor) else torch.stack(list(images)))


def middle(
    images: torch.Tensor, size: tuple[int, int], mode: InterpolationMode = InterpolationMode.BICUBIC
) -> torch.Tensor:
    """The shorter side resized (antialiased) to that of `size`, height and width, and the middle cut out.

    images: float (N, 3, H, W). Of a line of 1 × 4,096 pixels only the middle is resized: all of it would be 2 GB.
    """
    resized = functional.resize(_without_far_ends(images), [min(size)], mode, antialias=True)
    return functional.center_crop(resized, list(size))


def _without_far_ends(images: torch.Tensor) -> torch.Tensor:
    height, width = images.shape[-2:]
    short, long = sorted((height, width))
    kept = _LONG * short + (_LONG * short + long) % 2  # as odd as before: the middle stays where it is
    return functional.center_crop(images, [min(height, kept), min(width, kept)]) if long > kept else images
