"""What an experiment says: means, deviations, intervals and paired differences. Pure functions.

Arms of a seed are measured on the same test images, so their differences are paired by image and by seed;
`intervals` says how an interval comes about.

The worst of the groups as measured lies below the truth: which group it is, is partly the chance of its images. So
its interval ends above where it does for a worst group that was chosen on one half of the test images and measured
on the other, which lies above the truth on average; each half is chosen on in turn. Where one group is clearly the
worst the two are the same. With more than MOST_GROUPS they say hardly anything, and there is no interval.

A class or group of fewer than FEWEST test images may be right or wrong in nearly all of them by chance, and seem
certain. Then class-balanced accuracy, or the worst group, has no interval either.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.errors import StageError, shortened
from alia_ray.statistics.intervals import Interval, Measured, between

METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy", "macro_f1")
WITH_INTERVAL = METRICS[:3]
WORST = "worst_group_accuracy"
MOST_GROUPS = 10
FEWEST = 20
Bounds = tuple[Measured, Measured]  # what lies below the truth on average, and what above; most often the same


@dataclass(frozen=True)
class Outcome:
    """One arm of one seed."""

    arm: str
    seed: int
    facts: dict[str, Any]  # what is told of it: images added, epochs, the classifier's place
    metrics: dict[str, Any]  # as `evaluate.summarise` gives them
    predictions: pa.Table  # id, label, group and predicted


def compare(
    outcomes: Sequence[Outcome], base: str, controls: Mapping[str, str], fresh_draws: bool = True
) -> dict[str, dict[str, Any]]:
    """arm -> mean, std, interval, seeds, and the differences to `base` and, by `controls`, to the arm's control.

    Shares are in [0, 1]; std is that of a sample, and None for a single seed; an interval is [low, high], or None
    where there is none. Without `fresh_draws` all seeds are said to share their test set.

    Raises StageError, naming the arms, where they differ in their seeds or in what they were measured on.
    """
    of_arm: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        of_arm.setdefault(outcome.arm, []).append(outcome)
    check_alike(of_arm, base, fresh_draws)
    measured = {arm: _measured(found) for arm, found in of_arm.items()}
    compared = {}
    for arm, found in of_arm.items():
        compared[arm] = {
            **_summary(found, measured[arm]),
            "difference": None if arm == base else _difference(base, of_arm, measured, arm),
            "control": _difference(controls[arm], of_arm, measured, arm) if arm in controls else None,
        }
    return compared


# ------------------------------------------------------------------ what may be compared


def check_alike(of_arm: Mapping[str, list[Outcome]], base: str, fresh_draws: bool) -> None:
    """Raise StageError unless arms of a seed, and seeds of a shared test set, were measured on the same."""
    seeds = [outcome.seed for outcome in of_arm[base]]
    others = [arm for arm, found in of_arm.items() if [outcome.seed for outcome in found] != seeds]
    if others:
        raise StageError(
            f"arms cannot be compared over different seeds: {shortened(others)} and {base} (seeds {seeds})"
        )
    tests = [_test_set(outcome) for outcome in of_arm[base]]
    for arm, found in of_arm.items():
        for outcome, test in zip(found, tests, strict=True):
            _refuse_unlike(f"{arm} and {base} of seed {outcome.seed}", _test_set(outcome), test)
    if not fresh_draws:
        for seed, test in zip(seeds, tests, strict=True):
            _refuse_unlike(f"the arms of seeds {seed} and {seeds[0]} (which share a test set)", test, tests[0])


def _test_set(outcome: Outcome) -> pa.Table:
    """The images that it was measured on: id, label and group ("" for none), ordered by id."""
    found = outcome.predictions.select(["id", "label", "group"]).sort_by("id")
    return found.set_column(2, "group", pc.fill_null(found.column("group").cast(pa.string()), ""))


def _refuse_unlike(who: str, one: pa.Table, other: pa.Table) -> None:
    """Raise StageError where two test sets differ."""
    if one == other:
        return
    ids = [set(test.column("id").to_pylist()) for test in (one, other)]
    if apart := ids[0] ^ ids[1]:
        what = f"{len(apart)} images of {one.num_rows} and {other.num_rows} are in one test set only"
    else:
        rows = [set(zip(*test.to_pydict().values(), strict=True)) for test in (one, other)]
        apart = {image_id for image_id, *_ in rows[0] ^ rows[1]}
        what = f"{len(apart)} images have another label or group"
    raise StageError(
        f"{who} were not measured on the same: {what}: {shortened(sorted(apart))}. Evaluate them on one test set, "
        "or begin a run folder for the other one."
    )


# -------------------------------------------------------------------- what is said of them


def _summary(found: list[Outcome], measured: dict[str, Bounds]) -> dict[str, Any]:
    values = {metric: [outcome.metrics[metric] for outcome in found] for metric in METRICS}
    return {
        "mean": {metric: statistics.mean(of_seeds) for metric, of_seeds in values.items()},
        "std": {m: statistics.stdev(v) if len(v) > 1 else None for m, v in values.items()},
        "interval": {metric: _ends(between(*bounds)) for metric, bounds in measured.items()} | _none(measured),
        "seeds": [
            {"seed": each.seed, **each.facts, **{metric: each.metrics[metric] for metric in METRICS}}
            for each in found
        ],
    }


def _difference(
    to: str, of_arm: dict[str, list[Outcome]], measured: dict[str, dict[str, Bounds]], arm: str
) -> dict[str, Any]:
    """An arm against another one: the mean of the seeds' differences, its interval, and its p-value.

    The same classifiers (two filters that kept the same edits) differ by nothing, and no p-value asks whether.
    """
    pairs = list(zip(of_arm[arm], of_arm[to], strict=True))
    ends, chances = {metric: [0.0, 0.0] for metric in WITH_INTERVAL}, dict.fromkeys(WITH_INTERVAL)
    if not all(_is_same_classifier(a, b) for a, b in pairs):
        found = {m: between(*_apart(mine, measured[to][m])) for m, mine in measured[arm].items()}
        ends = {metric: _ends(each) for metric, each in found.items()} | _none(found)
        chances = {metric: each.p for metric, each in found.items()} | _none(found)
    return {
        "to": to,
        "mean": {m: statistics.mean(a.metrics[m] - b.metrics[m] for a, b in pairs) for m in METRICS},
        "interval": ends,
        "p": chances,
    }


def _apart(one: Bounds, other: Bounds) -> Bounds:
    """Bounds of a difference: at the least the one's lower bound above the other's upper."""
    below = one[0].minus(other[1])
    if one[0] is one[1] and other[0] is other[1]:
        return below, below
    return below, one[1].minus(other[0])


def _is_same_classifier(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes lie in one place. That both predict the same may be a shortcut that both took."""
    place = one.facts.get("classifier")
    return place is not None and place == other.facts.get("classifier")


def _ends(found: Interval) -> list[float]:
    return [found.low, found.high]


def _none(found: Mapping[str, Any]) -> dict[str, None]:
    """None for each metric that is not among `found`."""
    return {metric: None for metric in WITH_INTERVAL if metric not in found}


# -------------------------------------------------------------- what each image had to do with it


@dataclass(frozen=True, eq=False)
class _Share:
    """A metric of one seed: the mean over parts of the test set of the share of right ones in each."""

    value: float
    moved: np.ndarray  # (images,): how far each image moved it
    images: float  # of equal weight, as many as count as much (Kish)


def _measured(found: list[Outcome]) -> dict[str, Bounds]:
    """metric -> its bounds in all seeds; those are left out that have no interval in one of them."""
    tables = [outcome.predictions.sort_by("id") for outcome in found]
    of_seeds, ids = [_shares(table) for table in tables], [table.column("id") for table in tables]
    known = pa.chunked_array([part for of_seed in ids for part in of_seed.chunks]).unique()
    places = [pc.index_in(of_seed, known).to_numpy() for of_seed in ids]
    measured = {}
    for metric in WITH_INTERVAL:
        if all(metric in shares for shares in of_seeds):
            below, above = zip(*(shares[metric] for shares in of_seeds), strict=True)
            lower = _together(below, places)
            measured[metric] = (lower, lower if below == above else _together(above, places))
    return measured


def _together(shares: Sequence[_Share], places: Sequence[np.ndarray]) -> Measured:
    """A metric in all seeds. `places` of a seed's images: theirs among the images of all seeds."""
    drawn = sum(len(of_seed) for of_seed in places)
    known = 1 + max(int(of_seed.max()) for of_seed in places)
    moved = np.zeros((len(shares), known))
    for row, (share, of_seed) in enumerate(zip(shares, places, strict=True)):
        moved[row, of_seed] = share.moved
    images = sum(share.images for share in shares) * known / drawn
    return Measured(np.array([share.value for share in shares]), moved, images)


def _shares(predictions: pa.Table) -> dict[str, tuple[_Share, _Share]]:
    """metric -> what lies below the truth on average, and what above."""
    right = pc.equal(predictions.column("label"), predictions.column("predicted")).to_numpy().astype(float)
    everything = _share([np.ones(len(right), dtype=bool)], right)
    found = {"accuracy": (everything, everything)}
    classes = _parts(predictions.column("label"))
    if _smallest(classes) >= FEWEST:
        by_class = _share(classes, right)
        found["class_balanced_accuracy"] = (by_class, by_class)
    groups = _parts(predictions.column("group"))
    if not groups:
        found[WORST] = (everything, everything)
    elif len(groups) <= MOST_GROUPS and _smallest(groups) >= FEWEST:
        found[WORST] = (_share([_worst(groups, right)], right), _of_halves(groups, right))
    return found


def _parts(names: pa.ChunkedArray) -> list[np.ndarray]:
    """The images of each name, as bool (images,); those whose name is null or "" are in none."""
    filled = pc.fill_null(names.cast(pa.string()), "")
    known = sorted(name for name in filled.unique().to_pylist() if name)
    place = pc.fill_null(pc.index_in(filled, pa.array(known, pa.string())), -1).to_numpy()
    return [place == number for number in range(len(known))]


def _smallest(parts: list[np.ndarray]) -> int:
    return min(int(members.sum()) for members in parts)


def _worst(groups: list[np.ndarray], right: np.ndarray) -> np.ndarray:
    return min(groups, key=lambda members: right[members].mean())


def _of_halves(groups: list[np.ndarray], right: np.ndarray) -> _Share:
    """The worst group chosen on one half of each group and measured on the other, and the other way round."""
    halves: list[list[np.ndarray]] = [[], []]
    for members in groups:
        is_odd = np.cumsum(members) % 2 == 1
        halves[0].append(members & is_odd)
        halves[1].append(members & ~is_odd)
    chosen = [min(range(len(groups)), key=lambda place, half=half: right[half[place]].mean()) for half in halves]
    return _share([halves[1][chosen[0]], halves[0][chosen[1]]], right)


def _share(parts: list[np.ndarray], right: np.ndarray) -> _Share:
    """The mean over parts, each bool (images,), of the share of right ones."""
    moved, weights = np.zeros(len(right)), np.zeros(len(right))
    for members in parts:
        weights[members] = 1 / (members.sum() * len(parts))
        moved[members] = weights[members] * (right[members] - right[members].mean())
    return _Share(float(weights @ right), moved, float(1 / (weights**2).sum()))
