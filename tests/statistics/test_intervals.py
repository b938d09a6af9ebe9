"""Intervals hold the truth as often as they say: simulated, with fixed seeds."""

import numpy as np
import pytest
import torch

from alia_ray.statistics.intervals import Measured, beyond_student, interval

REPEATS = 1500


def measured(right: np.ndarray, is_shared: bool) -> Measured:
    """The accuracy of an arm: bool (seeds, images)."""
    seeds, images = right.shape
    of_seeds = (right - right.mean(axis=1, keepdims=True)) / images
    if is_shared:
        return Measured(right.mean(axis=1), of_seeds, images)
    moved = np.zeros((seeds, seeds * images))
    for seed in range(seeds):
        moved[seed, seed * images : (seed + 1) * images] = of_seeds[seed]
    return Measured(right.mean(axis=1), moved, seeds * images)


def draw(
    rng: np.random.Generator, share: float, seeds_differ: float, difficulty: np.ndarray, spread: float
) -> np.ndarray:
    """Who is right: bool (seeds, images). `difficulty` is of deviation `spread`; seeds lie around `share`."""
    ease = torch.special.ndtri(torch.tensor(share, dtype=torch.float64)).item() * np.sqrt(1 + spread**2)
    chances = torch.special.ndtr(torch.from_numpy(ease + difficulty)).numpy()
    seeds = len(difficulty)
    return rng.random(difficulty.shape) < chances + rng.normal(0, seeds_differ, (seeds, 1))


def coverage(
    shares: tuple[float, float], seeds: int, is_shared: bool, seeds_differ: float = 0, spread: float = 0
) -> tuple[float, float]:
    """How often the interval of the first arm, and of its difference to the second, hold the truth."""
    rng, images, held = np.random.default_rng(seeds), 300, np.zeros(2)
    for _ in range(REPEATS):
        difficulty = rng.normal(0, spread, (1 if is_shared else seeds, images)).repeat(
            seeds if is_shared else 1, 0
        )
        one, other = (measured(draw(rng, s, seeds_differ, difficulty, spread), is_shared) for s in shares)
        found = interval(one), interval(one.minus(other))
        truths = shares[0], shares[0] - shares[1]
        held += [each.low - 1e-9 <= true <= each.high + 1e-9 for each, true in zip(found, truths, strict=True)]
    return tuple(held / REPEATS)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("seeds_differ", [0, 0.03])
@pytest.mark.parametrize(("is_shared", "spread"), [(False, 0), (True, 0), (True, 1.5)])
def test_of_a_hundred_intervals_ninety_five_hold_the_truth(seeds, seeds_differ, is_shared, spread):
    for held in coverage((0.7, 0.65), seeds, is_shared, seeds_differ, spread):
        assert 0.93 <= held <= 0.97


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("is_shared", [False, True])
@pytest.mark.parametrize("shares", [(0.9995, 0.999), (0.998, 0.9995), (0.99, 0.985), (0.0005, 0.001)])
def test_near_all_and_nothing_no_fewer_do(seeds, is_shared, shares):
    assert min(coverage(shares, seeds, is_shared)) >= 0.93


def test_where_every_seed_is_right_about_every_image_there_is_still_chance():
    everything, nothing = (measured(np.full((3, 60), right), False) for right in (True, False))
    for found, mean in (
        (interval(everything), 1),
        (interval(nothing), 0),
        (interval(everything.minus(everything)), 0),
        (interval(everything.minus(nothing)), 1),
    ):
        assert found.low <= mean <= found.high
        assert 0.01 < found.high - found.low < 0.06  # three in 180, and not more than twice that
    assert interval(everything.minus(everything)).p == 1
    assert interval(everything.minus(nothing)).p < 1e-6


def test_a_shared_test_set_with_nothing_wrong_counts_its_images_once():
    right = np.full((3, 60), True)
    assert interval(measured(right, True)).low < 1 - 2 * (1 - interval(measured(right, False)).low)


def test_seeds_that_agree_by_chance_leave_an_interval():
    right = np.zeros((3, 60), dtype=bool)
    right[:, :30] = True
    found = interval(measured(right, False))
    assert found.high - found.low > 0.1


def test_a_single_seed_has_the_chance_of_its_images_alone():
    rng, held, apart = np.random.default_rng(0), 0, 0
    for _ in range(REPEATS):
        share = rng.normal(0.7, 0.05)
        found = interval(measured(rng.random((1, 300)) < share, True))
        held += found.low <= share <= found.high
        apart += found.low <= 0.7 <= found.high
    assert 0.93 <= held / REPEATS <= 0.97
    assert apart / REPEATS < 0.9  # of what other seeds would give it knows nothing


def test_an_interval_holds_zero_where_the_chance_of_zero_is_above_one_in_twenty():
    rng = np.random.default_rng(0)
    for _ in range(300):
        one, other = (measured(rng.random((3, 60)) < 0.8, False) for _ in range(2))
        found = interval(one.minus(other))
        assert (found.low <= 0 <= found.high) == (found.p >= 0.05)


@pytest.mark.parametrize(
    ("freedom", "distance"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (30, 2.04227)]
)
def test_students_t_is_that_of_the_tables(freedom, distance):
    assert beyond_student(distance, freedom) == pytest.approx(0.05, abs=1e-6)
