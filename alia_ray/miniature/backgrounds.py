"""The eight backgrounds of the painted world, each varied by its own generator: float (48, 48, 3) in [0, 1]."""

import numpy as np

from alia_ray.miniature.shapes import COLS, ROWS, SIZE, X, Y, ink, segment


def _noise(rng: np.random.Generator, rows: int, cols: int) -> np.ndarray:
    """Smooth noise in [-1, 1]: a random grid of rows × cols, stretched bilinearly to the picture."""
    grid = rng.uniform(-1, 1, (rows + 1, cols + 1)).astype(np.float32)
    y, x = Y * rows, X * cols
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
    cover = np.clip((Y - horizon) * SIZE + 0.5, 0, 1)[..., None]
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
        ink(canvas, np.hypot(X - x, Y - y) - radius, 1.0, colour)


def _wavy(rng: np.random.Generator, level: float, height: float) -> np.ndarray:
    phase, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
    return level + height * np.sin(2 * np.pi * X / length + phase)


def _forest(rng: np.random.Generator) -> np.ndarray:
    canvas = _textured(rng, (0.10, 0.27, 0.11), 0.45, 7)
    for _ in range(rng.integers(3, 6)):
        x, width = rng.uniform(0, 1), rng.uniform(0.02, 0.05)
        bark = np.array((0.30, 0.18, 0.10)) * rng.uniform(0.7, 1.2)
        lean = rng.uniform(-0.08, 0.08)
        ink(
            canvas,
            segment(X, Y, (x, -0.1), (x + lean, rng.uniform(0.75, 1.0)), width, width * 1.3),
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
    waves = np.sin(2 * np.pi * (Y * rng.uniform(9, 13) + 0.25 * np.sin(2 * np.pi * (X * 3 + rng.uniform()))))
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
    ink(canvas, segment(X, Y, (x, base), (x, base - 0.28), 0.028, 0.028), 1.0, green)
    ink(canvas, segment(X, Y, (x, base - 0.12), (x + 0.07, base - 0.18), 0.02, 0.02), 1.0, green)
    return canvas


def _city(rng: np.random.Generator) -> np.ndarray:
    road = rng.uniform(0.70, 0.80)
    canvas = _fill(rng, (0.66, 0.70, 0.76))
    x = -rng.uniform(0, 0.1)
    while x < 1:
        width, roof = rng.uniform(0.16, 0.28), rng.uniform(0.05, 0.3)
        wall = np.array((0.36, 0.36, 0.42)) * rng.uniform(0.75, 1.2)
        inside = (x <= X) & (x + width - 0.01 > X) & (roof < Y)
        canvas[inside] = wall
        lit = rng.random((SIZE // 4 + 1, SIZE // 4 + 1)) < 0.55
        window = inside & (COLS % 4 < 2) & (ROWS % 4 < 2) & lit[(ROWS // 4).astype(int), (COLS // 4).astype(int)]
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
        ink(
            canvas,
            np.hypot(X - rng.uniform(), Y - rng.uniform(0, 0.6)) - 0.009,
            1.0,
            np.array((0.9, 0.9, 0.8)),
        )
    moon_x, moon_y = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)
    ink(canvas, np.hypot(X - moon_x, Y - moon_y) - 0.06, 1.0, np.array((0.95, 0.93, 0.78)))
    return canvas


PAINTERS = {
    "forest": _forest,
    "meadow": _meadow,
    "lake": _lake,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "city": _city,
    "night": _night,
}
"""background -> a painter that takes a generator."""
