"""What batches look like after each augmentation."""

from typing import get_args

import pytest
import torch

from alia_ray.config import ColorJitter, Train
from alia_ray.config.arms import Augment
from alia_ray.models.classifier import prepare
from alia_ray.training.augmentation import augmentation

SETTINGS = Train(image_size=16)


@pytest.mark.parametrize("name", get_args(Augment))
def test_augmented_batches_depend_on_the_seed_alone(name):
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    augment = augmentation(name, 3, SETTINGS)
    batches = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        batches.append(augment(pixels, labels))
    (images, targets), (again, _), (other, _) = batches
    assert images.shape == (6, 3, 16, 16)
    assert images.dtype == torch.float32
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    is_hard = (targets.max(dim=1).values == 1).all()
    assert is_hard == (name != "cutmix")


@pytest.mark.parametrize("name", ["randaugment", "autoaugment", "augmix", "color_jitter"])
def test_each_image_of_a_batch_is_augmented_in_its_own_way(name):
    torch.manual_seed(0)
    same = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8).expand(12, -1, -1, -1)
    images, _ = augmentation(name, 2, SETTINGS)(same, torch.zeros(12, dtype=torch.int64))
    assert len({image.numpy().tobytes() for image in images.contiguous()}) > 4


@pytest.mark.parametrize("settings", [SETTINGS, Train(image_size=16, normalise=False)])
def test_the_plain_recipe_flips_and_prepares_and_nothing_else(settings):
    pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    images, _ = augmentation("none", 2, settings)(pixels, torch.zeros(32, dtype=torch.int64))
    straight = prepare(pixels.float() / 255, settings.pixels)
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(images, straight, strict=True)])
    flipped = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(images, straight, strict=True)])
    assert (kept ^ flipped).all()
    assert 4 < kept.sum() < 28


def test_without_flips_the_plain_recipe_leaves_images_as_they_are():
    settings = Train(image_size=16, flip=False)
    pixels = torch.randint(0, 256, (32, 3, 16, 16), dtype=torch.uint8)
    images, _ = augmentation("none", 2, settings)(pixels, torch.zeros(32, dtype=torch.int64))
    assert torch.equal(images, prepare(pixels.float() / 255, settings.pixels))


def test_colour_jitter_is_as_strong_as_the_settings_say():
    grey = torch.full((64, 3, 16, 16), 100, dtype=torch.uint8)
    labels = torch.zeros(64, dtype=torch.int64)

    def brightness(jitter: ColorJitter) -> torch.Tensor:
        torch.manual_seed(0)
        settings = Train(image_size=16, normalise=False, color_jitter=jitter)
        return augmentation("color_jitter", 2, settings)(grey, labels)[0].mean(dim=(1, 2, 3)) * 255

    assert brightness(ColorJitter()).max() <= 141
    strong = brightness(ColorJitter(brightness=0.9, contrast=0, saturation=0, hue=0))
    assert strong.min() < 40
    assert strong.max() > 160
    assert brightness(ColorJitter(brightness=0, contrast=0, saturation=0, hue=0.3)).unique().numel() == 1
