"""What an experiment compares, its arms and its draws, and whether a comparison that is there is still of them."""

from typing import Any

import pyarrow as pa

from alia_ray.checks.inputs import listing_of
from alia_ray.config import Config, Experiment
from alia_ray.config.arms import ARMS, BASE, Arm, control, with_amount
from alia_ray.errors import StageError, shortened
from alia_ray.state import State
from alia_ray.store.tables import content_id

COMPARISON = "experiment.json"  # beside the page
_EVERY_EDIT = {"edits_per_image": "all", "keep_rejected": True, "drop_prompt_below": None}


def arms_of(settings: Config, listing: pa.Table | None = None) -> list[Arm]:
    """The arms that are compared: those named, the control of each filtered one, and those of other amounts.

    `listing`: the source's, where it was listed before; of it only the splits matter.
    """
    chosen = settings.experiment or Experiment()
    listing = listing_of(settings, listing)
    has_extra = "extra" in listing.column("split").unique().to_pylist()
    names = chosen.arms or [name for name, arm in ARMS.items() if has_extra or not arm.real]
    named = [BASE, *(ARMS[name] for name in names if name != BASE.name)]
    amounts = [with_amount(ARMS[name], amount) for name in chosen.amount_arms for amount in chosen.amounts]
    return [*named, *(control(arm) for arm in named if _is_filtered(arm, settings)), *amounts]


def _is_filtered(arm: Arm, settings: Config) -> bool:
    return arm.edits is not None and bool(arm.variant.filters if arm.variant else settings.judge.filters)


def draws(settings: Config, arms: list[Arm], listing: pa.Table | None = None) -> list[State]:
    """The state of each seed: its trainings, and with `fresh_draws` its pictures, are its own."""
    chosen = settings.experiment or Experiment()
    states = []
    for seed in chosen.seeds:
        names = list(dict.fromkeys([*(arm.name for arm in arms if arm.name in ARMS), *chosen.amount_arms]))
        changes: dict[str, Any] = {
            "train": settings.train.model_copy(update={"seed": seed, "arms": names}),
            # filters and amounts are compared over the same edits, so all are made, and rejected ones kept
            "edit": settings.edit.model_copy(update=_EVERY_EDIT),
        }
        if chosen.fresh_draws:
            changes["source"] = settings.source.model_copy(update={"seed": seed})
        of_draw = settings.model_copy(update=changes)
        states.append(State(of_draw, None if chosen.fresh_draws else listing, whole=settings))
    return states


def measured_on(settings: Config, states: list[State]) -> dict[str, Any]:
    """What a comparison says of its images: how they were drawn, and for each draw a digest of them."""
    chosen = settings.experiment or Experiment()
    return {"fresh_draws": chosen.fresh_draws, "images": [_digest(state) for state in states]}


def _digest(state: State) -> str:
    """Of the images' ids, splits, labels and groups, on which every number of a run hangs."""
    rows = state.images.read(["image_id", "split", "label", "group"]).to_pylist()
    return content_id(*(str(value) for row in rows for value in row.values()))


def first_draw(settings: Config) -> State:
    """What a report is of: the first draw of an experiment that was run, else the configuration itself."""
    first = draws(settings, [])[0]
    return _ingested(settings)[0][0] if first.results.has_file(COMPARISON) else State(settings)


def comparison_of(settings: Config) -> tuple[dict[str, Any] | None, str | None]:
    """The comparison of an experiment, if it is what `alia-ray experiment` would write now; else why it is not.

    Neither where there is none.
    """
    found = draws(settings, [])[0].results.read_json(COMPARISON, keys=("arms",))
    if found is None:
        return None, None
    states, arms = _ingested(settings)
    if {**found, **measured_on(settings, states)} != found:
        return None, "images or labels have changed"
    try:
        now = {arm.name: ["/".join(state.arm_path(arm)) for state in states] for arm in arms}
    except StageError as error:
        return None, str(error)
    compared = {name: [seed["classifier"] for seed in arm["seeds"]] for name, arm in found["arms"].items()}
    if other := sorted(name for name in {**now, **compared} if now.get(name) != compared.get(name)):
        return None, f"the configuration gives other classifiers of {shortened(other)}"
    return found, None


def _ingested(settings: Config) -> tuple[list[State], list[Arm]]:
    """The draws and arms of an experiment by what the run folder holds; the source is not asked."""
    images = draws(settings, [])[0].images
    arms = arms_of(settings, images.read(["split"]))
    return draws(settings, arms), arms
