"""The stages `judge` and `edit`: of the edits that a configuration needs.

Those that are there are scored anew where that has changed, the others made. Both go through an image's attempts
in their order, so they take turns.
"""

from dataclasses import replace

from alia_ray.cluster.placement import Cluster
from alia_ray.config.arms import BASE
from alia_ray.edits.attempts import TRIES
from alia_ray.errors import StageError
from alia_ray.progress import inform, number_of, say
from alia_ray.reporting import about_edits
from alia_ray.results import accounting, made_before
from alia_ray.stages.edit import edit, outcomes, wanted_requests
from alia_ray.stages.judge import describe_anew, judge, left_to_judge
from alia_ray.state import State

_HOPELESS = 0.05  # a prompt of which a smaller share survives is worth a word


def run_judge(state: State, cluster: Cluster) -> None:
    """edits that are scored otherwise -> those that are needed, scored as configured; edits nothing"""
    thresholds, base = state.thresholds(), state.arm_folder(BASE).uri()
    describe_anew(state.edits, state.images)
    if not _to_judge(state):
        return
    errors, earlier = state.edits.errors("judge"), {"before": made_before(state, "judge")}
    scored: set[str] = set()

    def done() -> dict[str, int]:
        return earlier | dict.fromkeys(scored & state.edits.ids(), 1)

    with accounting(state, "judge", done, lambda: len(errors.ids() & _needed_edits(state))):
        for edits in state.edit_sets:
            while todo := state.to_judge(edits):  # of an image the next one, where this one does not survive
                needed = state.needed_ids(edits)
                scored.update(*todo.values())
                judge(state.settings, state.images, todo, needed, state.edits, base, thresholds, cluster)


def _to_judge(state: State) -> int:
    """How many edits are tried next that are there, and were scored otherwise."""
    return sum(len(ids) for edits in state.edit_sets for ids in state.to_judge(edits).values())


def run_edit(state: State, cluster: Cluster) -> None:
    """images × prompts -> edits, judged"""
    check_judged(state)
    _edit(state, cluster)
    while _to_judge(state):  # what was made did not survive, and what is next was made for others
        run_judge(state, cluster)
        _edit(_tried_again(state), cluster)
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


def check_judged(state: State) -> None:
    """Raise StageError where `edit` would come at once to edits that were scored otherwise."""
    if number := _to_judge(state):
        raise StageError(f"edit: {number} edits are there that were scored otherwise; run `alia-ray judge` first")


def _tried_again(state: State) -> State:
    """The same, where what failed has been tried again already."""
    run = state.settings.run.model_copy(update={"retry_errors": False})
    return replace(state, settings=state.settings.model_copy(update={"run": run}))


def _edit(state: State, cluster: Cluster) -> None:
    """Make what is missing, and of what older tables hold nothing."""
    thresholds, base = state.thresholds(), state.arm_folder(BASE).uri()
    errors = state.edits.errors("edit")

    def done() -> dict[str, int]:
        return dict.fromkeys(_needed_edits(state) & _made_edits(state), 1)

    def failed() -> int:
        return len(errors.ids() & _needed_edits(state))

    with accounting(state, "edit", done, failed, there=lambda: _made_edits(state)):
        for edits in state.edit_sets:
            settings, prompts, limit = state.edit_settings(edits), state.prompts_of(edits), state.limit_of(edits)
            others = left_to_judge(state.edits, state.wanted_ids(edits)).values()
            elsewhere = set().union(*others)
            edit(settings, state.images, prompts, state.edits, base, thresholds, limit, cluster, elsewhere)


def _needed_edits(state: State) -> set[str]:
    return set().union(*(state.needed_ids(edits) for edits in state.edit_sets))


def _made_edits(state: State) -> set[str]:
    """The ids of the edits that are there as this configuration asks for them, needed or not."""
    found: set[str] = set()
    for edits in state.edit_sets:
        settings = state.edit_settings(edits)
        requests = wanted_requests(settings, state.images, state.prompts_of(edits))
        found |= outcomes(settings, requests, state.edits, state.thresholds()).keys()
    return found
