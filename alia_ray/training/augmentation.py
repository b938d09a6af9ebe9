"""What a training batch goes through on the device: the traditional augmentations that ALIA is compared with.

Each is torchvision's own with its default strength, drawn anew for every image: RandAugment (arXiv 1909.13719),
AutoAugment's ImageNet policies (1805.09501), AugMix (1912.02781), CutMix (1905.04899); and colour jitter, of which
`train.color_jitter` says how strong it is.
"""

from collections.abc import Callable

import torch
from torch.nn import functional
from torchvision.transforms import v2

from alia_ray.config import Train
from alia_ray.config.arms import Augment
from alia_ray.models.classifier import prepare

Batch = tuple[torch.Tensor, torch.Tensor]

_OF_EACH_IMAGE: dict[Augment, Callable[[Train], v2.Transform]] = {
    "randaugment": lambda train: v2.RandAugment(),
    "autoaugment": lambda train: v2.AutoAugment(),
    "augmix": lambda train: v2.AugMix(),
    "color_jitter": lambda train: v2.ColorJitter(**train.color_jitter.model_dump()),
}


def augmentation(name: Augment, num_classes: int, train: Train) -> Callable[[torch.Tensor, torch.Tensor], Batch]:
    """Batch of uint8 (N, 3, S, S) and labels (N,) -> what the model takes, float (N, 3, S, S), and targets (N, C).

    With `train.flip` every image is flipped left to right or not; what `name` stands for comes on top. Draws from
    torch's generator.
    """
    of_each = _OF_EACH_IMAGE[name](train) if name in _OF_EACH_IMAGE else None
    cutmix = v2.CutMix(num_classes=num_classes) if name == "cutmix" else None

    def augment(pixels: torch.Tensor, labels: torch.Tensor) -> Batch:
        if train.flip:
            flipped = (torch.rand(len(pixels)) < 0.5).to(pixels.device)
            pixels = torch.where(flipped[:, None, None, None], pixels.flip(-1), pixels)
        if of_each is not None:
            pixels = torch.stack([of_each(image) for image in pixels])
        images = prepare(pixels.float() / 255, train.pixels)
        if cutmix is not None:
            return cutmix(images, labels)
        return images, functional.one_hot(labels, num_classes).float()

    return augment
