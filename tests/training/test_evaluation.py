"""Metrics against numbers worked out by hand, and evaluation of a saved classifier on Ray."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from alia_ray.cluster.joining import available
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Crop, Pixels
from alia_ray.errors import StageError
from alia_ray.images import encode
from alia_ray.models.classifier import Classifier, build_classifier, prepare, save_classifier
from alia_ray.training import evaluation
from alia_ray.training.evaluation import evaluate_classifier, predict, score_training_set, summarise
from alia_ray.training.examples import Examples, class_indices, load
from alia_ray.training.on_disk import OnDisk

CLASSES = ["dark", "light"]


def test_metrics_are_those_worked_out_by_hand():
    labels = ["a", "a", "a", "a", "b", "b", "c", "c", "c", "c"]
    predictions = ["a", "a", "a", "b", "b", "c", "c", "c", "a", "d"]
    groups = ["x", "x", "y", "y", "x", "y", "x", "y", "x", "y"]
    found = summarise(predictions, labels, groups, ["a", "b", "c", "d"])
    assert found["count"] == 10
    assert found["accuracy"] == pytest.approx(6 / 10)
    assert found["per_class"] == pytest.approx({"a": 3 / 4, "b": 1 / 2, "c": 2 / 4})
    assert found["class_balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 2 / 4) / 3)
    assert found["macro_recall"] == pytest.approx(found["class_balanced_accuracy"])
    assert found["per_group"] == pytest.approx({"x": 4 / 5, "y": 2 / 5})
    assert found["worst_group_accuracy"] == pytest.approx(2 / 5)
    # a: precision 3/4, recall 3/4; b: precision 1/2, recall 1/2; c: precision 2/3, recall 1/2
    assert found["macro_f1"] == pytest.approx((3 / 4 + 1 / 2 + 4 / 7) / 3)


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="the label 'z' is none of the classes a, b"):
        summarise(["a"], ["z"], ["x"], ["a", "b"])


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_example_without_a_group_counts_in_the_accuracy_and_in_no_group(nothing):
    found = summarise(["a", "b", "b"], ["a", "b", "a"], [nothing, "x", nothing], ["a", "b"])
    assert found["per_group"] == {"x": 1.0}
    assert found["worst_group_accuracy"] == 1.0
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_without_any_group_the_worst_is_that_of_all():
    found = summarise(["a", "b", "b"], ["a", "b", "a"], [None] * 3, ["a", "b"])
    assert found["per_group"] == {}
    assert found["worst_group_accuracy"] == found["accuracy"] == pytest.approx(2 / 3)


def write_examples(folder: Path, count: int) -> Examples:
    """Dark and light pictures in turn; every third is labelled wrongly, which is its group."""
    rows = []
    for number in range(count):
        kind, wrong = number % 2, number % 3 == 0
        pixels = np.full((12, 12, 3), 40 + 170 * kind, dtype=np.uint8)
        rows.append(
            {
                "image_id": f"id{number:03d}",
                "image": encode(Image.fromarray(pixels)),
                "label": CLASSES[kind ^ wrong],
                "group": "wrong" if wrong else "right",
            }
        )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet")
    return Examples(str(folder), "image_id", tuple(row["image_id"] for row in rows))


def save_constant_classifier(folder: Path, bias: float = 1.0) -> None:
    """A SqueezeNet in which the last layer sees nothing: it says "light" with probability 0.75."""
    model = build_classifier("squeezenet1_1", "none", 2)
    with torch.no_grad():
        model.classifier[1].weight.zero_()
        model.classifier[1].bias.copy_(torch.tensor([bias, bias + np.log(3)]))
    save_classifier(str(folder), model, CLASSES, "squeezenet1_1", Pixels(image_size=32))


@pytest.mark.slow
def test_a_saved_classifier_is_evaluated_and_gives_thresholds(ray_cluster, tmp_path):
    examples = write_examples(tmp_path / "images", 12)
    save_constant_classifier(tmp_path / "classifier")
    found, predictions = evaluate_classifier(str(tmp_path / "classifier"), examples, CLASSES, available("auto"))
    # always "light": numbers 1, 5, 7, 11 are light and rightly labelled, 0 and 6 dark but labelled light
    assert found["count"] == 12
    assert found["per_class"] == {"dark": 0.0, "light": 1.0}
    assert found["per_group"] == pytest.approx({"right": 4 / 8, "wrong": 2 / 4})
    assert predictions.column("id").to_pylist() == sorted(examples.ids)
    assert predictions.column("predicted").to_pylist() == ["light"] * 12
    rights = [row["label"] == row["predicted"] for row in predictions.to_pylist()]
    assert sum(rights) / 12 == found["accuracy"]
    thresholds = score_training_set(str(tmp_path / "classifier"), examples, available("auto"))
    assert thresholds == pytest.approx({"dark": 0.25, "light": 0.75})


def test_test_images_are_cropped_once_as_training_images_are(tmp_path, monkeypatch):
    seen, shown = Pixels(image_size=8, crop=Crop(square=12, top=4, height=6, width=12)), []
    monkeypatch.setattr(Classifier, "device", torch.device("cpu"))
    classifier = Classifier(lambda images: shown.append(images) or torch.zeros(len(images), 2), CLASSES, seen)
    monkeypatch.setattr("alia_ray.models.classifier.load_classifier", lambda *_: classifier)
    rising = np.repeat(np.linspace(0, 255, 24, dtype=np.uint8)[:, None, None], 24, axis=1).repeat(3, axis=2)
    row = {"image_id": "one", "image": encode(Image.fromarray(rising)), "label": "dark", "group": "any"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "part-0.parquet")
    examples = Examples(str(tmp_path), "image_id", ("one",))
    evaluation._predict("any", [examples.for_workers()], threads=1)
    torch.testing.assert_close(shown[0], prepare(load([examples], seen, threads=1).pixels.float() / 255, seen))


def test_what_a_task_holds_no_more_of_it_keeps_on_the_disk_and_says_the_same(tmp_path, monkeypatch):
    examples = [write_examples(tmp_path / "images", 300).for_workers()]
    shown = Pixels(image_size=32)
    model = build_classifier("shufflenet_v2_x0_5", "miniature:classifier", 2)
    save_classifier(str(tmp_path / "classifier"), model, CLASSES, "shufflenet_v2_x0_5", shown)
    held = evaluation._predict(str(tmp_path / "classifier"), examples, threads=1)
    kept, of_disk = [], OnDisk.batches
    monkeypatch.setattr(OnDisk, "batches", lambda self, plan: kept.append(self.nbytes) or of_disk(self, plan))
    monkeypatch.setattr(evaluation, "_IN_MEMORY", 300 * 3 * 32**2 - 1)
    streamed = evaluation._predict(str(tmp_path / "classifier"), examples, threads=1)
    assert kept == [300 * 3 * 32**2]
    assert streamed.rows.equals(held.rows)
    assert np.array_equal(streamed.of_label, held.of_label)
    assert len(set(held.of_label.tolist())) > 2


def test_a_label_of_which_the_classifier_knows_nothing_is_told(tmp_path):
    examples = [write_examples(tmp_path / "images", 4).for_workers()]
    model = build_classifier("squeezenet1_1", "none", 2)
    save_classifier(str(tmp_path / "classifier"), model, ["dark", "dim"], "squeezenet1_1", Pixels(image_size=32))
    found = evaluation._predict(str(tmp_path / "classifier"), examples, threads=1)
    is_light = np.array(found.rows.column("label").to_pylist()) == "light"
    assert found.of_label[is_light].tolist() == [0, 0]
    assert (found.of_label[~is_light] > 0).all()
    with pytest.raises(ValueError, match="the label 'light' is none of the classes dark, dim"):
        class_indices(found.rows.column("label").combine_chunks(), found.classes)


def test_evaluating_on_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there are no examples of"):
        predict("nowhere", Examples(str(tmp_path), "image_id", ()), Cluster(1, 0))


def test_a_classifier_that_gives_no_numbers_is_refused_and_not_taken_for_the_first_class(tmp_path, monkeypatch):
    class Here:
        remote = staticmethod(evaluation._predict)

    examples = write_examples(tmp_path / "images", 4)
    save_constant_classifier(tmp_path / "classifier", bias=float("nan"))
    monkeypatch.setattr(evaluation.ray, "remote", lambda **options: lambda function: Here)
    monkeypatch.setattr(evaluation.ray, "get", lambda found: found)
    for ask in (score_training_set, partial(evaluate_classifier, classes=CLASSES)):
        with pytest.raises(StageError, match="no finite probabilities for 4 of 4 images"):
            ask(str(tmp_path / "classifier"), examples, cluster=Cluster(1, 0))
