"""The biased task of the miniature: two bird classes whose backgrounds give them away in training.

A *tarrel* has the first value of every trait of `BIRD_TRAITS`, a *mirrol* the second; colour, pose and size
say nothing. In train and val a share `bias` of each class stands on its own two backgrounds, the rest on
those of the other class; in test every class stands on all four alike. At bias 1 this is the paper's
Waterbirds subset in small.
"""

from dataclasses import dataclass

import numpy as np

from alia_ray.miniature import world
from alia_ray.tables import seed_of

CLASSES = ("tarrel", "mirrol")
HOME = {"tarrel": ("forest", "meadow"), "mirrol": ("lake", "beach")}


@dataclass(frozen=True)
class Painted:
    """One picture of the dataset, not yet painted."""

    origin: str  # SPLIT/NUMBER
    label: str
    background: str
    split: str


def class_traits(label: str) -> dict[str, str]:
    """The traits that make a bird of the class `label`."""
    return {name: values[CLASSES.index(label)] for name, values in world.BIRD_TRAITS.items()}


def layout(split: str, count: int, bias: float) -> list[Painted]:
    """`count` pictures of a split, classes alternating, the exact share `bias` of each at home.

    At home and away, each class's two (or the other's two) backgrounds alternate.
    """
    share = 0.5 if split == "test" else bias
    pictures = []
    for number in range(count):
        label = CLASSES[number % 2]
        turn = number // 2
        away = int((turn + 1) * (1 - share) + 1e-9) > int(turn * (1 - share) + 1e-9)
        places = HOME[CLASSES[1 - CLASSES.index(label)] if away else label]
        background = places[seed_of("background", split, str(number)) % 2]
        pictures.append(Painted(f"{split}/{number}", label, background, split))
    return pictures


def paint(origin: str, label: str, background: str, seed: int) -> np.ndarray:
    """Paint a picture of the dataset drawn with `seed`: uint8 (48, 48, 3)."""
    rng = np.random.default_rng(seed_of("miniature", str(seed), origin))
    creature = world.random_creature(rng, "bird", class_traits(label))
    return world.paint(creature, background, world.random_seed(rng))
