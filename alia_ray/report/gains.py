"""What the arms gained over `original`, with the intervals that say how sure that is, as data for the template.

A gain is called better or worse only where its interval leaves out 0.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from alia_ray.config.arms import ARMS, BASE
from alia_ray.statistics.comparing import FEWEST, MOST_GROUPS
from alia_ray.statistics.parts import Part, differences

METRICS = {
    "accuracy": "Accuracy",
    "class_balanced_accuracy": "Class-balanced accuracy",
    "worst_group_accuracy": "Worst group",
    "macro_f1": "Macro F1",
}
_ON_CARDS = ("accuracy", "worst_group_accuracy")
_COLUMNS = {"per_class": "label", "per_group": "group"}


def augmented(arms: Iterable[str]) -> str | None:
    """The arm of the headline: the first one that adds discovered edits."""
    return next((name for name in arms if name in ARMS and ARMS[name].edits == "discovered"), None)


def gain(
    value: float | None,
    base: float | None,
    interval: list[float] | None = None,
    own: list[float] | None = None,
) -> dict[str, Any]:
    """A share with its `own` interval, its difference to another one with its `interval`, and what that says.

    {"value", "own", "difference", "interval", "verdict": "better", "worse" or "unclear"}; the interval of what is
    the same by definition is [0, 0].
    """
    difference = None if value is None or base is None else value - base
    verdict = "unclear"
    if difference is not None and interval is not None:
        verdict = "better" if interval[0] > 0 else "worse" if interval[1] < 0 else "unclear"
    return {"value": value, "own": own, "difference": difference, "interval": interval, "verdict": verdict}


# ------------------------------------------------------------------ one seed


def arm_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each arm: {"name", "count", "cells": a gain for each of METRICS}."""
    arms = metrics.get("arms") or {}
    return [
        {"name": name, "count": values.get("count"), "cells": [_of_metric(arms, name, key) for key in METRICS]}
        for name, values in arms.items()
    ]


def _of_metric(arms: Mapping[str, dict[str, Any]], name: str, key: str) -> dict[str, Any]:
    base = None if name == BASE.name else arms.get(BASE.name, {}).get(key)
    difference = arms[name].get("difference") or {}
    own = (arms[name].get("interval") or {}).get(key)
    return gain(arms[name].get(key), base, difference.get("interval", {}).get(key), own)


def tested_epochs(metrics: dict[str, Any]) -> dict[str, int]:
    """arm -> the epoch that validation chose, whose classifier is tested; older metrics do not say."""
    arms = metrics.get("arms") or {}
    return {name: values["best_epoch"] for name, values in arms.items() if values.get("best_epoch") is not None}


def breakdown(
    metrics: dict[str, Any], key: str, predictions: Mapping[str, pa.Table] | None = None
) -> list[dict[str, Any]]:
    """One row for each class or group of the arms' `key` ("per_class", "per_group"): {"name", "images", "cells"}.

    `images` and the intervals are known of arms with `predictions`.
    """
    arms = {name: values.get(key) or {} for name, values in (metrics.get("arms") or {}).items()}
    base, parts = arms.get(BASE.name, {}), _parts(predictions or {}, _COLUMNS[key])
    rows = []
    for row in sorted({row for values in arms.values() for row in values}):
        cells = []
        for name, values in arms.items():
            part = parts.get(name, {}).get(row)
            against = None if name == BASE.name else base.get(row)
            cells.append(gain(values.get(row), against, part.interval if part else None))
        images = next((of_arm[row].images for of_arm in parts.values() if row in of_arm), None)
        rows.append({"name": row, "images": images, "cells": cells})
    return rows


def _parts(predictions: Mapping[str, pa.Table], column: str) -> dict[str, dict[str, Part]]:
    """arm -> name of a class or group -> its difference to `original`."""
    base = predictions.get(BASE.name)
    if base is None:
        return {}
    return {name: differences(base, table, column) for name, table in predictions.items()}


def why_no_groups(metrics: dict[str, Any], predictions: Mapping[str, pa.Table]) -> str | None:
    """Why a table by group would say nothing that is not said already, a sentence; None where it would."""
    groups = {name for values in (metrics.get("arms") or {}).values() for name in values.get("per_group") or {}}
    if not groups:
        return "No table by group: no test image has a group, so the worst group is all of them."
    if len(groups) == 1:
        return f"No table by group: there is one group only, {groups.pop()}."
    table = next(iter(predictions.values()), None)
    if table is None:
        return None
    pairs = set(zip(table.column("label").to_pylist(), table.column("group").to_pylist(), strict=True))
    if len(pairs) == len({label for label, _ in pairs}) == len({group for _, group in pairs}):
        return "No table by group: each class is a group of its own, so the worst group is the worst class."
    return None


# ------------------------------------------------------------------ the cards


def cards(
    metrics: dict[str, Any],
    experiment: dict[str, Any] | None,
    predictions: Mapping[str, pa.Table] | None = None,
) -> list[dict[str, Any]]:
    """The top of the page: original against augmented, for accuracy and the worst group.

    Those of the experiment where there is one, and of this run's seed otherwise; empty until both are measured.
    Each is {"name", "arm", "before", "after": a gain, "images", "seeds", "control": None, or a gain with "to",
    "why": why it has no interval where it has none}.
    """
    arms = metrics.get("arms") or {} if experiment is None else experiment["arms"]
    arm = augmented(arms)
    if BASE.name not in arms or arm is None:
        return []
    found = [
        _of_run(arms, arm, key) if experiment is None else _of_experiment(experiment, arm, key)
        for key in _ON_CARDS
    ]
    why = _why_no_interval(predictions or {})
    return [
        {"name": METRICS[key], "arm": arm, "why": why, **card} for key, card in zip(_ON_CARDS, found, strict=True)
    ]


def _why_no_interval(predictions: Mapping[str, pa.Table]) -> str:
    """Why the worst group has none: what of the two it is, where the predictions of a seed say so."""
    table = next(iter(predictions.values()), None)
    sizes = Counter(group for group in (table.column("group").to_pylist() if table is not None else []) if group)
    if len(sizes) > MOST_GROUPS:
        return f"there are {len(sizes)} groups, more than {MOST_GROUPS}"
    if sizes and min(sizes.values()) < FEWEST:
        group = min(sizes, key=lambda name: (sizes[name], name))
        return f"the group {group} has {sizes[group]} test images, fewer than {FEWEST}"
    return f"there are more than {MOST_GROUPS} groups, or one has fewer than {FEWEST} test images"


def _of_run(arms: dict[str, Any], arm: str, key: str) -> dict[str, Any]:
    return {
        "before": arms[BASE.name].get(key),
        "after": {**_of_metric(arms, arm, key), "same": False},
        "images": arms[arm].get("count"),
        "seeds": 1,
        "control": None,
    }


def _of_experiment(experiment: dict[str, Any], arm: str, key: str) -> dict[str, Any]:
    arms = experiment["arms"]
    return {
        "before": arms[BASE.name]["mean"][key],
        "after": _of_means(arms, arm, "difference", key),
        "images": experiment["test_images"],
        "seeds": len(experiment["seeds"]),
        "control": _of_means(arms, arm, "control", key) if arms[arm]["control"] else None,
    }


def _of_means(arms: dict[str, Any], arm: str, kind: str, key: str) -> dict[str, Any]:
    """The gain of an arm's mean over seeds; `kind` is "difference" or "control"."""
    against = arms[arm][kind]
    of_both = gain(arms[arm]["mean"][key], arms[against["to"]]["mean"][key], against["interval"][key])
    return {**of_both, "difference": against["mean"][key], "to": against["to"], "same": are_same(against, key)}


def are_same(against: dict[str, Any], metric: str) -> bool:
    """Whether a difference is that of classifiers to themselves, as where two filters kept the same edits."""
    return against["interval"][metric] is not None and against["p"][metric] is None
