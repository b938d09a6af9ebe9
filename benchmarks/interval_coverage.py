"""How often do the intervals of an experiment hold the truth? Simulated, since only then is the truth known.

    python benchmarks/interval_coverage.py --out benchmarks/coverage.json

A world says how right the arms are, by how much seeds differ (their deviation, of the share of right predictions),
by how much images do (the deviation of their difficulty, in units of the normal deviate), and whether all seeds
share one test set. Outcomes are drawn from it again and again and go through `compare`, as those of an experiment
do. The truth is what infinitely many seeds and images would give. All groups are equally hard, which for the worst
of them is the hardest case: as measured it lies furthest below the truth.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from alia_ray.statistics.comparing import Outcome, compare

CLASSES = ("a", "b")
GROUPS = 4
HELD = ("arm", "difference", "worst group", "its difference")


@dataclass(frozen=True)
class World:
    """What is drawn: the arm and the base it is compared to."""

    name: str
    right: float  # the arm's share of right predictions
    base: float
    seeds_differ: float = 0.0
    images_differ: float = 0.0
    is_shared: bool = False
    seeds: int = 3
    images: int = 480


WORLDS = (
    World("fresh", 0.70, 0.65),
    World("fresh, seeds differ", 0.70, 0.65, seeds_differ=0.03),
    World("shared", 0.70, 0.65, is_shared=True),
    World("shared, images differ", 0.70, 0.65, images_differ=1.5, is_shared=True),
    World("shared, images and seeds differ", 0.70, 0.65, seeds_differ=0.02, images_differ=1.5, is_shared=True),
    World("fresh, 98 and 95 %", 0.98, 0.95),
    World("fresh, 99.8 and 99.5 %", 0.998, 0.995),
    World("fresh, 99.95 and 99.9 %", 0.9995, 0.999),
    World("shared, 99.8 and 99.5 %", 0.998, 0.995, is_shared=True),
)


def main() -> None:
    """Draw every world with each number of seeds, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10])
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(as_row(["world", "seeds", *HELD]), as_row(["---"] * (2 + len(HELD))), sep="\n")
    for world in WORLDS:
        for seeds in options.seeds:
            held = coverage(replace(world, seeds=seeds), options.repeats)
            rows.append({"world": world.name, "seeds": seeds, "repeats": options.repeats, **held})
            print(as_row([world.name, str(seeds), *(f"{100 * held[name]:.1f}" for name in HELD)]), flush=True)
            if options.out:
                options.out.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


def as_row(cells: list[str]) -> str:
    """A row of a table, as Markdown."""
    return f"| {' | '.join(cells)} |"


def coverage(world: World, repeats: int) -> dict[str, float]:
    """The share of intervals that hold the truth."""
    rng = np.random.default_rng(0)
    truths = (world.right, world.right - world.base) * 2
    held = dict.fromkeys(HELD, 0)
    for many in outcomes(world, repeats, rng):
        found = compare(many, "base", {}, fresh_draws=not world.is_shared)["arm"]
        own, apart = found["interval"], found["difference"]["interval"]
        ends = [which[metric] for metric in ("accuracy", "worst_group_accuracy") for which in (own, apart)]
        for name, truth, (low, high) in zip(HELD, truths, ends, strict=True):
            held[name] += low - 1e-9 <= truth <= high + 1e-9
    return {name: count / repeats for name, count in held.items()}


def outcomes(world: World, repeats: int, rng: np.random.Generator) -> Iterator[list[Outcome]]:
    """Both arms of every seed, again and again."""
    numbers = np.arange(world.images)
    classes, of_class = np.array(CLASSES), numbers % len(CLASSES)
    groups = pa.array([f"group {number % GROUPS}" for number in numbers])
    ids = [pa.array([f"{seed}/{number:05d}" for number in numbers]) for seed in range(world.seeds)]
    for _ in range(repeats):
        found, difficulty = [], rng.normal(0, world.images_differ, world.images)
        for seed in range(world.seeds):
            if not world.is_shared:
                difficulty = rng.normal(0, world.images_differ, world.images)
            for arm, share in (("arm", world.right), ("base", world.base)):
                right = rng.random(world.images) < chances(share, difficulty, world, rng)
                columns = {
                    "id": ids[0 if world.is_shared else seed],
                    "label": pa.array(classes[of_class]),
                    "group": groups,
                    "predicted": pa.array(classes[np.where(right, of_class, 1 - of_class)]),
                }
                found.append(
                    Outcome(arm, seed, {}, metrics_of(right, of_class, numbers % GROUPS), pa.table(columns))
                )
        yield found


def metrics_of(right: np.ndarray, of_class: np.ndarray, of_group: np.ndarray) -> dict[str, float]:
    """What `compare` reads of an arm's metrics; F1 has no interval and is left at 0."""
    shares = [[right[of == part].mean() for part in np.unique(of)] for of in (of_class, of_group)]
    return {
        "accuracy": right.mean(),
        "class_balanced_accuracy": np.mean(shares[0]),
        "worst_group_accuracy": min(shares[1]),
        "macro_f1": 0.0,
    }


def chances(share: float, difficulty: np.ndarray, world: World, rng: np.random.Generator) -> np.ndarray:
    """How likely an arm of a seed is to be right about each image; over images and seeds their mean is `share`."""
    ease = NormalDist().inv_cdf(share) * np.sqrt(1 + world.images_differ**2)
    normal = torch.special.ndtr(torch.from_numpy(ease + difficulty)).numpy()
    return (normal + rng.normal(0, world.seeds_differ)).clip(0, 1)


if __name__ == "__main__":
    main()
