"""Whether an arm's metrics are those of the test images as they are now, on tables made by hand."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from alia_ray import pipeline, reporting
from alia_ray.cluster.placement import Cluster
from alia_ray.config import parse_config
from alia_ray.config.arms import BASE
from alia_ray.state import State
from alia_ray.statistics.comparing import METRICS
from alia_ray.store.run_folder import CLASSIFIER, HISTORY, TENSORS, RunFolder
from alia_ray.store.tables import IMAGES

CLUSTER = Cluster(cpus=1, gpus=0)
DONE = {"accuracy": 0.5, "worst_group_accuracy": 0.5}
ALL_RIGHT = dict.fromkeys(METRICS, 1.0)


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
    state.folder.write_json({"classes": ["cat"]}, *state.arm_path(BASE), CLASSIFIER)
    state.folder.write_bytes(safetensors.numpy.save({}), *state.arm_path(BASE), TENSORS)
    state.folder.write_json(ALL_RIGHT, *state.arm_path(BASE), "metrics.json")
    return state


def test_metrics_hold_as_long_as_the_test_images_do(state):
    assert state.measured(BASE) == ALL_RIGHT
    state.images.correct({"a": {"group": "land"}})
    assert state.measured(BASE) == ALL_RIGHT


@pytest.mark.parametrize("change", [{"label": "dog"}, {"group": "land"}, {"group": None}, {"split": "extra"}])
def test_metrics_are_none_of_test_images_that_are_described_otherwise_now(state, change):
    state.images.correct({"c": change})
    assert state.measured(BASE) is None


def test_metrics_are_none_of_fewer_test_images_or_more(state):
    state.images.discard({"c"})
    assert state.measured(BASE) is None
    rows = [{"image_id": key, "label": "cat", "split": "test", "group": "sea"} for key in "ce"]
    state.images.commit(pa.Table.from_pylist(rows[:1], schema=IMAGES))
    assert state.measured(BASE) is not None
    state.images.commit(pa.Table.from_pylist(rows[1:], schema=IMAGES))  # which failed before
    assert state.measured(BASE) is None


def test_a_larger_test_split_or_other_groups_are_another_test(state, tmp_path):
    """Of the same training images, so that the classifier is the same one."""
    source = {"kind": "csv", "path": "list.csv", "root": "photos", "label_column": "a"}
    classifiers, of_arm = set(), state.arm_path(BASE)
    for extra, column in (({}, None), ({}, "place"), ({"e": "test"}, None)):
        other = State(
            parse_config({"run": {"folder": str(tmp_path)}, "source": {**source, "group_column": column}})
        )
        splits = {"a": "train", "b": "val", "c": "test", "d": "test", **extra}
        rows = [
            {"image_id": key, "label": "cat", "split": split, "group": column} for key, split in splits.items()
        ]
        other.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
        classifiers.add(other.arm_path(BASE))
        assert other.measured(BASE) is None
    assert classifiers == {of_arm}


def test_an_evaluation_that_is_killed_half_way_is_done_again(state, monkeypatch):
    """With the metrics of new labels beside the predictions of the old ones."""
    state.images.correct({"c": {"label": "dog"}})
    made = {"id": ["c", "d"], "label": ["dog", "cat"], "group": ["sea"] * 2, "predicted": ["cat"] * 2}
    monkeypatch.setattr(pipeline, "evaluate_classifier", lambda *_: (DONE, pa.table(made)))
    write = RunFolder.write_bytes, RunFolder.write_parquet
    for step in (0, 1):

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(RunFolder, write[step].__name__, killed)
            with pytest.raises(KeyboardInterrupt):
                pipeline.evaluate_arms([(state, BASE)], CLUSTER)
        assert state.measured(BASE) is None
    pipeline.evaluate_arms([(state, BASE)], CLUSTER)
    assert state.measured(BASE) == DONE


def test_no_report_shows_metrics_of_what_the_test_images_were_before(state):
    assert reporting.arms_of(state)
    state.images.correct({"c": {"label": "dog"}})
    assert not reporting.arms_of(state)
