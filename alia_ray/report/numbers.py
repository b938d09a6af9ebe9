"""What a page is of, and its numbers as metrics.json holds them, so that a script finds what a reader sees."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alia_ray.report import asking, confusions, gains, sections
from alia_ray.report.inputs import ReportInputs


@dataclass(frozen=True)
class Shown:
    """What a page is of: counts of all rows, and where those are asked for that it shows."""

    images: pa.Table  # as `asking.count_images` counts them
    captions: int
    edits: pa.Table  # as `asking.count_edits` counts them
    seconds: float  # of workers, for all edits
    relation: str  # the edits, for `asking`
    variants: list[dict[str, Any]]  # what filters would keep of them
    domains: list[dict[str, Any]]
    prompts: dict[str, str]  # domain_id -> prompt, in the order of the domains
    labels: list[str]  # of the edits, sorted
    changed: confusions.Change | None


def shown(inputs: ReportInputs) -> Shown:
    """Ask for them."""
    relation = asking.keep_edits(inputs)
    edits, domains = asking.count_edits(inputs, relation), sections.domain_rows(inputs)
    return Shown(
        images=asking.count_images(inputs),
        captions=asking.count_captions(inputs),
        edits=edits,
        seconds=asking.seconds_of(inputs, relation),
        relation=relation,
        variants=sections.filter_variants(inputs, sections.number_of(edits)) if inputs.thresholds else [],
        domains=domains,
        prompts=_prompts(domains, edits.column("domain_id").unique().to_pylist()),
        labels=sorted(edits.column("label").unique().to_pylist()),
        changed=confusions.change(inputs.predictions),
    )


def _prompts(domains: list[dict[str, str]], used: list[str]) -> dict[str, str]:
    """A domain of which only edits are left goes by its id."""
    prompts = {row["domain_id"]: row["prompt"] for row in domains}
    return prompts | {domain_id: domain_id for domain_id in sorted(set(used) - prompts.keys())}


def numbers(of: Shown, inputs: ReportInputs) -> dict[str, Any]:
    """The metrics of `inputs`, completed by all that the page counts. docs/run.md says what each key holds."""
    metrics = inputs.metrics
    per_class, per_group = (
        gains.breakdown(metrics, key, inputs.predictions) for key in ("per_class", "per_group")
    )
    return {
        **metrics,
        "counts": sections.counts(of.images, of.edits, of.domains, inputs),
        "time": sections.time_of(metrics),
        "arms": _arms(metrics, inputs, {"per_class": per_class, "per_group": per_group}),
        "test_images": {
            "per_class": {row["name"]: row["images"] for row in per_class},
            "per_group": {row["name"]: row["images"] for row in per_group},
        },
        "confusions": None if of.changed is None else of.changed.as_json(),
        "domains": [{key: row[key] for key in ("prompt", "support", "captions_read")} for row in of.domains],
        "edits": _edits(of, inputs),
        "thresholds": inputs.thresholds,
        "failed": [{key: row[key] for key in ("stage", "reason", "count")} for row in _failed(inputs)],
    }


def _failed(inputs: ReportInputs) -> list[dict[str, Any]]:
    return sections.grouped_errors(inputs.errors)


def _arms(
    metrics: dict[str, Any], inputs: ReportInputs, broken_down: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The arms, with the difference of each class and group, its interval, and the last epoch of training."""
    found = {}
    for place, (name, values) in enumerate((metrics.get("arms") or {}).items()):
        found[name] = arm = {**values, "last_epoch": (inputs.history.get(name) or [None])[-1]}
        if not (difference := values.get("difference")):
            continue
        cells = {key: {row["name"]: row["cells"][place] for row in rows} for key, rows in broken_down.items()}
        arm["difference"] = {
            **difference,
            **{
                kind: {
                    **(difference.get(kind) or {}),
                    **{key: {name: cell[of] for name, cell in of_key.items()} for key, of_key in cells.items()},
                }
                for kind, of in (("mean", "difference"), ("interval", "interval"))
            },
        }
    return found


def _edits(of: Shown, inputs: ReportInputs) -> dict[str, Any] | None:
    """What there is of the edits by prompt, by class, by both, and by filter; None before there are any."""
    costs = sections.edit_costs(of.edits, of.seconds, inputs.metrics)
    if costs is None:
        return None
    prompts = list(of.prompts)
    crossing = sections.crossing(of.edits, of.labels, prompts)
    added = sections.added(of.edits, prompts)
    classes = sections.acceptance(of.edits, "label", {label: label for label in of.labels})
    return {
        "attempts": sections.number_of(of.edits),
        "kept": sum(row["kept"] for row in classes),
        **costs,
        "prompts": _named(sections.acceptance(of.edits, "domain_id", of.prompts)),
        "classes": {
            name: {
                **row,
                "added": of_added["total"],
                "prompts": {
                    of.prompts[key]: {**_without_verdicts(cell), "added": number}
                    for key, cell, number in zip(prompts, of_both["cells"], of_added["cells"], strict=True)
                },
            }
            for (name, row), of_both, of_added in zip(_named(classes).items(), crossing, added, strict=True)
        },
        "filters": _named(of.variants),
    }


def _named(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows by their name."""
    return {row["name"]: {key: value for key, value in row.items() if key != "name"} for row in rows}


def _without_verdicts(cell: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in cell.items() if key != "verdicts"}
