"""The stages `judge` and `edit`: of the edits that a configuration needs.

Both go through an image's attempts in their order. `judge` scores those anew that are there from before, as far as
it comes without making one, and holds no editor; `edit` does all that is left.
"""

from typing import Literal

from alia_ray.cluster.placement import Cluster
from alia_ray.config.arms import BASE, EditSet
from alia_ray.edits.attempts import TRIES, as_far_as_stored
from alia_ray.progress import inform, number_of, say
from alia_ray.reporting import about_edits
from alia_ray.results import accounting, made_before
from alia_ray.stages.edit import edit, left_to_try, outcomes, per_image
from alia_ray.stages.stored import describe_anew, stored_edits
from alia_ray.stages.streaming import made
from alia_ray.state import State
from alia_ray.store.ledger import ledger_of

_HOPELESS = 0.05  # a prompt of which a smaller share survives is worth a word


def run_judge(state: State, cluster: Cluster) -> None:
    """edits that are scored otherwise -> those that are needed, scored as configured; edits nothing"""
    describe_anew(state.edits, state.images)
    stored = _stored(state)
    todo = [edits for edits in state.edit_sets if _to_judge(state, edits, stored[edits])]
    if not todo:
        return
    errors, before, earlier = state.edits.errors("judge"), state.edits.ids(), made_before(state, "judge")

    def done() -> dict[str, int]:
        return {"before": earlier} | dict.fromkeys(state.edits.ids() - before, 1)

    with accounting(state, "judge", done, lambda: len(errors.ids() & _needed_edits(state))):
        for edits in todo:
            _go_through(state, edits, stored[edits], cluster, "judge")


def run_edit(state: State, cluster: Cluster) -> None:
    """images × prompts -> edits, judged"""
    describe_anew(state.edits, state.images)
    stored, errors = _stored(state), state.edits.errors("edit")

    def done() -> dict[str, int]:
        return dict.fromkeys(_needed_edits(state) & _made_edits(state), 1)

    def failed() -> int:
        return len(errors.ids() & _needed_edits(state))

    def there() -> set[str]:
        return _made_edits(state).union(*stored.values())

    with accounting(state, "edit", done, failed, there):
        for edits in state.edit_sets:
            _go_through(state, edits, stored[edits], cluster, "edit")
    found = about_edits(state)
    if found is None:
        return
    inform(f"edit: {found['kept']} of {number_of(found['attempts'], 'edits')} survived the filters")
    for prompt, tried in found["prompts"].items():
        if tried["attempts"] >= TRIES and tried["share"] < _HOPELESS:
            say(
                f"edit: {tried['kept']} of {tried['attempts']} edits survived under {prompt!r}; look at them in "
                "the report, and consider edit.drop_prompt_below, or discover.prompts without it"
            )


def _go_through(
    state: State, edits: EditSet, stored: dict[str, str], cluster: Cluster, stage: Literal["judge", "edit"]
) -> None:
    settings, prompts, limit = state.edit_settings(edits), state.prompts_of(edits), state.limit_of(edits)
    base, thresholds = state.arm_folder(BASE).uri(), state.thresholds()
    edit(settings, state.images, prompts, state.edits, base, thresholds, limit, cluster, stored, stage)


def _to_judge(state: State, edits: EditSet, stored: dict[str, str]) -> bool:
    """Whether `judge` has anything to do of a set of edits; what others left beyond what is needed is no work."""
    settings, requests = state.edit_settings(edits), state.requests_of(edits)
    left = left_to_try(settings, requests, state.edits, state.thresholds(), state.limit_of(edits))
    return bool(as_far_as_stored(left, stored, per_image(settings)))


def _stored(state: State) -> dict[EditSet, dict[str, str]]:
    """Of each set of edits what is wanted, not there as it is asked for, and held by another edits table."""
    there = _made_edits(state)
    if state.settings.run.retry_errors:
        there &= set(ledger_of(state.folder).column(made(state.edits, "edit_id")))
    return {edits: stored_edits(state.edits, set(state.wanted_ids(edits)) - there) for edits in state.edit_sets}


def _needed_edits(state: State) -> set[str]:
    return set().union(*(state.needed_ids(edits) for edits in state.edit_sets))


def _made_edits(state: State) -> set[str]:
    """The ids of the edits that are there as this configuration asks for them, needed or not."""
    found: set[str] = set()
    for edits in state.edit_sets:
        settings, requests = state.edit_settings(edits), state.requests_of(edits)
        found |= outcomes(settings, requests, state.edits, state.thresholds()).keys()
    return found
