"""Pictures of odd shapes, and of one colour: a tracker's pixel, a line, a banner, the 24 million of a camera."""

from collections.abc import Iterator

import numpy as np

from corpus import expected as look
from corpus.writers import of, saved

Made = Iterator[tuple[str, bytes, np.ndarray, int]]
"""Names, bytes, how they look, and how far a pixel may be off, in levels of 255."""
LOSSY = 10
TINY, LONG = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (3, 3), (4, 4)), ((1, 5000), (5000, 1), (3, 400), (30, 900))
"""Widths and heights. Of the sides of 1, 3 and 4 some readers of arrays take one for the colours."""
HUGE = 250  # times the usual height and width


def odd_shapes(rng: np.random.Generator) -> Made:
    """Colours, greys and lossy colours of each shape."""
    for width, height in (*TINY, *LONG):
        size = f"{width}x{height}"
        values = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        yield f"{size}.png", saved(of(values), "PNG"), values, 0
        values = rng.integers(0, 256, (height, width)).astype(np.uint8)
        yield f"{size}-grey.gif", saved(of(values), "GIF"), look.grey(values), 0
        values = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (height, width, 3))
        yield f"{size}.jpg", saved(of(values), "JPEG", quality=95), values, LOSSY


def one_colour(rng: np.random.Generator) -> Made:
    """Nothing to see."""
    for format in ("png", "jpeg", "webp"):
        values = np.full((look.HEIGHT, look.WIDTH, 3), rng.integers(0, 256, 3), np.uint8)
        yield f"flat.{format}", saved(of(values), format), values, LOSSY


def animated(rng: np.random.Generator) -> Made:
    """The first of several frames, where the frames are tiny."""
    values, others = (rng.integers(0, 256, (2, 3, 3)).astype(np.uint8) for _ in range(2))
    frames = {"save_all": True, "append_images": [of(others)]}
    yield "animated.webp", saved(of(values), "WEBP", lossless=True, **frames), values, 0
    yield "animated.png", saved(of(values[::-1]), "PNG", **frames), values[::-1], 0


def huge(rng: np.random.Generator) -> Made:
    """As many pixels as a camera gives."""
    values = look.smooth(rng).repeat(HUGE, axis=0).repeat(HUGE, axis=1)
    yield "huge.jpg", saved(of(values), "JPEG", quality=92), values, LOSSY


MAKERS = (odd_shapes, one_colour, animated, huge)
