"""The end of a run in a few lines: what came out and how sure that is, what was kept, and what to try next."""

from collections.abc import Iterator
from typing import Any

from alia_ray.config.arms import BASE
from alia_ray.progress import number_of
from alia_ray.report.gains import augmented
from alia_ray.state import State
from alia_ray.store.run_folder import METRICS

_SHOWN = {"accuracy": "accuracy", "worst_group_accuracy": "worst group"}


def closing_lines(state: State) -> Iterator[str]:
    """What is said after the line of `report`, of what that has written."""
    metrics = state.results.read_json(METRICS)
    if metrics is None:  # somebody has deleted it at this moment
        return
    arms = metrics["arms"]
    arm = augmented(arms)
    if arm is not None and BASE.name in arms:
        images = arms[BASE.name]["count"]
        for metric, name in _SHOWN.items():
            gain = _gain(arms[BASE.name], arms[arm], metric)
            yield f"run: {name} {gain} of {arm} over {BASE.name}, {images} test images, one seed"
    yield f"run: {_amounts(state, metrics['edits'])}{_failed(metrics['counts']['errors'], state)}"
    yield f"run: next, {_next(state, arms.get(arm))}"


def _gain(before: dict[str, Any], after: dict[str, Any], metric: str) -> str:
    """Before, after and the points between, with their interval where there is one."""
    points = 100 * (after[metric] - before[metric])
    ends = (after.get("difference") or {}).get("interval", {}).get(metric)
    interval = "no interval" if ends is None else f"95 % interval {100 * ends[0]:+z.1f} to {100 * ends[1]:+z.1f}"
    return f"{100 * before[metric]:.1f} → {100 * after[metric]:.1f} % ({points:+z.1f} points, {interval})"


def _amounts(state: State, edits: dict[str, Any] | None) -> str:
    if edits is None:
        return "no edits"
    originals = number_of(state.count_of("train"), "images")
    return f"{edits['kept']} of {number_of(edits['attempts'], 'edits')} of {originals} survived the filters"


def _failed(errors: int, state: State) -> str:
    return f"; {number_of(errors, 'rows')} failed: `alia-ray errors {state.folder.shown()}`" if errors else ""


def _next(state: State, arm: dict[str, Any] | None) -> str:
    """What most people want next, by what came out."""
    if state.settings.source.trial:
        return "leave the limit of source out, and run the whole"
    if state.settings.trial:
        return "name real models, in a run folder of their own"
    ends = ((arm or {}).get("difference") or {}).get("interval", {}).get("accuracy")
    if ends is not None and ends[1] < 0:
        return (
            "look at the edits on the page: other discover.prompts, stricter judge.filters or fewer edits "
            "(select.num_extra) may do less harm"
        )
    if ends is not None and ends[0] <= 0 <= ends[1]:
        return "`alia-ray experiment`: the difference may be chance, of which more seeds say more"
    return (
        "`alia-ray experiment` with the same YAML for more seeds and controls, `alia-ray export` for your trainer"
    )
