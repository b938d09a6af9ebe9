"""Images of several sizes as one batch of a model."""

from collections.abc import Callable, Sequence

import torch


def as_batch(images: Sequence[torch.Tensor], seen: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """What a model sees of images: `seen` turns float (N, 3, H, W) of one size into the model's input.

    images: float (3, H, W) each, or (N, 3, H, W). Those of one size go through together.
    """
    if len({image.shape for image in images}) > 1:
        return torch.cat([seen(image[None]) for image in images])
    return seen(images if isinstance(images, torch.Tensor) else torch.stack(list(images)))
