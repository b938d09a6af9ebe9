"""Writes the tables and figures of some pages from the JSON files that hold them.

    python docs/tables.py           # after an experiment's experiment.json was copied here; --check only tells

What stands between `<!-- NAME ARGUMENTS -->` and `<!-- end -->` is what the function NAME below gives for them.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from alia_ray.experiment.intervals import FEW, around
from alia_ray.experiment.statistics import WITH_INTERVAL
from alia_ray.report.comparison import as_markdown, points, spread

HERE = Path(__file__).parent
PAGES = ("results.md", "filters.md", "experiment.md")
MARKED = re.compile(r"(<!-- (\w+)((?: [^\s>]+)*) -->)(.*?)(<!-- end -->)", re.DOTALL)
METRICS = {"accuracy": "accuracy", "worst": "worst_group_accuracy"}
WITHOUT_IMAGES = """

This run is of before 2026-11-27, and its file does not hold its test images. So its intervals are Student's t on
its seeds' values, those of the worst group do not allow for that, and there is none (–) where nearly all or none
are right.
"""
Result = dict[str, Any]


def main() -> int:
    """Write the pages anew; with --check, 1 where one would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args()
    changed = [page for page in PAGES if written(page) != (HERE / page).read_text()]
    for page in changed:
        print(f"{page} {'is not what its files say' if options.check else 'changed'}")
        if not options.check:
            (HERE / page).write_text(written(page))
    return int(options.check and bool(changed))


def written(page: str) -> str:
    """The page, with what is between marks made anew."""

    def made(found: re.Match[str]) -> str:
        begin, name, arguments, _, end = found.groups()
        content = MAKERS[name](*arguments.split())
        return f"{begin}\n{content}\n{end}" if "\n" in content else f"{begin}{content}{end}"

    return MARKED.sub(made, (HERE / page).read_text())


# -------------------------------------------------------------------------- what experiments say


@cache
def result(name: str) -> Result:
    """The experiment of docs/results_NAME.json."""
    found = json.loads((HERE / f"results_{name}.json").read_text())
    return found if "p" in next(versus(found))[1] else of_seeds_alone(found)


def versus(found: Result) -> Any:
    """Each arm of an experiment with each difference that it has."""
    for name, arm in found["arms"].items():
        for kind in ("difference", "control"):
            if arm[kind] is not None:
                yield name, arm[kind]


def of_seeds_alone(found: Result) -> Result:
    """A run of before 2026-11-27, its intervals by Student's t from its seeds' values: all are fresh draws.

    Those files hold no images. So where nearly all or none are right, or where seeds agree, there is no interval.
    """
    sizes = dict.fromkeys(WITH_INTERVAL, found["test_images"])
    sizes["worst_group_accuracy"] //= 8  # groups at the most
    found["without_images"] = True
    at_an_end = {}
    for name, arm in found["arms"].items():
        of_seeds = {m: np.array([seed[m] for seed in arm["seeds"]]) for m in WITH_INTERVAL}
        at_an_end[name] = {m: few(values, sizes[m]) for m, values in of_seeds.items()}
        arm["interval"] = {m: None if at_an_end[name][m] else student(v, 0.0)[0] for m, v in of_seeds.items()}
    for name, difference in versus(found):
        arms = [found["arms"][each] for each in (name, difference["to"])]
        pairs = list(zip(*(arm["seeds"] for arm in arms), strict=True))
        difference["p"] = {}
        for metric in WITH_INTERVAL:
            ends, p = student(np.array([one[metric] - two[metric] for one, two in pairs]), -1.0)
            if all(one["classifier"] == two["classifier"] for one, two in pairs):
                ends, p = [0.0, 0.0], None
            elif at_an_end[name][metric] and at_an_end[difference["to"]][metric]:
                ends, p = None, None
            difference["interval"][metric], difference["p"][metric] = ends, p
    return found


def few(values: np.ndarray, images: int) -> bool:
    """Whether fewer than FEW of so many images in each seed are wrong, or right."""
    return images * min(values.sum(), (1 - values).sum()) < FEW


def student(values: np.ndarray, least: float) -> tuple[list[float] | None, float | None]:
    """The interval of the seeds' mean, between `least` and 1, and its p-value; none where all agree."""
    found = around(float(values.mean()), float(values.var(ddof=1)) / len(values), 0.0, len(values) - 1)
    if found.low == found.high:
        return None, None
    return [max(least, found.low), min(1.0, found.high)], found.p


def comparison(name: str) -> str:
    """The caption and tables that the experiment wrote as experiment.md."""
    found = result(name)
    text = as_markdown(found).rstrip()
    if "without_images" in found:
        text = text.replace("; its interval allows for that", "") + WITHOUT_IMAGES.rstrip()
    return text


def mean(name: str, arm: str, metric: str) -> str:
    """Percent: "97.2 ± 2.0"."""
    return spread(result(name)["arms"][arm], METRICS[metric])


def gain(name: str, arm: str, kind: str, metric: str) -> str:
    """A difference with its interval, to the original (`difference`) or to the control (`control`)."""
    return points(result(name)["arms"][arm][kind], METRICS[metric])


def gained(name: str, arm: str, kind: str, metric: str) -> str:
    """The same without its interval."""
    return f"{100 * result(name)['arms'][arm][kind]['mean'][METRICS[metric]]:+.1f}"


def each(name: str, arm: str, metric: str, to: str = "") -> str:
    """Every seed's value in percent, or its difference to another arm's."""
    seeds = [of[METRICS[metric]] for of in result(name)["arms"][arm]["seeds"]]
    if not to:
        return ", ".join(f"{100 * value:.1f}" for value in seeds)
    others = [of[METRICS[metric]] for of in result(name)["arms"][to]["seeds"]]
    return ", ".join(f"{100 * (one - other):+.1f}" for one, other in zip(seeds, others, strict=True))


def trainings(name: str) -> str:
    """How many classifiers were trained; arms that hold the same share one."""
    return str(len({seed["classifier"] for arm in result(name)["arms"].values() for seed in arm["seeds"]}))


def losses(name: str, *arms: str) -> str:
    """The range of the training loss of the last epoch."""
    found = [seed["last_loss"] for arm in arms for seed in result(name)["arms"][arm]["seeds"]]
    return f"{min(found):.2f} to {max(found):.2f}"


def validation(name: str, *arms: str) -> str:
    """The range of validation accuracy over the last quarter of the epochs, in percent."""
    found = [
        end for arm in arms for seed in result(name)["arms"][arm]["seeds"] for end in seed["val_last_quarter"]
    ]
    return f"{100 * min(found):.0f} to {100 * max(found):.0f} %"


def by_seed(name: str, metric: str, *arms: str) -> str:
    """A row for each arm, a column for each seed: whole percents."""
    found = result(name)
    lines = [["arm", *(f"seed {seed}" for seed in found["seeds"])], ["---"] * (1 + len(found["seeds"]))]
    for arm in arms:
        values = [of[METRICS[metric]] for of in found["arms"][arm]["seeds"]]
        lines.append([f"`{arm}`", *(f"{100 * value:.0f}" for value in values)])
    return as_table(lines)


# --------------------------------------------------------------------------- what filters keep


@cache
def kept_shares() -> dict[tuple[str, str], dict[str, float]]:
    """(world, filter) -> what docs/filter_truth.json says of it."""
    rows = json.loads((HERE / "filter_truth.json").read_text())["rows"]
    return {(row["world"], row["filter"]): row for row in rows}


def filters(*names: str) -> str:
    """What each filter keeps, in whole percents; three columns for each world."""
    worlds = list(dict.fromkeys(world for world, _ in kept_shares()))
    head = ["filter", *(f"{world}: {part}" for world in worlds for part in ("seen", "new", "lost"))]
    lines = [head, ["---"] * len(head)]
    for name in names:
        shares = [kept(world, name, part) for world in worlds for part in ("good_seen", "good_new", "lost")]
        lines.append([f"`{name}`", *shares])
    return as_table(lines)


def kept(world: str, name: str, part: str) -> str:
    """One of these shares, in whole percents."""
    return f"{100 * kept_shares()[world, name][part]:.0f}"


def between(name: str, part: str) -> str:
    """The range of such a share over the worlds, in whole percents."""
    found = [row[part] for (_, of), row in kept_shares().items() if of == name]
    low, high = f"{100 * min(found):.0f}", f"{100 * max(found):.0f}"
    return low if low == high else f"{low} to {high}"


# ------------------------------------------------------------------------------- what intervals are worth


def coverage() -> str:
    """How often the intervals of benchmarks/coverage.json held the truth, in percent."""
    rows = json.loads((HERE.parent / "benchmarks" / "coverage.json").read_text())["rows"]
    held = [key for key in rows[0] if key not in ("world", "seeds", "repeats")]
    lines = [["world", "seeds", *held], ["---"] * (2 + len(held))]
    lines += [[row["world"], str(row["seeds"]), *(f"{100 * row[key]:.1f}" for key in held)] for row in rows]
    return as_table(lines)


# ------------------------------------------------------------------------------- what was said before


def history() -> str:
    """The differences that were read otherwise in the tables of 2026-11-25, or had an interval without width."""
    before = json.loads((HERE / "results_before.json").read_text())
    titles = {column: title for title, column in METRICS.items()}
    lines = [["experiment", "arm", "to", "of", before["published"], "now"], ["---"] * 6]
    for row in before["rows"]:
        now = result(row["experiment"])["arms"][row["arm"]][row["kind"]]
        (low, high), ends = row["interval"], now["interval"][row["metric"]]
        was_apart, is_apart = not low <= 0 <= high, ends is not None and not ends[0] <= 0 <= ends[1]
        if low == high or (ends is not None and was_apart != is_apart):
            was = f"{100 * row['mean']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            cells = [row["experiment"], row["arm"], now["to"], titles[row["metric"]]]
            lines.append([*cells, was, points(now, row["metric"])])
    return as_table(lines)


def as_table(lines: list[list[str]]) -> str:
    """Rows of cells, as Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_OF_EXPERIMENTS = (comparison, mean, gain, gained, each, trainings, losses, validation, by_seed)
MAKERS: dict[str, Callable[..., str]] = {
    maker.__name__: maker for maker in (*_OF_EXPERIMENTS, filters, kept, between, coverage, history)
}

if __name__ == "__main__":
    sys.exit(main())
