"""The painted world: creatures on backgrounds, drawn by NumPy from signed distances, with their captions.

A picture is a `Creature` (or none) over a background. The creature is drawn from its own numbers and the
background from its own seed, so the same creature can stand, pixel for pixel, on two backgrounds: that is
what the editing models learn from. A bird's five `BIRD_TRAITS` are never named by a caption.
"""

from dataclasses import dataclass, field

import numpy as np

SIZE = 48
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

_ROWS, _COLS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
_Y, _X = (_ROWS + 0.5) / SIZE, (_COLS + 0.5) / SIZE  # pixel centres in [0, 1], y downwards


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
    canvas = _PAINTERS[background](np.random.default_rng(seed))
    if creature is not None:
        _draw_creature(canvas, creature)
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)


# ------------------------------------------------------------------ shapes: signed distances, then ink


def _ellipse(u: np.ndarray, v: np.ndarray, cu: float, cv: float, ru: float, rv: float) -> np.ndarray:
    return (np.sqrt(((u - cu) / ru) ** 2 + ((v - cv) / rv) ** 2) - 1) * min(ru, rv)


def _segment(
    u: np.ndarray, v: np.ndarray, a: tuple[float, float], b: tuple[float, float], ra: float, rb: float
) -> np.ndarray:
    """A capsule from a to b whose radius goes from ra to rb."""
    du, dv = b[0] - a[0], b[1] - a[1]
    t = np.clip(((u - a[0]) * du + (v - a[1]) * dv) / (du * du + dv * dv), 0, 1)
    return np.hypot(u - a[0] - t * du, v - a[1] - t * dv) - (ra + t * (rb - ra))


def _ink(canvas: np.ndarray, distance: np.ndarray, scale: float, colour: np.ndarray) -> None:
    """Lay `colour` where `distance` (in units of `scale` picture widths) is negative, with soft edges."""
    cover = np.clip(0.5 - distance * scale * SIZE, 0, 1)[..., None]
    canvas += cover * (colour - canvas)


def _draw_creature(canvas: np.ndarray, creature: Creature) -> None:
    side = -1.0 if creature.faces_left else 1.0
    dx, dy = (_X - creature.x) / creature.scale * side, (_Y - creature.y) / creature.scale
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
        _ink(canvas, _segment(dx, dy, (foot, 0.30), (foot, leg_end), 0.055, 0.055), s, horn * 0.85)
    if traits["tail"] == "fan":
        _ink(canvas, _segment(u, v, (-0.50, 0.02), (-0.92, -0.02), 0.08, 0.24), s, colour * 0.62)
    else:
        for tip in (-0.30, 0.26):
            _ink(canvas, _segment(u, v, (-0.48, 0.02), (-1.18, tip), 0.10, 0.035), s, colour * 0.62)
    if traits["beak"] == "short":
        _ink(canvas, _segment(u, v, (0.72, -0.36), (0.94, -0.32), 0.11, 0.02), s, horn)
    else:
        _ink(canvas, _segment(u, v, (0.72, -0.36), (1.28, -0.28), 0.09, 0.025), s, horn)
    if traits["crest"] == "tall":
        _ink(canvas, _segment(u, v, (0.52, -0.50), (0.26, -0.98), 0.16, 0.02), s, colour * 0.72)
    _ink(canvas, _ellipse(u, v, 0.0, 0.0, 0.66, 0.40), s, colour)
    _ink(canvas, _ellipse(u, v, 0.56, -0.38, 0.27, 0.25), s, colour)
    mark = _mark_colour(colour)
    if traits["wing"] == "spots":
        for cu, cv in ((-0.26, -0.02), (0.02, -0.14), (0.06, 0.12), (-0.12, 0.18), (-0.34, 0.20)):
            _ink(canvas, _ellipse(u, v, cu - 0.02, cv - 0.02, 0.085, 0.085), s, mark)
    else:
        for cv in (-0.10, 0.12):
            _ink(canvas, _segment(u, v, (-0.38, cv), (0.20, cv), 0.05, 0.05), s, mark)
    _ink(canvas, _ellipse(u, v, 0.62, -0.42, 0.085, 0.085), s, np.full(3, 0.02))


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
    _ink(canvas, _segment(u, v, (-0.55, 0.0), (-1.05, -0.36), 0.05, 0.14), s, colour * 0.7)
    _ink(canvas, _segment(u, v, (-0.55, 0.0), (-1.05, 0.36), 0.05, 0.14), s, colour * 0.7)
    _ink(canvas, _segment(u, v, (0.10, -0.30), (-0.25, -0.62), 0.16, 0.04), s, colour * 0.7)
    _ink(canvas, _ellipse(u, v, 0.10, 0.0, 0.78, 0.40), s, colour)
    for cu in (-0.22, 0.06, 0.32):
        _ink(canvas, _segment(u, v, (cu, -0.22), (cu - 0.06, 0.22), 0.045, 0.045), s, _mark_colour(colour))
    _ink(canvas, _ellipse(u, v, 0.62, -0.08, 0.09, 0.09), s, np.full(3, 0.02))


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
            _ink(canvas, _segment(u, v, (cu, side * 0.3), (cu * 1.35, side * 0.86), 0.06, 0.04), s, dark + 0.05)
    for side in (-1, 1):
        _ink(canvas, _segment(u, v, (0.72, side * 0.08), (1.08, side * 0.40), 0.045, 0.03), s, dark + 0.05)
    _ink(canvas, _ellipse(u, v, 0.62, 0.0, 0.26, 0.28), s, colour * 0.6)
    _ink(canvas, _ellipse(u, v, 0.0, 0.0, 0.62, 0.52), s, colour)
    _ink(canvas, _segment(u, v, (-0.56, 0.0), (0.50, 0.0), 0.035, 0.035), s, dark)


# ------------------------------------------------------------------ backgrounds


def _noise(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Smooth noise in [-1, 1]: a random grid of rows × cols, stretched bilinearly to the picture."""
    grid = rng.uniform(-1, 1, (rows + 1, cols + 1)).astype(np.float32)
    y, x = _Y * rows, _X * cols
    i, j = y.astype(int), x.astype(int)
    fy, fx = y - i, x - j
    top = grid[i, j] * (1 - fx) + grid[i, j + 1] * fx
    return top * (1 - fy) + (grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx) * fy


def _fill(rng: np.random.Generator, colour: tuple[float, float, float], jitter: float = 0.06) -> np.ndarray:
    tint = np.clip(np.array(colour) + rng.uniform(-jitter, jitter, 3), 0, 1)
    return np.broadcast_to(tint, (SIZE, SIZE, 3)).astype(np.float32).copy()


def _textured(
    rng: np.random.Generator, colour: tuple[float, float, float], strength: float, grid: int
) -> np.ndarray:
    texture = _noise(rng, grid, grid) * 0.6 + _noise(rng, grid * 3, grid * 3) * 0.4
    return _fill(rng, colour) * (1 + strength * texture[..., None])


def _below(sky: np.ndarray, ground: np.ndarray, horizon: np.ndarray | float) -> np.ndarray:
    """`ground` below the horizon (rows in [0, 1]), `sky` above it."""
    cover = np.clip((_Y - horizon) * SIZE + 0.5, 0, 1)[..., None]
    return sky + cover * (ground - sky)


def _dots(
    canvas: np.ndarray,
    rng: np.random.Generator,
    count: int,
    top: float,
    radius: float,
    colours: list[tuple[float, float, float]],
) -> None:
    for _ in range(count):
        x, y = rng.uniform(0, 1), rng.uniform(top, 1)
        colour = np.array(colours[rng.integers(len(colours))])
        _ink(canvas, np.hypot(_X - x, _Y - y) - radius, 1.0, colour)


def _wavy(rng: np.random.Generator, level: float, height: float) -> np.ndarray:
    phase, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
    return level + height * np.sin(2 * np.pi * _X / length + phase)


def _forest(rng: np.random.Generator) -> np.ndarray:
    canvas = _textured(rng, (0.10, 0.27, 0.11), 0.45, 7)
    for _ in range(rng.integers(3, 6)):
        x, width = rng.uniform(0, 1), rng.uniform(0.02, 0.05)
        bark = np.array((0.30, 0.18, 0.10)) * rng.uniform(0.7, 1.2)
        lean = rng.uniform(-0.08, 0.08)
        _ink(
            canvas,
            _segment(_X, _Y, (x, -0.1), (x + lean, rng.uniform(0.75, 1.0)), width, width * 1.3),
            1.0,
            bark,
        )
    return canvas


def _meadow(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(0.26, 0.42)
    canvas = _below(
        _fill(rng, (0.62, 0.83, 0.95)), _textured(rng, (0.44, 0.76, 0.22), 0.16, 5), _wavy(rng, top, 0.04)
    )
    _dots(
        canvas,
        rng,
        int(rng.integers(6, 13)),
        top + 0.12,
        0.018,
        [(0.98, 0.9, 0.3), (0.97, 0.6, 0.65), (1, 1, 1)],
    )
    return canvas


def _lake(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(0.2, 0.36)
    water = _textured(rng, (0.12, 0.34, 0.66), 0.10, 4)
    waves = np.sin(2 * np.pi * (_Y * rng.uniform(9, 13) + 0.25 * np.sin(2 * np.pi * (_X * 3 + rng.uniform()))))
    water *= 1 + 0.18 * np.clip(waves, -0.2, 1)[..., None]
    return _below(_fill(rng, (0.68, 0.84, 0.92)), water, top)


def _beach(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(0.24, 0.40)
    shore = _wavy(rng, top, 0.03)
    sand = _textured(rng, (0.91, 0.79, 0.55), 0.08, 6)
    canvas = _below(_textured(rng, (0.28, 0.62, 0.80), 0.08, 3), np.ones_like(sand), shore)
    canvas = _below(canvas, sand, shore + 0.05)
    _dots(canvas, rng, int(rng.integers(5, 11)), top + 0.12, 0.013, [(0.62, 0.5, 0.32), (0.7, 0.6, 0.45)])
    return canvas


def _snow(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(0.3, 0.46)
    canvas = _below(
        _fill(rng, (0.72, 0.76, 0.84)), _textured(rng, (0.93, 0.95, 0.985), 0.04, 5), _wavy(rng, top, 0.03)
    )
    _dots(canvas, rng, int(rng.integers(10, 20)), 0.0, 0.014, [(1, 1, 1)])
    return canvas


def _desert(rng: np.random.Generator) -> np.ndarray:
    top = rng.uniform(0.28, 0.44)
    canvas = _below(
        _fill(rng, (0.98, 0.84, 0.66)), _textured(rng, (0.80, 0.46, 0.20), 0.10, 5), _wavy(rng, top, 0.06)
    )
    x, base = rng.choice([rng.uniform(0.06, 0.2), rng.uniform(0.8, 0.94)]), top + rng.uniform(0.12, 0.2)
    green = np.array((0.24, 0.46, 0.24))
    _ink(canvas, _segment(_X, _Y, (x, base), (x, base - 0.28), 0.028, 0.028), 1.0, green)
    _ink(canvas, _segment(_X, _Y, (x, base - 0.12), (x + 0.07, base - 0.18), 0.02, 0.02), 1.0, green)
    return canvas


def _city(rng: np.random.Generator) -> np.ndarray:
    road = rng.uniform(0.70, 0.80)
    canvas = _fill(rng, (0.66, 0.70, 0.76))
    x = -rng.uniform(0, 0.1)
    while x < 1:
        width, roof = rng.uniform(0.16, 0.28), rng.uniform(0.05, 0.3)
        wall = np.array((0.36, 0.36, 0.42)) * rng.uniform(0.75, 1.2)
        inside = (x <= _X) & (x + width - 0.01 > _X) & (roof < _Y)
        canvas[inside] = wall
        lit = rng.random((SIZE // 4 + 1, SIZE // 4 + 1)) < 0.55
        window = (
            inside & (_COLS % 4 < 2) & (_ROWS % 4 < 2) & lit[(_ROWS // 4).astype(int), (_COLS // 4).astype(int)]
        )
        canvas[window] = (0.96, 0.86, 0.48)
        x += width
    return _below(canvas, _textured(rng, (0.26, 0.26, 0.28), 0.08, 4), road)


def _night(rng: np.random.Generator) -> np.ndarray:
    canvas = _below(
        _fill(rng, (0.04, 0.05, 0.16), 0.03),
        _textured(rng, (0.05, 0.07, 0.06), 0.25, 5),
        _wavy(rng, rng.uniform(0.66, 0.8), 0.03),
    )
    for _ in range(rng.integers(8, 16)):
        _ink(
            canvas,
            np.hypot(_X - rng.uniform(), _Y - rng.uniform(0, 0.6)) - 0.009,
            1.0,
            np.array((0.9, 0.9, 0.8)),
        )
    moon_x, moon_y = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)
    _ink(canvas, np.hypot(_X - moon_x, _Y - moon_y) - 0.06, 1.0, np.array((0.95, 0.93, 0.78)))
    return canvas


_PAINTERS = {
    "forest": _forest,
    "meadow": _meadow,
    "lake": _lake,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "city": _city,
    "night": _night,
}


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
