"""What models see of images, whatever their shape."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from alia_ray.config import Model, Pixels
from alia_ray.models.batches import middle
from alia_ray.models.classifier import Classifier, build_classifier
from alia_ray.models.clip import ClipJudge
from alia_ray.models.safety import SafetyChecker

BICUBIC = functional.InterpolationMode.BICUBIC


def waves(height: int, width: int) -> torch.Tensor:
    """A picture that changes slowly in both directions: by less than 0.05 from pixel to pixel of its middle."""
    down, along = ((torch.arange(side) - side / 2) / min(height, width) for side in (height, width))
    return torch.stack(
        [(torch.sin(rate * down)[:, None] + torch.sin(rate * along)) / 4 + 0.5 for rate in (1, 2, 3)]
    )


@pytest.mark.parametrize("shape", [(16, 24), (1, 40), (1, 41), (300, 2), (301, 3), (7, 500), (80, 1000), (1, 1)])
def test_the_middle_is_that_of_the_whole_image_resized(shape):
    image = waves(*shape)[None]
    whole = functional.center_crop(functional.resize(image, [32], BICUBIC, antialias=True), [32, 32])
    torch.testing.assert_close(middle(image, (32, 32)), whole, atol=0.02, rtol=0)


def classify(line: torch.Tensor) -> torch.Tensor:
    seen = Pixels(image_size=64)
    model = build_classifier("resnet18", "none", 2).eval()
    return Classifier(model, ["a", "b"], seen).probabilities(line)


def judge(line: torch.Tensor) -> torch.Tensor:
    return ClipJudge(Model(name="miniature:clip"), ["a photo of a bird"], ["a photo of noise"]).score(line)


@pytest.mark.parametrize("look", [classify, judge, lambda line: SafetyChecker.seen(line, 64)])
@pytest.mark.parametrize("shape", [(1, 4096), (4096, 1)])
def test_a_line_of_pixels_is_never_as_large_as_its_length_suggests(look, shape, monkeypatch):
    resize, made = functional.resize, []

    def measured(*arguments: object, **options: object) -> torch.Tensor:
        resized = resize(*arguments, **options)
        made.append(resized.numel())
        return resized

    monkeypatch.setattr(functional, "resize", measured)
    assert look(torch.rand(1, 3, *shape)).isfinite().all()
    assert 0 < max(made) < 1_000_000
