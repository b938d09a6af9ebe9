"""The shape at which a picture is edited: one of few, so that batches fill and a compiled network sees few shapes.

Diffusion trainers sort pictures into buckets of like aspect ratios, each of about as many pixels, for the same
reason. There a picture is cropped to its bucket; here the whole frame is squeezed into it, and the edit stretched
back, since an original and its edits must show a classifier the same view.
"""

import math
from functools import cache
from itertools import product

from alia_ray.images import Shape

ASPECTS = (1 / 1, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2 / 1, 3 / 1)
"""Of the buckets, and the same upright: what cameras and screens have, and two for what is wider."""
ALIKE = 0.005  # relative: an edit whose bucket has the picture's aspect to so much is not stretched back
LONGEST = 8  # times `size`: no side of an edit is longer (WebP holds 16,383 pixels, JPEG 65,535)
MULTIPLE = 8  # of the sides of a bucket, in pixels: the factor of Stable Diffusion's autoencoder


@cache
def buckets(size: int) -> tuple[Shape, ...]:
    """Every shape that pictures are edited at, each of about `size`² pixels; the first is the square."""
    wide = [_bucket(size, aspect) for aspect in ASPECTS]
    return tuple(dict.fromkeys([*wide, *((height, width) for width, height in wide)]))


def bucket_of(shape: Shape, size: int) -> Shape:
    """The bucket whose aspect ratio is nearest to a picture's."""
    return min(buckets(size), key=lambda bucket: _difference(bucket, shape))


def frame_of(shape: Shape, size: int) -> Shape:
    """The shape of a picture's finished edits: its bucket where that has the picture's aspect, else one that has.

    It too holds about `size`² pixels, or fewer where a side would be longer than LONGEST × `size`.
    """
    bucket = bucket_of(shape, size)
    if _difference(bucket, shape) < ALIKE:
        return bucket
    ratio = max(shape) / min(shape)
    longest = min(size * math.sqrt(ratio), LONGEST * size)
    frames = [(side, max(1, round(side / ratio))) for side in range(math.ceil(0.9 * longest), int(longest) + 1)]
    long, short = _nearest(frames, (ratio, 1), longest)
    return (long, short) if shape[0] > shape[1] else (short, long)


def _bucket(size: int, aspect: float) -> Shape:
    """The nearest to an aspect that multiples of MULTIPLE give with about `size`² pixels."""
    width = size * math.sqrt(aspect)
    sides = range(MULTIPLE, 2 * math.ceil(width), MULTIPLE)
    near = [side for side in product(sides, sides) if abs(math.log(math.prod(side) / size**2)) < 0.2]
    return _nearest(near, (aspect, 1), width)


def _nearest(shapes: list[Shape], shape: tuple[float, float], width: float) -> Shape:
    """The shape of the nearest aspect; of those that differ by a fraction of ALIKE, that of the nearest width."""
    return min(shapes, key=lambda each: (int(2 * _difference(each, shape) / ALIKE), abs(each[0] - width)))


def _difference(one: tuple[float, float], other: tuple[float, float]) -> float:
    """How far two aspect ratios are apart, relative; the same for both turned."""
    return abs(math.log(one[0] * other[1] / (one[1] * other[0])))
