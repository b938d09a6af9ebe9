"""Held-out judges of the miniature's edits: small networks that no part of the method uses or has seen.

They are trained where they are needed, in about a minute each, on draws of their own with blur and noise, so
that they stay calibrated on pictures softer than paintings. Each takes float (N, 3, 48, 48) in [0, 1] and
returns logits.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from alia_ray.miniature import dataset, world
from alia_ray.miniature.captioner import soften
from alia_ray.miniature.training import fit, seed_everything

BATCH = 64


def train_background_judge(steps: int = 500, seed: int = 71) -> nn.Module:
    """Logits over `world.BACKGROUNDS`, whatever creature is there."""
    places = list(world.BACKGROUNDS)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        background = world.random_background(rng)
        creature = world.random_creature(rng, "bird" if rng.random() < 0.8 else None)
        return world.paint(creature, background, world.random_seed(rng)), places.index(background)

    return _train(draw, len(places), steps, seed)


def train_class_judge(classes: Sequence[str] = dataset.CLASSES, steps: int = 900, seed: int = 72) -> nn.Module:
    """Logits over `classes`, on every background."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        label = int(rng.integers(len(classes)))
        bird = world.random_creature(rng, "bird", dataset.class_traits(classes[label]))
        return world.paint(bird, world.random_background(rng), world.random_seed(rng)), label

    return _train(draw, len(classes), steps, seed)


def _train(
    draw: Callable[[np.random.Generator], tuple[np.ndarray, int]], outputs: int, steps: int, seed: int
) -> nn.Module:
    rng = seed_everything(seed)
    drawn = [draw(rng) for _ in range(6_000)]
    pixels = torch.from_numpy(np.stack([picture for picture, _ in drawn])).permute(0, 3, 1, 2)
    labels = torch.tensor([label for _, label in drawn])
    network = _network(outputs)

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(labels), size=BATCH))
        images = soften(pixels[chosen].float() / 255, rng)
        return nn.functional.cross_entropy(network(images), labels[chosen], label_smoothing=0.02)

    with torch.enable_grad():
        return fit(network, loss_of_batch, steps, peak_lr=2e-3, average=0.99)


def _network(outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 9, outputs))
