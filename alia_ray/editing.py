"""The stages `judge` and `edit`: of the edits that a configuration needs.

Both go through an image's attempts in their order. `judge` scores those anew that are there from before, as far as
it comes without making one, and holds no editor; `edit` does all that is left.
"""

import pyarrow as pa

from alia_ray.cluster.placement import Cluster
from alia_ray.config.arms import BASE, EditSet
from alia_ray.edits.drawing import TRIES, outcomes, requests
from alia_ray.progress import inform, number_of, say
from alia_ray.reporting import about_edits
from alia_ray.results import accounting, made_before
from alia_ray.stages.answered import made
from alia_ray.stages.edit import edit, left_of
from alia_ray.stages.stored import describe_anew, stored_edits
from alia_ray.state import State

_HOPELESS = 0.05  # a prompt of which a smaller share survives is worth a word


def run_judge(state: State, cluster: Cluster) -> None:
    """edits that are scored otherwise -> those that are needed, scored as configured; edits nothing"""
    describe_anew(state.edits, state.images)
    ledger, stored = state.ledger, _stored(state)
    todo = [edits for edits in state.edit_sets if _to_judge(state, edits, stored)]
    if not todo:
        return
    earlier = made_before(state, "judge")
    before = ledger.keep("judged before", f"SELECT edit_id FROM {ledger.rows(state.edits, [])}")

    def done() -> tuple[int, int]:
        there = ledger.rows(state.edits, [])
        new = ledger.number(f"SELECT count(*) FROM {there} ANTI JOIN {before} USING (edit_id)")
        return earlier + new, new

    with accounting(state, "judge", done, lambda: _failed(state, "judge")):
        for edits in todo:
            edit(state.edit_settings(edits), state.asked(edits), _base(state), cluster, stored, "judge")


def run_edit(state: State, cluster: Cluster) -> None:
    """images × prompts -> edits, judged"""
    describe_anew(state.edits, state.images)
    ledger, stored = state.ledger, _stored(state)
    there = f"{_made(state)} UNION ALL SELECT edit_id FROM {stored}"
    before = ledger.keep("edited before", f"SELECT DISTINCT edit_id FROM ({there})")

    def done() -> tuple[int, int]:
        needed = f"SELECT DISTINCT edit_id FROM ({_needed(state)}) SEMI JOIN ({_made(state)}) USING (edit_id)"
        rows = ledger.keep("edited by now", needed)
        new = f"SELECT count(*) FROM {rows} ANTI JOIN {before} USING (edit_id)"
        return ledger.number(f"SELECT count(*) FROM {rows}"), ledger.number(new)

    with accounting(state, "edit", done, lambda: _failed(state, "edit")):
        for edits in state.edit_sets:
            edit(state.edit_settings(edits), state.asked(edits), _base(state), cluster, stored)
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


def _base(state: State) -> str:
    return state.arm_folder(BASE).uri()


def _to_judge(state: State, edits: EditSet, stored: str) -> bool:
    """Whether `judge` has anything to do of a set of edits; what others left beyond what is needed is no work."""
    left = left_of(state.ledger, state.asked(edits), stored, "judge")
    return state.ledger.number(f"SELECT count(*) FROM {left}") > 0


def _stored(state: State) -> str:
    """What is wanted, not there as it is asked for, and held by another edits table: `edit_id` and `path`."""
    there = _made(state)
    if state.settings.run.retry_errors:
        there = f"SELECT edit_id FROM ({there}) SEMI JOIN ({made(state.edits, 'edit_id')}) ON edit_id = key"
    wanted = " UNION ".join(state.wanted(edits) for edits in state.edit_sets)
    return stored_edits(state.ledger, state.edits, f"SELECT * FROM ({wanted}) ANTI JOIN ({there}) USING (edit_id)")


def _needed(state: State) -> str:
    return " UNION ".join(state.needed(edits) for edits in state.edit_sets)


def _made(state: State) -> str:
    """SQL of the ids of the edits that are there as this configuration asks for them, needed or not."""
    sets = [state.asked_at_all(edits) for edits in state.edit_sets]
    found = (outcomes(state.ledger, asked, requests(state.ledger, asked)) for asked in sets)
    return " UNION ".join(f"SELECT edit_id FROM ({query})" for query in found)


def _failed(state: State, stage: str) -> int:
    """How many of the edits that are needed could not be made."""
    keys = state.edits.errors(stage).ids()
    failed = state.ledger.given(pa.table({"edit_id": pa.array(sorted(keys), pa.string())}))
    return state.ledger.number(f"SELECT count(*) FROM {failed} SEMI JOIN ({_needed(state)}) USING (edit_id)")
