"""Does the whole chain help? Original, RandAugment and ALIA on fresh draws of the miniature.

    python benchmarks/miniature_claim.py --out docs/claim.json

For every bias and seed, train and test are painted anew and the whole pipeline runs: BLIP, vLLM, edits, judges,
filters, training, test. Nothing is tuned here: every setting is the demo's. Interrupted, it resumes.
`--filters` adds arms that train on what other filters keep; they share everything else.
"""

import argparse
import json
import statistics
from pathlib import Path

import ray

from alia_ray.arms import ARMS
from alia_ray.cluster import join
from alia_ray.config import Config, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.pipeline import STAGES, run_all
from alia_ray.state import State

FILTERS = {
    "alia unfiltered": "[]",
    "alia confidence (paper)": "[too_similar, mislabelled]",
    "alia semantic + confidence (paper)": "[semantic, too_similar, mislabelled]",
}
METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy")


def main() -> None:
    """Run every draw, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--folder", default="runs/claim", help="where the runs lie")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bias", type=float, nargs="+", default=[1.0, 0.95])
    parser.add_argument("--filters", action="store_true", help="also train on what other filters keep")
    parser.add_argument("--set", action="append", default=[], help="override of the demo's configuration")
    options = parser.parse_args()
    figures = []
    for bias in options.bias:
        for seed in range(options.seeds):
            overrides = [
                f"run.folder={options.folder}/bias-{bias:g}-seed-{seed}",
                f"run.seed={seed}",
                f"source.seed={seed}",
                f"source.bias={bias:g}",
                *options.set,
            ]
            figures += [{"bias": bias, "seed": seed, **row} for row in run_draw(overrides, options.filters)]
            print(table(figures), flush=True)
            if options.out:
                options.out.write_text(json.dumps({"rows": figures}, indent=2) + "\n")


def run_draw(overrides: list[str], filters: bool) -> list[dict[str, object]]:
    """One draw of the dataset: every arm's test metrics and how many edits it added."""
    settings = load_config(DEMO, overrides)
    cluster = join(settings.run)
    try:
        run_all(settings, cluster)
        rows = [arm_row(settings, arm, arm) for arm in settings.train.arms]
        for name, kept in FILTERS.items() if filters else ():
            variant = load_config(DEMO, [*overrides, f"judge.filters={kept}", "train.arms=[original, alia]"])
            for stage in ("train", "evaluate"):
                STAGES[stage](State(variant), cluster)
            rows.append(arm_row(variant, "alia", name))
    finally:
        ray.shutdown()
    return rows


def arm_row(settings: Config, arm: str, name: str) -> dict[str, object]:
    """The figures of one arm of one draw."""
    state = State(settings)
    metrics = state.arm_json(ARMS[arm], "metrics.json")
    added = len(state.selected()) if ARMS[arm].adds_edits else 0
    history = state.arm_json(ARMS[arm], "history.json")
    return {"arm": name, "added": added, "best_epoch": history["best_epoch"], **{m: metrics[m] for m in METRICS}}


def table(figures: list[dict]) -> str:
    """Mean ± standard deviation over seeds, as Markdown."""
    lines = ["| bias | arm | seeds | edits added | accuracy | worst group |", "|---|---|---|---|---|---|"]
    for bias, arm in dict.fromkeys((row["bias"], row["arm"]) for row in figures):
        rows = [row for row in figures if (row["bias"], row["arm"]) == (bias, arm)]
        added = ", ".join(str(row["added"]) for row in rows)
        cells = [spread([row[metric] for row in rows]) for metric in ("accuracy", "worst_group_accuracy")]
        lines.append(f"| {bias:g} | {arm} | {len(rows)} | {added} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation, in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * deviation:.1f}"


if __name__ == "__main__":
    main()
