"""What a state asks for, as Python has it."""

from typing import Any

import pyarrow as pa

from alia_ray.config.arms import EditSet
from alia_ray.edits.drawing import requests
from alia_ray.state import State


def requests_in_order(state: State, edits: EditSet = "discovered") -> list[dict[str, Any]]:
    """Every edit of a set: image_id, label, domain_id, edit_id and draw, in the order of their draw."""
    asked = requests(state.ledger, state.asked(edits))
    return state.ledger.ask(f"SELECT * FROM {asked} ORDER BY draw").to_pylist()


def wanted_ids(state: State, edits: EditSet = "discovered") -> list[str]:
    """The ids of every edit of a set, made or not."""
    return [row["edit_id"] for row in requests_in_order(state, edits)]


def needed_ids(state: State, edits: EditSet = "discovered") -> set[str]:
    """The ids of those that are needed."""
    return set(state.ledger.column(state.needed(edits)))


def judged_edits(state: State, *columns: str) -> pa.Table:
    """The discovered edits that a configuration needs, of those that are there, with verdicts."""
    return state.ledger.ask(f"SELECT * FROM ({state.judged_edits(*columns)}) ORDER BY edit_id")
