"""Mutated files of every format: nothing comes out of the decoder but pictures and DecodeError."""

import os
import zlib
from collections import Counter

import numpy as np
import pytest
from corpus import corpus

from alia_ray.decoding import opening
from alia_ray.images import DecodeError, decode_rgb, plain_rgb

SEED = 7
FEW = int(os.environ.get("ALIA_RAY_FUZZ", "2000"))  # how many files the short test mutates
EDGES = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff", b"\x80\0", b"\0\1")


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to four flips, cuts, splices with another file, extreme numbers or repeated pieces."""
    for _ in range(rng.integers(1, 5)):
        # Most headers are short, and at the start: half of the changes fall there.
        end = max(1, len(data) if rng.random() < 0.5 else min(len(data), 200))
        place, length = int(rng.integers(end)), int(rng.integers(1, 40))
        match rng.integers(7):
            case 0 | 1:
                data = (
                    data[:place]
                    + bytes([(data[place] if data else 0) ^ 1 << int(rng.integers(8))])
                    + data[place + 1 :]
                )
            case 2:
                data = data[:place] if rng.random() < 0.3 else data[:place] + data[place + length :]
            case 3:
                start = int(rng.integers(max(1, len(other))))
                data = data[:place] + other[start : start + length * 8] + data[place:]
            case 4:
                edge = EDGES[rng.integers(len(EDGES))]
                data = data[:place] + edge + data[place + len(edge) :]
            case 5:
                data = data[: place + length] + data[place:]
            case 6:
                data = data[:place] + rng.integers(0, 256, length, np.uint8).tobytes() + data[place + length :]
    return data


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them now, so that they are read."""
    repaired, place = png[:8], 8
    while place + 12 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4], "big")
        content = png[place + 4 : end]
        repaired += png[place : place + 4] + content + zlib.crc32(content).to_bytes(4, "big")
        place = end + 4
    return repaired


def decoded(count: int, seed: int) -> Counter[str]:
    """Mutate and decode `count` files: how many were pictures and how many errors. Raises what leaks."""
    rng = np.random.default_rng(seed)
    files = [sample.data for sample in corpus() if sample.name.split("-")[1] == "0" and len(sample.data) < 20_000]
    outcomes: Counter[str] = Counter()
    for number in range(count):
        data = mutated(files[rng.integers(len(files))], files[rng.integers(len(files))], rng)
        if data.startswith(b"\x89PNG\r\n\x1a\n") and rng.random() < 0.7:
            data = with_checksums(data)
        try:
            stored, picture = plain_rgb(data)
        except DecodeError:
            outcomes["errors"] += 1
            continue
        assert (picture.mode, decode_rgb(stored).size) == ("RGB", picture.size), f"file {number} of seed {seed}"
        outcomes["pictures"] += 1
    return outcomes


@pytest.fixture
def small_pictures(monkeypatch):
    """A smaller limit for bombs, so that no mutated width of a header takes a gigabyte to refuse."""
    monkeypatch.setattr(opening, "MOST_PIXELS", 1_000_000)


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_pictures_or_decode_errors(small_pictures):
    outcomes = decoded(FEW, SEED)
    assert min(outcomes["pictures"], outcomes["errors"]) > FEW // 10  # else it tests little


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_twenty_thousand_mutated_files_are_pictures_or_decode_errors(small_pictures):
    assert decoded(20_000, SEED + 1).total() == 20_000
