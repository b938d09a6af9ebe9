"""The small classifier that trainings may start from, as the paper's start from ImageNet: half a ShuffleNetV2.

It is taught what stands where (kind, colour and background of birds, fish and beetles), never a bird's traits, of
which it sees every combination alike: what tells the downstream classes apart is left to be learnt.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from alia_ray.config import Pixels
from alia_ray.miniature import world
from alia_ray.miniature.shapes import SIZE
from alia_ray.miniature.training import fit, seed_everything
from alia_ray.models.classifier import build_classifier, prepare, save_classifier

ARCHITECTURE = "shufflenet_v2_x0_5"
TAUGHT = (world.KINDS, tuple(world.COLOURS), tuple(world.BACKGROUNDS))
"""The outputs, in this order, a softmax for each part."""
BATCH = 64


def train_classifier(out: Path, steps: int, seed: int, pictures: int = 12_000) -> None:
    """Train it on pictures drawn with `seed`, and save it in half precision as the package ships it."""
    rng = seed_everything(seed)
    pixels, labels = _paint(rng, pictures)
    seen, names = Pixels(image_size=SIZE), [name for part in TAUGHT for name in part]
    network = build_classifier(ARCHITECTURE, "none", len(names)).to(memory_format=torch.channels_last)

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(labels), size=BATCH))
        logits = network(prepare(pixels[chosen].float() / 255, seen)).split([len(part) for part in TAUGHT], dim=1)
        parts = zip(logits, labels[chosen].unbind(dim=1), strict=True)
        return torch.stack([functional.cross_entropy(part, label) for part, label in parts]).sum()

    trained = fit(network, loss_of_batch, steps, peak_lr=3e-3, average=0.99)
    save_classifier(str(out), trained.half(), names, ARCHITECTURE, seen)


def _paint(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, uint8 (N, 3, 48, 48), and for each part of `TAUGHT` the index of what is seen, int64 (N, 3)."""
    pictures, labels = [], []
    for _ in range(count):
        creature, background = world.random_creature(rng), world.random_background(rng)
        pictures.append(world.paint(creature, background, world.random_seed(rng)))
        shown = (creature.kind, creature.colour, background)
        labels.append([part.index(name) for part, name in zip(TAUGHT, shown, strict=True)])
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), torch.tensor(labels)
