"""The comparison of an experiment: its tables, for Markdown, for the page and as CSV, and its charts."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alia_ray.report.charts import Chart, IntervalChart, interval_chart, line_chart
from alia_ray.report.gains import are_same
from alia_ray.statistics.comparing import FEWEST, MOST_GROUPS

Compared = dict[str, Any]  # one arm's part of experiment.json
_SHOWN = {"accuracy": "Accuracy", "worst_group_accuracy": "Worst group"}
_STANDS = "†"


@dataclass(frozen=True)
class Table:
    """A heading, the names of the columns, and rows of text."""

    heading: str
    columns: list[str]
    rows: list[list[str]]


def caption(result: dict[str, Any]) -> str:
    """What was done, and what the intervals and marks say."""
    seeds, arms = result["seeds"], result["arms"].values()
    drawn = "a fresh draw of every split for each" if result["fresh_draws"] else "the same split for all"
    spread = f"mean ± standard deviation over {len(seeds)} seeds ({drawn})"
    chance = "95 % intervals of what other seeds and other test images would give"
    if len(seeds) == 1:
        spread = f"one seed ({seeds[0]})"
        chance = "95 % intervals of what other test images would give; another seed may differ by more"
    sentences = [
        *([f"This is {result['trial']}."] if "trial" in result else []),
        f"Percent, {spread}, {result['test_images']} test images.",
        f"Every arm takes {_steps(result)}; images are added as `select.num_extra: {result['num_extra']}` says.",
        f"Differences are to `original`, in points, with {chance}.",
        f"{_STANDS} marks a difference that stands when all of its table are tested at once (Holm, 5 %).",
        "Where groups are alike, the worst as measured lies below the true one; its interval allows for that.",
    ]
    if all(arm["interval"].get("worst_group_accuracy") is None for arm in arms):
        sentences[-1] = (
            f"The worst group has no interval (–): there are more than {MOST_GROUPS} groups, or one has fewer "
            f"than {FEWEST} test images, so which is the worst is chance."
        )
    return " ".join(sentences)


def _steps(result: dict[str, Any]) -> str:
    """How alike the arms' steps are, which whole epochs leave apart. Earlier versions did not count them."""
    said = "as many optimiser steps as the original" if result["equal_steps"] else "equally many epochs"
    seeds = [
        zip(arm["seeds"], result["arms"]["original"]["seeds"], strict=True) for arm in result["arms"].values()
    ]
    times = [one["steps"] / base["steps"] for pairs in seeds for one, base in pairs if "steps" in one]
    if not times or max(times) - min(times) < 0.005:
        return said
    apart = f"{min(times):.2f} to {max(times):.2f} times as many"
    return f"{said}, but for whole epochs ({apart})" if result["equal_steps"] else f"{said} ({apart} steps)"


def is_outdated(result: dict[str, Any]) -> bool:
    """Whether an earlier version wrote it, whose intervals counted the chance of test images more than once."""
    differences = [arm[kind] for arm in result["arms"].values() for kind in ("difference", "control") if arm[kind]]
    return any("p" not in each for each in differences)


def tables(result: dict[str, Any]) -> list[Table]:
    """The arms; filtered arms against their controls; other amounts. What there is none of is left out."""
    arms: dict[str, Compared] = result["arms"]
    filtered = {name: arm for name, arm in arms.items() if arm["control"]}
    drawn_at_random = "Each filter against as many edits of each class, drawn at random"
    alone = ", one seed" if len(result["seeds"]) == 1 else ""
    found = [
        _of_arms("Arms", _plain(arms), alone),
        _of_controls(drawn_at_random, arms, filtered, alone),
        _of_arms("Other amounts of edits, for each training image", _of_amounts(arms), alone),
    ]
    return [table for table in found if table.rows]


def as_markdown(result: dict[str, Any]) -> str:
    """The caption and the tables."""
    parts = [caption(result)]
    for table in tables(result):
        lines = [table.columns, ["---"] * len(table.columns), *table.rows]
        parts += [f"{table.heading}:", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def as_csv(result: dict[str, Any]) -> str:
    """A row for each arm and metric. Shares are in [0, 1]; a cell is empty where there is no such number."""
    rows = []
    for name, arm in result["arms"].items():
        for metric, mean in arm["mean"].items():
            row = {"arm": name, "amount": arm["amount"], "metric": metric, "mean": mean, "std": arm["std"][metric]}
            row |= _ends(arm["interval"], metric, "")
            for kind in ("difference", "control"):
                if arm[kind] is not None:
                    row[f"{kind}_to"] = arm[kind]["to"]
                    row[kind] = arm[kind]["mean"].get(metric)
                    row[f"{kind}_p"] = arm[kind]["p"].get(metric)
                    row |= _ends(arm[kind]["interval"], metric, f"{kind}_")
            rows.append(row)
    columns = ["arm", "amount", "metric", "mean", "std", "low", "high"]
    for kind in ("difference", "control"):
        columns += [f"{kind}_to", kind, f"{kind}_low", f"{kind}_high", f"{kind}_p"]
    return _csv(columns, rows)


def seeds_as_csv(result: dict[str, Any]) -> str:
    """A row for each arm and seed."""
    metrics = list(result["arms"]["original"]["mean"])
    columns = [
        "arm",
        "seed",
        "added",
        "epochs",
        "steps",
        "best_epoch",
        *metrics,
        "last_loss",
        "seconds",
        "classifier",
    ]
    return _csv(columns, [{"arm": name, **row} for name, arm in result["arms"].items() for row in arm["seeds"]])


def _ends(intervals: dict[str, list[float] | None], metric: str, prefix: str) -> dict[str, float]:
    """The ends of a metric's interval, if it has one."""
    low_high = intervals.get(metric)
    return {} if low_high is None else {f"{prefix}low": low_high[0], f"{prefix}high": low_high[1]}


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()


def charts_of_arms(result: dict[str, Any]) -> list[tuple[str, IntervalChart]]:
    """A titled chart of every arm's mean and interval, for accuracy and the worst group."""
    arms = _plain(result["arms"])
    charts = []
    for key, title in _SHOWN.items():
        ends = {name: arm["interval"][key] or [arm["mean"][key]] * 2 for name, arm in arms.items()}
        charts.append((title, interval_chart({name: (arms[name]["mean"][key], *ends[name]) for name in arms})))
    return charts


def charts_of_amounts(result: dict[str, Any]) -> list[tuple[str, Chart]]:
    """A titled chart over the amount of edits for each metric; none without amounts. Amount 0 is `original`.

    The amount is what was added, which is less than was asked for where so many edits are not left. The arm as
    it is configured is a point too.
    """
    arms = result["arms"]
    series: dict[str, list[tuple[float, Compared]]] = {}
    for name, arm in _of_amounts(arms).items():
        plain = name.partition("@")[0]
        series.setdefault(plain, [(0.0, arms["original"])]).append((_for_each(arm), arm))
    for name, points in series.items():
        if name in arms and all("added_for_each" in seed for seed in arms[name]["seeds"]):
            points.append((_for_each(arms[name]), arms[name]))
    for points in series.values():
        points.sort(key=lambda point: point[0])
    titled = []
    for key, title in _SHOWN.items():
        shares = {n: [(x, arm["mean"][key]) for x, arm in points] for n, points in series.items()}
        chart = line_chart(shares, in_percent=True)
        if chart is not None:
            titled.append((f"{title}, against edits added for each training image", chart))
    return titled


def _for_each(arm: Compared) -> float:
    return statistics.mean(seed.get("added_for_each", arm["amount"]) for seed in arm["seeds"])


def _plain(arms: dict[str, Compared]) -> dict[str, Compared]:
    """The arms that were asked for, without controls and other amounts."""
    controls = {arm["control"]["to"] for arm in arms.values() if arm["control"]}
    return {name: arm for name, arm in arms.items() if arm["amount"] is None and name not in controls}


def _of_amounts(arms: dict[str, Compared]) -> dict[str, Compared]:
    return {name: arm for name, arm in arms.items() if arm["amount"] is not None}


def _of_arms(heading: str, arms: dict[str, Compared], alone: str) -> Table:
    columns = ["arm", "images added", "accuracy", f"difference{alone}", "worst group", f"difference{alone}"]
    stands = _standing([arm["difference"] for arm in arms.values()])
    rows = []
    for name, arm in arms.items():
        cells = [name, _added(arm)]
        for metric in _SHOWN:
            cells += [spread(arm, metric), points(arm["difference"], metric, stands)]
        rows.append(cells)
    return Table(heading, columns, rows)


def _of_controls(heading: str, arms: dict[str, Compared], filtered: dict[str, Compared], alone: str) -> Table:
    columns = ["filter", "images added", "accuracy", "its control", "worst group", "its control"]
    columns += [f"difference in accuracy{alone}", f"in the worst group{alone}"]
    stands = _standing([arm["control"] for arm in filtered.values()])
    rows = []
    for name, arm in filtered.items():
        other = arms[arm["control"]["to"]]
        cells = [spread(each, metric) for metric in _SHOWN for each in (arm, other)]
        rows.append([name, _added(arm), *cells, *(points(arm["control"], metric, stands) for metric in _SHOWN)])
    return Table(heading, columns, rows)


def _standing(differences: Sequence[Compared | None]) -> float:
    """The largest p-value that stands by Holm's step-down procedure over all that a table shows; -1 for none."""
    shown = [each["p"][metric] for each in differences if each is not None for metric in _SHOWN]
    asked = sorted(p for p in shown if p is not None)
    largest = -1.0
    for place, p in enumerate(asked):
        if p > 0.05 / (len(asked) - place):
            break
        largest = p
    return largest


def _added(arm: Compared) -> str:
    """How many images each seed added; one number where they are the same."""
    added = [seed["added"] for seed in arm["seeds"]]
    return str(added[0]) if len(set(added)) == 1 else ", ".join(map(str, added))


def spread(arm: Compared, metric: str) -> str:
    """Percent: "97.2 ± 2.0"; a single seed has no deviation."""
    mean, deviation = arm["mean"][metric], arm["std"][metric]
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def points(difference: dict[str, Any] | None, metric: str, stands: float = -1.0) -> str:
    """A difference in percentage points with its interval: "+12.3 [+8.0, +15.1] †".

    `stands` is the largest p-value that does; by default no mark is given.
    """
    if difference is None:
        return ""
    shown = f"{100 * difference['mean'][metric]:+z.1f}"
    ends = difference["interval"][metric]
    if ends is None:
        return f"{shown} –"
    if are_same(difference, metric):
        return "the same classifiers"
    mark = f" {_STANDS}" if difference["p"][metric] <= stands else ""
    return f"{shown} [{100 * ends[0]:+z.1f}, {100 * ends[1]:+z.1f}]{mark}"
