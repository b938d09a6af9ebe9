"""What an experiment says: means, deviations, bootstrap intervals and paired differences. Pure functions.

An interval is the middle 95 % of what the mean might have been, by both sources of chance. Test images are drawn
with replacement within each seed. Seeds are too few for that (three of them agree by chance one time in four), so
what other seeds would have given is drawn from Student's t. Arms of one seed share the drawn images, so the
interval of a difference between two arms is that of paired tests.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alia_ray.store.tables import seed_of

METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy", "macro_f1")
RESAMPLED = METRICS[:3]  # those with an interval
RESAMPLES = 2000


@dataclass(frozen=True)
class Outcome:
    """One arm of one seed."""

    arm: str
    seed: int
    facts: dict[str, Any]  # what is told of it: images added, epochs, the classifier's place
    metrics: dict[str, Any]  # as `evaluate.summarise` gives them
    predictions: pa.Table  # id, label, group and predicted, ordered by id


def compare(outcomes: Sequence[Outcome], base: str, controls: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """arm -> mean, std, interval, seeds, and the differences to `base` and, by `controls`, to the arm's control.

    Every arm has the same seeds. Shares are in [0, 1]; std is that of a sample, and None for a single seed.
    """
    of_arm: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        of_arm.setdefault(outcome.arm, []).append(outcome)
    drawn = {arm: _resample(found) for arm, found in of_arm.items()}
    compared = {}
    for arm, found in of_arm.items():
        compared[arm] = {
            **_summary(found, drawn[arm]),
            "difference": None if arm == base else _difference(base, of_arm, drawn, arm),
            "control": _difference(controls[arm], of_arm, drawn, arm) if arm in controls else None,
        }
    return compared


def _summary(found: list[Outcome], drawn: dict[str, np.ndarray]) -> dict[str, Any]:
    values = {metric: [outcome.metrics[metric] for outcome in found] for metric in METRICS}
    return {
        "mean": {metric: statistics.mean(of_seeds) for metric, of_seeds in values.items()},
        "std": {m: statistics.stdev(v) if len(v) > 1 else None for m, v in values.items()},
        "interval": {metric: _interval(drawn[metric], 0.0) for metric in RESAMPLED},
        "seeds": [
            {"seed": each.seed, **each.facts, **{metric: each.metrics[metric] for metric in METRICS}}
            for each in found
        ],
    }


def _difference(
    to: str, of_arm: dict[str, list[Outcome]], drawn: dict[str, dict[str, np.ndarray]], arm: str
) -> dict[str, Any]:
    """An arm against another one: the mean of the seeds' differences, and its interval."""
    pairs = list(zip(of_arm[arm], of_arm[to], strict=True))
    return {
        "to": to,
        "mean": {m: statistics.mean(a.metrics[m] - b.metrics[m] for a, b in pairs) for m in RESAMPLED},
        "interval": {metric: _interval(drawn[arm][metric] - drawn[to][metric], -1.0) for metric in RESAMPLED},
    }


def _interval(drawn: np.ndarray, least: float) -> list[float]:
    """The middle 95 % of the mean over seeds. drawn: (RESAMPLES, seeds), each at least `least` and at most 1."""
    seeds = drawn.shape[1]
    means = drawn.mean(axis=1)
    if seeds > 1:
        chance = np.random.default_rng(seeds).standard_t(seeds - 1, size=len(drawn))
        means = means + chance * drawn.std(axis=1, ddof=1) / np.sqrt(seeds)
    return [float(value) for value in np.quantile(means, (0.025, 0.975)).clip(least, 1.0)]


def _resample(found: list[Outcome]) -> dict[str, np.ndarray]:
    """metric -> (RESAMPLES, seeds): its value in each draw of the test images of each seed.

    What is drawn depends on the test ids alone, and so is the same for every arm.
    """
    of_seeds = [_resample_images(outcome.predictions) for outcome in found]
    return {metric: np.stack([each[metric] for each in of_seeds], axis=1) for metric in RESAMPLED}


def _resample_images(predictions: pa.Table) -> dict[str, np.ndarray]:
    """metric -> its value in each of RESAMPLES draws of the test images, with replacement."""
    label, group, predicted = (
        np.array([value or "" for value in predictions.column(name).to_pylist()])
        for name in ("label", "group", "predicted")
    )
    images = len(label)
    rng = np.random.default_rng(seed_of("bootstrap", *predictions.column("id").to_pylist()))
    times = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float32)
    right = (label == predicted).astype(np.float32)
    accuracy = times @ right / images
    worst = np.fmin.reduce(_shares(times, right, group), axis=1, initial=np.inf)
    return {
        "accuracy": accuracy,
        "class_balanced_accuracy": np.nanmean(_shares(times, right, label), axis=1),
        "worst_group_accuracy": np.where(np.isfinite(worst), worst, accuracy),
    }


def _shares(times: np.ndarray, right: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The share of right predictions in each part: (RESAMPLES, parts); NaN where none of a part was drawn.

    Images whose part is "" are in none.
    """
    member = (part[:, None] == np.unique(part[part != ""])[None, :]).astype(np.float32)
    with np.errstate(invalid="ignore"):
        return times @ (member * right[:, None]) / (times @ member)
