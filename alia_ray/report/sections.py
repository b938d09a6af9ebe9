"""The tables of a run -> the numbers of a report, as plain data for the template."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config.filters import VARIANTS, Variant
from alia_ray.edits.drawing import scores_of
from alia_ray.llm.discover import content_words
from alia_ray.report.asking import count_verdicts, draw_captions
from alia_ray.report.charts import Chart, line_chart
from alia_ray.report.inputs import ReportInputs
from alia_ray.store.errors import same_reason
from alia_ray.store.tables import SPLITS, VERDICTS

CAPTIONS_PER_DOMAIN = 3
KEYS_PER_REASON = 3
MOST_COMPARED = 10**6  # probabilities, of edits times classes, that a filter reads that is not in force
_VALIDATION = "val_class_balanced_accuracy"
CURVES = {"loss": "Training loss", _VALIDATION: "Class-balanced accuracy on validation"}


def share(part: int, whole: int) -> float | None:
    """part / whole; None where there is nothing to share."""
    return part / whole if whole else None


def counts(
    images: pa.Table, edits: pa.Table, domains: list[dict[str, Any]], inputs: ReportInputs
) -> dict[str, Any]:
    """How much there is of everything, for the top of the page. images, edits: as `asking` counts them."""
    splits = {name: number_of(images.filter(pc.equal(images.column("split"), name))) for name in SPLITS}
    kept = number_of(edits.filter(pc.equal(edits.column("verdict"), "kept")))
    return {
        "classes": len(images.column("label").unique()),
        "images": number_of(images),
        "splits": {name: number for name, number in splits.items() if number},
        "domains": len(domains),
        "edits": number_of(edits),
        "kept": kept,
        "kept_share": share(kept, number_of(edits)),
        "added": len(inputs.selected),
        "errors": inputs.errors.num_rows,
    }


def number_of(counted: pa.Table) -> int:
    """How many rows a table stands for that counts them."""
    return pc.sum(counted.column("count")).as_py() or 0


def domain_rows(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The domains, the best supported first, each with `examples`: captions that say all it adds to the prefix."""
    if inputs.domains is None:
        return []
    rows = sorted(inputs.domains.read().to_pylist(), key=lambda row: (-row["support"], row["prompt"]))
    added = [content_words(row["prompt"], inputs.prefix) for row in rows]
    examples = draw_captions(inputs, added, CAPTIONS_PER_DOMAIN)
    return [{**row, "examples": captions} for row, captions in zip(rows, examples, strict=True)]


# ------------------------------------------------------------------ edits


def counts_by(edits: pa.Table, *columns: str) -> dict[tuple[str, ...], dict[str, int]]:
    """For each combination of values of `columns` that occurs: verdict -> number of edits.

    edits: as `asking.count_edits` counts them, here and below.
    """
    names = [*columns, "verdict"]
    counted = edits.group_by(names).aggregate([("count", "sum")])
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for row in counted.to_pylist():
        values, verdict, count = [row[name] for name in columns], row["verdict"], row["count_sum"]
        found.setdefault(tuple(values), dict.fromkeys(VERDICTS, 0))[verdict] = count
    return found


def acceptance(edits: pa.Table, column: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """How the attempts ended for each value of a column that is among `names` (value -> what it is called)."""
    found = counts_by(edits, column)
    return [{"name": name, **_acceptance(found[key,])} for key, name in names.items() if (key,) in found]


def crossing(edits: pa.Table, labels: list[str], domains: list[str]) -> list[dict[str, Any]]:
    """class × domain: a row for each label, with a cell for each domain_id."""
    found = counts_by(edits, "label", "domain_id")
    nothing = dict.fromkeys(VERDICTS, 0)
    return [
        {"name": label, "cells": [_acceptance(found.get((label, domain), nothing)) for domain in domains]}
        for label in labels
    ]


def _acceptance(counts: dict[str, int]) -> dict[str, Any]:
    attempts = sum(counts.values())
    kept = counts["kept"]
    return {"attempts": attempts, "kept": kept, "share": share(kept, attempts), "verdicts": counts}


def added(edits: pa.Table, domains: list[str]) -> list[dict[str, Any]]:
    """How many edits were added to training, of each class: {"name", "cells": of each domain_id, "total"}."""
    counted = edits.group_by(["label", "domain_id"]).aggregate([("added", "sum")]).to_pylist()
    found = {(row["label"], row["domain_id"]): row["added_sum"] for row in counted}
    table = []
    for label in sorted(edits.column("label").unique().to_pylist()):
        cells = [found.get((label, domain), 0) for domain in domains]
        table.append({"name": label, "cells": cells, "total": sum(cells)})
    return table


def filter_variants(inputs: ReportInputs, edits: int) -> list[dict[str, Any]]:
    """What each published filter, and the configured one, would keep of the edits; `in_force` marks the latter.

    One that compares edits by the probabilities of all classes is left out where those are over MOST_COMPARED.
    """
    judge = inputs.judge
    variants = dict(VARIANTS)
    configured = Variant(tuple(judge.filters), judge.confidence_rule)
    in_force = next((name for name, variant in variants.items() if _same_filter(variant, configured)), None)
    if in_force is None:
        in_force = f"as configured: {', '.join(judge.filters)} ({judge.confidence_rule})"
        variants[in_force] = configured
    rows = []
    for name, variant in variants.items():
        changes = {"filters": list(variant.filters), "confidence_rule": variant.rule}
        by_it = judge.model_copy(update=changes)
        compares = "class_probabilities" in scores_of(by_it)
        if compares and edits * len(inputs.thresholds) > MOST_COMPARED and name != in_force:
            continue
        counts = dict.fromkeys(VERDICTS, 0) | count_verdicts(inputs, by_it)
        rows.append({"name": name, "in_force": name == in_force, **_acceptance(counts)})
    return rows


def _same_filter(one: Variant, other: Variant) -> bool:
    """Whether two filters drop the same edits; the rule only matters to "mislabelled"."""
    same_rule = one.rule == other.rule or "mislabelled" not in one.filters
    return set(one.filters) == set(other.filters) and same_rule


def edit_costs(edits: pa.Table, seconds: float, metrics: dict[str, Any]) -> dict[str, float | None] | None:
    """Seconds of editing and judging; None without edits.

    {"seconds", "per_attempt", "per_kept"} are of workers, summed, without their start; "clock_per_kept" is of the
    clock, as long as the stage took, and None where it did not make just these edits.
    """
    attempts = number_of(edits)
    if not attempts:
        return None
    kept = number_of(edits.filter(pc.equal(edits.column("verdict"), "kept")))
    clock = _clock(attempts, metrics)
    return {
        "seconds": seconds,
        "per_attempt": seconds / attempts,
        "per_kept": share(seconds, kept),
        "clock_per_kept": None if clock is None else share(clock, kept),
    }


def _clock(edits: int, metrics: dict[str, Any]) -> float | None:
    """The seconds of the stage that made so many edits; None where it made others, or found some made."""
    stage = (metrics.get("stages") or {}).get("edit", {})
    return stage["seconds"] if stage.get("made") == edits and not stage.get("reused") else None


# ------------------------------------------------------------------ training


def curves(history: dict[str, list[dict[str, Any]]]) -> list[tuple[str, Chart]]:
    """A titled chart over the epochs for each of CURVES that any arm has."""
    charts = []
    for key, title in CURVES.items():
        series = {
            arm: [(r["epoch"], r[key]) for r in records if r.get(key) is not None]
            for arm, records in history.items()
        }
        chart = line_chart(series, in_percent=key == _VALIDATION)
        if chart is not None:
            charts.append((title, chart))
    return charts


# ------------------------------------------------------------------ stages and errors


def time_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """{"seconds": of all stages, one after the other, "reused_in": the stages that found rows made before}."""
    stages = metrics.get("stages") or {}
    return {
        "seconds": round(sum(stats["seconds"] for stats in stages.values()), 3),
        "reused_in": [name for name, stats in stages.items() if stats.get("reused")],
    }


def stage_times(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages with their rows, errors, seconds, and their part of the longest one's seconds."""
    stages = metrics.get("stages") or {}
    longest = max((stats["seconds"] for stats in stages.values()), default=0) or 1
    return [{"name": name, "part": stats["seconds"] / longest, **stats} for name, stats in stages.items()]


def grouped_errors(errors: pa.Table) -> list[dict[str, Any]]:
    """Errors by stage and reason, the most frequent first, each reason as the first row has it."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in errors.to_pylist():
        group = groups.setdefault(
            (row["stage"], same_reason(row["reason"])),
            {"stage": row["stage"], "reason": row["reason"], "count": 0, "keys": []},
        )
        group["count"] += 1
        if len(group["keys"]) < KEYS_PER_REASON:
            group["keys"].append(row["key"])
    return sorted(groups.values(), key=lambda group: (-group["count"], group["stage"], group["reason"]))
