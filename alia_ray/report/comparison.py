"""The comparison of an experiment: its tables, for Markdown, for the page and as CSV, and its charts."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alia_ray.report.charts import Chart, IntervalChart, interval_chart, line_chart

Compared = dict[str, Any]  # one arm's part of experiment.json
_SHOWN = {"accuracy": "Accuracy", "worst_group_accuracy": "Worst group"}


@dataclass(frozen=True)
class Table:
    """A heading, the names of the columns, and rows of text."""

    heading: str
    columns: list[str]
    rows: list[list[str]]


def caption(result: dict[str, Any]) -> str:
    """What was done, in two sentences."""
    seeds = result["seeds"]
    drawn = "a fresh draw of every split for each" if result["fresh_draws"] else "the same split for all"
    steps = "as many optimiser steps as the original" if result["equal_steps"] else "equally many epochs"
    return (
        f"Percent, mean ± standard deviation over {len(seeds)} seeds ({drawn}), {result['test_images']} test "
        f"images. Every arm takes {steps}; select.num_extra is {result['num_extra']}. Differences are to "
        "`original`, in points, with 95 % intervals: bootstrap over test images, Student's t over seeds."
    )


def tables(result: dict[str, Any]) -> list[Table]:
    """The arms; filtered arms against their controls; other amounts. What there is none of is left out."""
    arms: dict[str, Compared] = result["arms"]
    filtered = {name: arm for name, arm in arms.items() if arm["control"]}
    found = [
        _of_arms("Arms", _plain(arms)),
        _of_controls("Each filter against as many edits of each class, drawn at random", arms, filtered),
        _of_arms("Other amounts of edits, for each training image", _of_amounts(arms)),
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
                    row |= _ends(arm[kind]["interval"], metric, f"{kind}_")
            rows.append(row)
    columns = ["arm", "amount", "metric", "mean", "std", "low", "high"]
    for kind in ("difference", "control"):
        columns += [f"{kind}_to", kind, f"{kind}_low", f"{kind}_high"]
    return _csv(columns, rows)


def seeds_as_csv(result: dict[str, Any]) -> str:
    """A row for each arm and seed."""
    metrics = list(result["arms"]["original"]["mean"])
    columns = ["arm", "seed", "added", "epochs", "best_epoch", *metrics, "last_loss", "seconds", "classifier"]
    return _csv(columns, [{"arm": name, **row} for name, arm in result["arms"].items() for row in arm["seeds"]])


def _ends(intervals: dict[str, list[float]], metric: str, prefix: str) -> dict[str, float]:
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
    return [
        (title, interval_chart({name: (arm["mean"][key], *arm["interval"][key]) for name, arm in arms.items()}))
        for key, title in _SHOWN.items()
    ]


def charts_of_amounts(result: dict[str, Any]) -> list[tuple[str, Chart]]:
    """A titled chart over the amount of edits for each metric; none without amounts. Amount 0 is `original`."""
    arms = result["arms"]
    series: dict[str, list[tuple[float, Compared]]] = {}
    for name, arm in sorted(_of_amounts(arms).items(), key=lambda item: item[1]["amount"]):
        series.setdefault(name.partition("@")[0], [(0.0, arms["original"])]).append((arm["amount"], arm))
    titled = []
    for key, title in _SHOWN.items():
        chart = line_chart({n: [(x, arm["mean"][key]) for x, arm in points] for n, points in series.items()})
        if chart is not None:
            titled.append((f"{title}, against edits for each training image", chart))
    return titled


def _plain(arms: dict[str, Compared]) -> dict[str, Compared]:
    """The arms that were asked for, without controls and other amounts."""
    controls = {arm["control"]["to"] for arm in arms.values() if arm["control"]}
    return {name: arm for name, arm in arms.items() if arm["amount"] is None and name not in controls}


def _of_amounts(arms: dict[str, Compared]) -> dict[str, Compared]:
    return {name: arm for name, arm in arms.items() if arm["amount"] is not None}


def _of_arms(heading: str, arms: dict[str, Compared]) -> Table:
    columns = ["arm", "images added", "accuracy", "difference", "worst group", "difference"]
    rows = []
    for name, arm in arms.items():
        cells = [name, _added(arm)]
        for metric in _SHOWN:
            cells += [_spread(arm, metric), _points(arm["difference"], metric)]
        rows.append(cells)
    return Table(heading, columns, rows)


def _of_controls(heading: str, arms: dict[str, Compared], filtered: dict[str, Compared]) -> Table:
    columns = ["filter", "images added", "accuracy", "its control", "worst group", "its control"]
    columns += ["difference in accuracy", "in the worst group"]
    rows = []
    for name, arm in filtered.items():
        other = arms[arm["control"]["to"]]
        cells = [_spread(each, metric) for metric in _SHOWN for each in (arm, other)]
        rows.append([name, _added(arm), *cells, *(_points(arm["control"], metric) for metric in _SHOWN)])
    return Table(heading, columns, rows)


def _added(arm: Compared) -> str:
    """How many images each seed added; one number where they are the same."""
    added = [seed["added"] for seed in arm["seeds"]]
    return str(added[0]) if len(set(added)) == 1 else ", ".join(map(str, added))


def _spread(arm: Compared, metric: str) -> str:
    """Percent: "97.2 ± 2.0"; a single seed has no deviation."""
    mean, deviation = arm["mean"][metric], arm["std"][metric]
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def _points(difference: dict[str, Any] | None, metric: str) -> str:
    """A difference in percentage points with its interval: "+12.3 [+8.0, +15.1]"."""
    if difference is None:
        return ""
    low, high = difference["interval"][metric]
    return f"{100 * difference['mean'][metric]:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
