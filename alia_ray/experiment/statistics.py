"""What an experiment says: means, deviations, intervals and paired differences. Pure functions.

Arms of a seed are measured on the same test images, so their differences are paired by image and by seed;
`intervals` says how an interval comes about. Of the worst group it tells what other seeds and test sets of this
size would give as *their* worst group. The more groups there are, the further that lies below the true one, so
with more than MOST_GROUPS there is no interval of it.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.errors import StageError, shortened
from alia_ray.experiment.intervals import FEW, Interval, Measured, interval

METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy", "macro_f1")
WITH_INTERVAL = METRICS[:3]
WORST = "worst_group_accuracy"
MOST_GROUPS = 10


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


def _summary(found: list[Outcome], measured: dict[str, Measured]) -> dict[str, Any]:
    values = {metric: [outcome.metrics[metric] for outcome in found] for metric in METRICS}
    return {
        "mean": {metric: statistics.mean(of_seeds) for metric, of_seeds in values.items()},
        "std": {m: statistics.stdev(v) if len(v) > 1 else None for m, v in values.items()},
        "interval": {metric: _ends(interval(measured[metric])) for metric in measured} | _none(measured),
        "seeds": [
            {"seed": each.seed, **each.facts, **{metric: each.metrics[metric] for metric in METRICS}}
            for each in found
        ],
    }


def _difference(
    to: str, of_arm: dict[str, list[Outcome]], measured: dict[str, dict[str, Measured]], arm: str
) -> dict[str, Any]:
    """An arm against another one: the mean of the seeds' differences, its interval, and its p-value.

    The same classifiers (two filters that kept the same edits) differ by nothing, and no p-value asks whether.
    """
    pairs = list(zip(of_arm[arm], of_arm[to], strict=True))
    ends, chances = {metric: [0.0, 0.0] for metric in WITH_INTERVAL}, dict.fromkeys(WITH_INTERVAL)
    if not all(_is_same_classifier(a, b) for a, b in pairs):
        found = {m: interval(mine.minus(measured[to][m])) for m, mine in measured[arm].items()}
        ends = {metric: _ends(each) for metric, each in found.items()} | _none(found)
        chances = {metric: each.p for metric, each in found.items()} | _none(found)
    return {
        "to": to,
        "mean": {m: statistics.mean(a.metrics[m] - b.metrics[m] for a, b in pairs) for m in WITH_INTERVAL},
        "interval": ends,
        "p": chances,
    }


def _is_same_classifier(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes lie in one place, or are wrong in so many images alike that it cannot be chance."""
    place = one.facts.get("classifier")
    if place is not None and place == other.facts.get("classifier"):
        return True
    mine, theirs = (each.predictions.sort_by("id") for each in (one, other))
    wrong = pc.sum(pc.not_equal(mine.column("predicted"), mine.column("label"))).as_py()
    return mine.column("predicted") == theirs.column("predicted") and wrong >= FEW


def _ends(found: Interval) -> list[float]:
    return [found.low, found.high]


def _none(found: Mapping[str, Any]) -> dict[str, None]:
    """None for each metric that is not among `found`."""
    return {metric: None for metric in WITH_INTERVAL if metric not in found}


# -------------------------------------------------------------- what each image had to do with it


def _measured(found: list[Outcome]) -> dict[str, Measured]:
    """metric -> its values, and how far each image moved them; images of all seeds in one order."""
    ids = pa.chunked_array([part for each in found for part in each.predictions.column("id").chunks])
    known = ids.unique()
    of_seeds = [_moved(outcome.predictions) for outcome in found]
    measured = {}
    for metric in WITH_INTERVAL:
        if any(metric not in of_seed for of_seed in of_seeds):
            continue
        moved, images = np.zeros((len(found), len(known))), 0.0
        for row, (outcome, of_seed) in enumerate(zip(found, of_seeds, strict=True)):
            places = pc.index_in(outcome.predictions.column("id"), known).to_numpy()
            moved[row, places], count = of_seed[metric]
            images += count
        values = np.array([outcome.metrics[metric] for outcome in found])
        measured[metric] = Measured(values, moved, images * len(known) / len(ids))
    return measured


def _moved(predictions: pa.Table) -> dict[str, tuple[np.ndarray, float]]:
    """metric -> how far each image moved it, and as how many images of equal weight they count (Kish).

    A metric is a weighted mean of right and wrong over parts of the test set: one part, a part for each class, or
    the worst group. The worst of more than MOST_GROUPS is left out.
    """
    right = pc.equal(predictions.column("label"), predictions.column("predicted")).to_numpy().astype(float)
    everything = _moved_by([np.ones(len(right), dtype=bool)], right)
    found = {
        "accuracy": everything,
        "class_balanced_accuracy": _moved_by(_parts(predictions.column("label")), right),
    }
    groups = _parts(predictions.column("group"))
    if not groups:
        found[WORST] = everything
    elif len(groups) <= MOST_GROUPS:
        found[WORST] = _moved_by([min(groups, key=lambda members: right[members].mean())], right)
    return found


def _parts(names: pa.ChunkedArray) -> list[np.ndarray]:
    """The images of each name, as bool (images,); those whose name is null or "" are in none."""
    filled = pc.fill_null(names.cast(pa.string()), "")
    known = sorted(name for name in filled.unique().to_pylist() if name)
    place = pc.fill_null(pc.index_in(filled, pa.array(known, pa.string())), -1).to_numpy()
    return [place == number for number in range(len(known))]


def _moved_by(parts: list[np.ndarray], right: np.ndarray) -> tuple[np.ndarray, float]:
    """How far each image moved the mean over parts of the share of right ones; images of equal weight."""
    moved, weights = np.zeros(len(right)), np.zeros(len(right))
    for members in parts:
        weights[members] = 1 / (members.sum() * len(parts))
        moved[members] = weights[members] * (right[members] - right[members].mean())
    return moved, float(1 / (weights**2).sum())
