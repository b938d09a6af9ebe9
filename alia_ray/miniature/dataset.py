"""The miniature's two tasks, in bird classes that differ in nothing but the traits of `BIRD_TRAITS`.

*biased*: two classes whose backgrounds give them away. In train and val a share `bias` of each class stands on its
own two backgrounds, the rest on those of the other class; in test every class stands on all four alike, and
`extra` holds what train lacks, birds away from home. At bias 1 this is the paper's Waterbirds subset in small.

*places*: four classes that differ in three or four of the five traits, on places that say nothing of the class but
are others in test: domain generalisation, as in iWildCam. `extra` shows places of neither train nor test.

Colour, pose and size say nothing in either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alia_ray.miniature import world
from alia_ray.store.tables import seed_of

Task = Literal["biased", "places"]

_TRAITS = {"tarrel": "00000", "mirrol": "11111", "pandul": "11100", "kestin": "00111", "morvil": "11011"}
"""Which value of each trait of `BIRD_TRAITS` a class has. `world.invented_name` never draws one of the names."""

CLASSES = ("tarrel", "mirrol")  # of the biased task
HOME = {"tarrel": ("forest", "meadow"), "mirrol": ("lake", "beach")}

FINE_CLASSES = ("tarrel", "pandul", "kestin", "morvil")  # of the task of places
_SEEN = ("forest", "meadow", "lake")
PLACES = {"train": _SEEN, "val": _SEEN, "extra": ("beach", "snow"), "test": ("desert", "city", "night")}


@dataclass(frozen=True)
class Painted:
    """One picture of the dataset, not yet painted."""

    origin: str  # SPLIT/NUMBER
    label: str
    background: str
    split: str


def class_traits(label: str) -> dict[str, str]:
    """The traits that make a bird of the class `label`."""
    pairs = zip(world.BIRD_TRAITS.items(), _TRAITS[label], strict=True)
    return {name: values[int(place)] for (name, values), place in pairs}


def layout(split: str, count: int, bias: float) -> list[Painted]:
    """`count` pictures of a split of the biased task, classes alternating, the exact share of each at home.

    At home and away, each class's two (or the other's two) backgrounds are drawn alike.
    """
    share = {"test": 0.5, "extra": 0.0}.get(split, bias)
    pictures = []
    for number in range(count):
        label = CLASSES[number % 2]
        turn = number // 2
        away = int((turn + 1) * (1 - share) + 1e-9) > int(turn * (1 - share) + 1e-9)
        places = HOME[CLASSES[1 - CLASSES.index(label)] if away else label]
        background = places[seed_of("background", split, str(number)) % 2]
        pictures.append(Painted(f"{split}/{number}", label, background, split))
    return pictures


def layout_places(split: str, count: int) -> list[Painted]:
    """`count` pictures of a split of the task of places: every class on every place alike."""
    turns: Sequence[tuple[str, str]] = [(label, place) for place in PLACES[split] for label in FINE_CLASSES]
    return [Painted(f"{split}/{number}", *turns[number % len(turns)], split) for number in range(count)]


def paint(origin: str, label: str, background: str, seed: int) -> np.ndarray:
    """Paint a picture of the dataset drawn with `seed`: uint8 (48, 48, 3)."""
    rng = np.random.default_rng(seed_of("miniature", str(seed), origin))
    creature = world.random_creature(rng, "bird", class_traits(label))
    return world.paint(creature, background, world.random_seed(rng))
