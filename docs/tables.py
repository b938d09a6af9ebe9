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

from alia_ray.report.comparison import as_markdown, points, spread

HERE = Path(__file__).parent
PAGES = ("results.md", "filters.md", "experiment.md")
MARKED = re.compile(r"(<!-- (\w+)((?: [^\s>]+)*) -->)(.*?)(<!-- end -->)", re.DOTALL)
METRICS = {"accuracy": "accuracy", "worst": "worst_group_accuracy"}
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
    return json.loads((HERE / f"results_{name}.json").read_text())


def comparison(name: str) -> str:
    """The caption and tables that the experiment wrote as experiment.md."""
    return as_markdown(result(name)).rstrip()


def mean(name: str, arm: str, metric: str) -> str:
    """Percent: "97.2 ± 2.0"."""
    return spread(result(name)["arms"][arm], METRICS[metric])


def gain(name: str, arm: str, kind: str, metric: str) -> str:
    """A difference with its interval, to the original (`difference`) or to the control (`control`)."""
    return points(result(name)["arms"][arm][kind], METRICS[metric])


def gained(name: str, arm: str, kind: str, metric: str) -> str:
    """The same without its interval."""
    return f"{100 * result(name)['arms'][arm][kind]['mean'][METRICS[metric]]:+z.1f}"


def each(name: str, arm: str, metric: str, to: str = "") -> str:
    """Every seed's value in percent, or its difference to another arm's."""
    seeds = [of[METRICS[metric]] for of in result(name)["arms"][arm]["seeds"]]
    if not to:
        return ", ".join(f"{100 * value:.1f}" for value in seeds)
    others = [of[METRICS[metric]] for of in result(name)["arms"][to]["seeds"]]
    return ", ".join(f"{100 * (one - other):+z.1f}" for one, other in zip(seeds, others, strict=True))


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


def filtered_but(name: str, metric: str, *left_out: str) -> str:
    """The range of the means of all filtered arms and their controls, but those `left_out`; in percent."""
    arms = result(name)["arms"]
    chosen = [one for one, arm in arms.items() if arm["control"] and one not in left_out]
    chosen += [arms[one]["control"]["to"] for one in chosen]
    means = [arms[one]["mean"][METRICS[metric]] for one in chosen]
    return f"{100 * min(means):.1f} to {100 * max(means):.1f} %"


def by_seed(name: str, metric: str, *arms: str) -> str:
    """A row for each arm, a column for each seed: whole percents."""
    found = result(name)
    lines = [["arm", *(f"seed {seed}" for seed in found["seeds"])], ["---"] * (1 + len(found["seeds"]))]
    for arm in arms:
        values = [of[METRICS[metric]] for of in found["arms"][arm]["seeds"]]
        lines.append([f"`{arm}`", *(f"{100 * value:.0f}" for value in values)])
    return as_table(lines)


# --------------------------------------------------------------------------- what filters keep


def class_lost(editor: str) -> str:
    """Of how many edits a small editor of the miniature loses the class, in percent."""
    rows = json.loads((HERE / "miniature_check.json").read_text())
    value = next(row["value"] for row in rows if row["name"] == f"{editor}: edits that keep the class")
    return f"{100 * (1 - value):.1f} %"


@cache
def kept_shares(file: str = "filter_truth") -> dict[tuple[str, str], dict[str, float]]:
    """(world, filter) -> what such a file in docs/ says of it."""
    rows = json.loads((HERE / f"{file}.json").read_text())["rows"]
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


def kept(world: str, name: str, part: str, file: str = "filter_truth") -> str:
    """One of these shares, in whole percents."""
    return f"{100 * kept_shares(file)[world, name][part]:.0f}"


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


def history(which: str) -> str:
    """The tables of 2026-11-25 beside those of now: `all` differences, or those `read_otherwise`.

    Read otherwise is what had an interval without width, or one that left 0 out where the other does not.
    """
    before = json.loads((HERE / "results_before.json").read_text())
    titles = {column: title for title, column in METRICS.items()}
    lines = [["experiment", "arm", "to", "of", before["published"], "now"], ["---"] * 6]
    for row in before["rows"]:
        now = result(row["experiment"])["arms"][row["arm"]][row["kind"]]
        (low, high), ends = row["interval"], now["interval"][row["metric"]]
        was_apart, is_apart = not low <= 0 <= high, not ends[0] <= 0 <= ends[1]
        if which == "all" or low == high or was_apart != is_apart:
            was = f"{100 * row['mean']:+z.1f} [{100 * low:+z.1f}, {100 * high:+z.1f}]"
            cells = [row["experiment"], row["arm"], now["to"], titles[row["metric"]]]
            lines.append([*cells, was, points(now, row["metric"])])
    return as_table(lines)


def as_table(lines: list[list[str]]) -> str:
    """Rows of cells, as Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_OF_EXPERIMENTS = (comparison, mean, gain, gained, each, trainings, losses, validation, filtered_but, by_seed)
MAKERS: dict[str, Callable[..., str]] = {
    maker.__name__: maker for maker in (*_OF_EXPERIMENTS, class_lost, filters, kept, between, coverage, history)
}

if __name__ == "__main__":
    sys.exit(main())
