"""Files as the world has them, made with a fixed seed: good ones whose pixels are known, odd ones and bad ones.

What a picture looks like is computed from the numbers that it was made of (`corpus.expected`), by no decoder.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from corpus import bad, photos, plain, shapes, tiffs

SEED = 20240614
ROUNDS = 2  # of every good kind, with other pixels


@dataclass(frozen=True)
class Sample:
    """One file."""

    name: str  # unique; of what it is, with an ending
    data: bytes
    pixels: np.ndarray | None  # uint8 (H, W, 3); None where it must be refused
    tolerance: int = 0  # levels of 255 that a pixel may be off
    says: str = ""  # what the reason of a refusal holds


@cache
def corpus() -> tuple[Sample, ...]:
    """All files, the same in every process."""
    rng = np.random.default_rng(SEED)
    samples = []
    for number in range(ROUNDS):
        for maker in (*plain.MAKERS, *tiffs.MAKERS, *photos.MAKERS, *shapes.MAKERS):
            kind = maker.__name__
            samples += [Sample(f"{kind}-{number}-{name}", *made) for name, *made in maker(rng)]
    samples += [Sample(f"bad-{name}", data, None, says=says) for name, data, says in bad.files(rng)]
    assert len({sample.name for sample in samples}) == len(samples)
    pictures = [sample.pixels for sample in samples if sample.pixels is not None]
    assert len({(each.shape, each.tobytes()) for each in pictures}) == len(pictures)  # `ingest` leaves out twins
    return tuple(samples)
