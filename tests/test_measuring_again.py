"""Whether an arm's metrics are those of the test images as they are now, on tables made by hand."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.config import parse_config
from alia_ray.config.arms import BASE
from alia_ray.pipeline import _is_not_measured
from alia_ray.state import State
from alia_ray.store.run_folder import HISTORY
from alia_ray.store.tables import IMAGES


@pytest.fixture
def state(tmp_path) -> State:
    """Two test images, measured."""
    source = {"kind": "imagefolder", "path": "photos"}
    state = State(parse_config({"run": {"folder": str(tmp_path)}, "source": source}))
    splits = {"a": "train", "b": "val", "c": "test", "d": "test"}
    rows = [{"image_id": key, "label": "cat", "split": split, "group": "sea"} for key, split in splits.items()]
    state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    folder = tmp_path.joinpath(*state.arm_path(BASE))
    folder.mkdir(parents=True)
    predictions = {"id": ["c", "d"], "label": ["cat"] * 2, "group": ["sea"] * 2, "predicted": ["cat"] * 2}
    pq.write_table(pa.table(predictions), folder / "predictions.parquet")
    state.folder.write_json({"epochs": []}, *state.arm_path(BASE), HISTORY)
    state.folder.write_json({"accuracy": 1.0}, *state.arm_path(BASE), "metrics.json")
    return state


def test_metrics_hold_as_long_as_the_test_images_do(state):
    assert not _is_not_measured(state, BASE, state.arm_path(BASE))


@pytest.mark.parametrize("change", [{"label": "dog"}, {"group": "land"}, {"split": "extra"}, None])
def test_an_arm_is_measured_again_when_the_test_images_have_changed(state, change):
    place = state.arm_path(BASE)
    if change is None:
        state.images.discard({"c"})
    else:
        state.images.correct({"c": change})
    assert _is_not_measured(State(state.settings), BASE, place)
