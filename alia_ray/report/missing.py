"""What a report cannot show, since a stage has not run or was interrupted."""

from functools import partial

from alia_ray.config.arms import Arm
from alia_ray.errors import StageError
from alia_ray.state import State


def missing_things(state: State) -> list[str]:
    """What a whole run has and this run folder has not, a sentence for each thing that stands in the way."""
    found: dict[str, None] = {}
    for look in (state.domains, state.thresholds, *(partial(_results, state, arm) for arm in state.arms)):
        try:
            look()
        except StageError as error:
            found[str(error)] = None
    return list(found)


def _results(state: State, arm: Arm) -> None:
    state.test_examples(arm)
    if state.measured(arm) is None:
        raise StageError(f"the arm {arm.name} is not measured yet; run `alia-ray evaluate` first")
