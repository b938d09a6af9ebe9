"""The painted world: creatures on backgrounds, drawn by NumPy from signed distances, with their captions.

A picture is a `Creature` (or none) over a background. The creature is drawn from its own numbers and the
background from its own seed, so the same creature can stand, pixel for pixel, on two backgrounds: that is
what the editing models learn from. A bird's five `BIRD_TRAITS` are never named by a caption.
"""

from dataclasses import dataclass, field

import numpy as np

from alia_ray.miniature.backgrounds import PAINTERS
from alia_ray.miniature.shapes import X, Y, ellipse, ink, segment

KINDS = ("bird", "fish", "beetle")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.84, 0.12, 0.14),
    "blue": (0.14, 0.24, 0.82),
    "orange": (0.96, 0.53, 0.10),
    "white": (0.94, 0.94, 0.92),
    "black": (0.09, 0.08, 0.11),
    "purple": (0.52, 0.18, 0.66),
    "brown": (0.46, 0.29, 0.15),
    "grey": (0.53, 0.53, 0.55),
}
BACKGROUNDS: dict[str, str] = {  # name -> how a caption says it
    "forest": "in a forest",
    "meadow": "in a meadow",
    "lake": "on a lake",
    "beach": "on a beach",
    "snow": "in the snow",
    "desert": "in a desert",
    "city": "in a city",
    "night": "at night",
}
BIRD_TRAITS: dict[str, tuple[str, str]] = {
    "beak": ("short", "long"),
    "crest": ("tall", "none"),
    "tail": ("fan", "forked"),
    "legs": ("short", "long"),
    "wing": ("spots", "bars"),
}


@dataclass(frozen=True)
class Creature:
    """What stands in the picture. `x`, `y`, `scale` are in picture widths, `tilt` in radians."""

    kind: str
    colour: str
    x: float = 0.5
    y: float = 0.55
    scale: float = 0.30
    tilt: float = 0.0
    faces_left: bool = False
    shade: tuple[float, float, float] = (0.0, 0.0, 0.0)
    traits: dict[str, str] = field(default_factory=dict)


def random_creature(
    rng: np.random.Generator, kind: str | None = None, traits: dict[str, str] | None = None
) -> Creature:
    """Draw a creature; a bird's traits are drawn independently of each other unless `traits` gives them."""
    kind = kind or str(rng.choice(KINDS, p=[0.6, 0.2, 0.2]))
    drawn = {name: str(rng.choice(values)) for name, values in BIRD_TRAITS.items()}
    return Creature(
        kind=kind,
        colour=str(rng.choice(list(COLOURS))),
        x=float(rng.uniform(0.42, 0.58)),
        y=float(rng.uniform(0.46, 0.60)),
        scale=float(rng.uniform(0.27, 0.33)),
        tilt=float(rng.uniform(-0.25, 0.25)),
        faces_left=bool(rng.random() < 0.5),
        shade=tuple(float(v) for v in rng.uniform(-0.05, 0.05, 3)),
        traits=traits if traits is not None else drawn,
    )


def random_background(rng: np.random.Generator) -> str:
    """Draw the name of a background, each as likely as the others."""
    return str(rng.choice(list(BACKGROUNDS)))


def random_seed(rng: np.random.Generator) -> int:
    """Draw a seed for `paint`'s background."""
    return int(rng.integers(2**31))


def caption(creature: Creature | None, background: str, describe: str | None = None) -> str:
    """The caption of a picture: "a photo of a red bird in the snow".

    `describe` replaces the colour as the word before the creature's kind; an empty string leaves it out.
    """
    if creature is None:
        return f"a photo of a background {BACKGROUNDS[background]}"
    word = creature.colour if describe is None else describe
    noun = f"{word} {creature.kind}".strip()
    return f"a photo of {'an' if noun[0] in 'aeiou' else 'a'} {noun} {BACKGROUNDS[background]}"


def paint(creature: Creature | None, background: str, seed: int) -> np.ndarray:
    """Paint a picture: uint8 array of shape (48, 48, 3)."""
    canvas = PAINTERS[background](np.random.default_rng(seed))
    if creature is not None:
        _draw_creature(canvas, creature)
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


def invented_name(rng: np.random.Generator) -> str:
    """A made-up species name of consonant-vowel syllables, "moruvi": it tells a model nothing.

    Captions shown to the editors carry such names, drawn independently of the picture, so that a prompt with
    an unknown class name in it still works. The names of the downstream classes cannot come out of it: they
    have two consonants in a row.
    """
    syllables = rng.integers(2, 4)
    return "".join(
        str(rng.choice(list("bdfgklmnprstvz"))) + str(rng.choice(list("aeiou"))) for _ in range(syllables)
    )


# -------------------------------------------------------------------- creatures


def _draw_creature(canvas: np.ndarray, creature: Creature) -> None:
    side = -1.0 if creature.faces_left else 1.0
    dx, dy = (X - creature.x) / creature.scale * side, (Y - creature.y) / creature.scale
    cos, sin = np.cos(creature.tilt), np.sin(creature.tilt)
    u, v = dx * cos - dy * sin, dx * sin + dy * cos  # u forwards, v downwards
    colour = np.clip(np.array(COLOURS[creature.colour]) + np.array(creature.shade), 0, 1)
    {"bird": _draw_bird, "fish": _draw_fish, "beetle": _draw_beetle}[creature.kind](
        canvas, u, v, dx, dy, colour, creature
    )


def _mark_colour(colour: np.ndarray) -> np.ndarray:
    """Marks are light on dark creatures and dark on light ones."""
    return np.full(3, 0.95) if colour.mean() < 0.62 else np.full(3, 0.18)


def _draw_bird(
    canvas: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    colour: np.ndarray,
    bird: Creature,
) -> None:
    s, traits = bird.scale, bird.traits
    horn = np.array((0.95, 0.68, 0.16))
    leg_end = 0.62 if traits["legs"] == "short" else 1.05
    for foot in (-0.14, 0.16):  # legs stay upright whatever the tilt
        ink(canvas, segment(dx, dy, (foot, 0.30), (foot, leg_end), 0.055, 0.055), s, horn * 0.85)
    if traits["tail"] == "fan":
        ink(canvas, segment(u, v, (-0.50, 0.02), (-0.92, -0.02), 0.08, 0.24), s, colour * 0.62)
    else:
        for tip in (-0.30, 0.26):
            ink(canvas, segment(u, v, (-0.48, 0.02), (-1.18, tip), 0.10, 0.035), s, colour * 0.62)
    if traits["beak"] == "short":
        ink(canvas, segment(u, v, (0.72, -0.36), (0.94, -0.32), 0.11, 0.02), s, horn)
    else:
        ink(canvas, segment(u, v, (0.72, -0.36), (1.28, -0.28), 0.09, 0.025), s, horn)
    if traits["crest"] == "tall":
        ink(canvas, segment(u, v, (0.52, -0.50), (0.26, -0.98), 0.16, 0.02), s, colour * 0.72)
    ink(canvas, ellipse(u, v, 0.0, 0.0, 0.66, 0.40), s, colour)
    ink(canvas, ellipse(u, v, 0.56, -0.38, 0.27, 0.25), s, colour)
    mark = _mark_colour(colour)
    if traits["wing"] == "spots":
        for cu, cv in ((-0.26, -0.02), (0.02, -0.14), (0.06, 0.12), (-0.12, 0.18), (-0.34, 0.20)):
            ink(canvas, ellipse(u, v, cu - 0.02, cv - 0.02, 0.085, 0.085), s, mark)
    else:
        for cv in (-0.10, 0.12):
            ink(canvas, segment(u, v, (-0.38, cv), (0.20, cv), 0.05, 0.05), s, mark)
    ink(canvas, ellipse(u, v, 0.62, -0.42, 0.085, 0.085), s, np.full(3, 0.02))


def _draw_fish(
    canvas: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    colour: np.ndarray,
    fish: Creature,
) -> None:
    s = fish.scale
    ink(canvas, segment(u, v, (-0.55, 0.0), (-1.05, -0.36), 0.05, 0.14), s, colour * 0.7)
    ink(canvas, segment(u, v, (-0.55, 0.0), (-1.05, 0.36), 0.05, 0.14), s, colour * 0.7)
    ink(canvas, segment(u, v, (0.10, -0.30), (-0.25, -0.62), 0.16, 0.04), s, colour * 0.7)
    ink(canvas, ellipse(u, v, 0.10, 0.0, 0.78, 0.40), s, colour)
    for cu in (-0.22, 0.06, 0.32):
        ink(canvas, segment(u, v, (cu, -0.22), (cu - 0.06, 0.22), 0.045, 0.045), s, _mark_colour(colour))
    ink(canvas, ellipse(u, v, 0.62, -0.08, 0.09, 0.09), s, np.full(3, 0.02))


def _draw_beetle(
    canvas: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    colour: np.ndarray,
    beetle: Creature,
) -> None:
    s, dark = beetle.scale, colour * 0.45
    for cu in (-0.40, 0.0, 0.40):
        for side in (-1, 1):
            ink(canvas, segment(u, v, (cu, side * 0.3), (cu * 1.35, side * 0.86), 0.06, 0.04), s, dark + 0.05)
    for side in (-1, 1):
        ink(canvas, segment(u, v, (0.72, side * 0.08), (1.08, side * 0.40), 0.045, 0.03), s, dark + 0.05)
    ink(canvas, ellipse(u, v, 0.62, 0.0, 0.26, 0.28), s, colour * 0.6)
    ink(canvas, ellipse(u, v, 0.0, 0.0, 0.62, 0.52), s, colour)
    ink(canvas, segment(u, v, (-0.56, 0.0), (0.50, 0.0), 0.035, 0.035), s, dark)
