"""The arithmetic of an experiment."""

import numpy as np
import pyarrow as pa
import pytest

from alia_ray.experiment.statistics import Outcome, compare
from alia_ray.training.evaluation import summarise

CLASSES = ["a", "b"]


def outcome(arm: str, seed: int, right: list[bool], draw: int = 0) -> Outcome:
    """`right`: for each test image whether it was got right; classes and groups alternate."""
    labels = [CLASSES[number % 2] for number in range(len(right))]
    predicted = [
        label if ok else CLASSES[1 - CLASSES.index(label)] for label, ok in zip(labels, right, strict=True)
    ]
    groups = [f"g{number % 4}" for number in range(len(right))]
    ids = [f"{draw}-{number:04d}" for number in range(len(right))]
    columns = {"id": ids, "label": labels, "group": groups, "predicted": predicted}
    metrics = summarise(predicted, labels, groups, CLASSES)
    return Outcome(arm, seed, {"added": 0}, metrics, pa.table(columns))


def random_right(seed: int, share: float, count: int = 400) -> list[bool]:
    return (np.random.default_rng(seed).random(count) < share).tolist()


def test_means_and_deviations_are_those_of_the_seeds():
    rights = [random_right(seed, 0.7) for seed in range(3)]
    found = compare([outcome("original", seed, right) for seed, right in enumerate(rights)], "original", {})
    accuracies = [np.mean(right) for right in rights]
    assert found["original"]["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert found["original"]["std"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert [row["seed"] for row in found["original"]["seeds"]] == [0, 1, 2]
    assert found["original"]["difference"] is None


def test_an_interval_holds_the_mean_and_narrows_with_more_test_images():
    widths = []
    for count in (100, 1600):
        rows = [outcome("original", seed, random_right(seed, 0.7, count)) for seed in range(3)]
        found = compare(rows, "original", {})["original"]
        low, high = found["interval"]["accuracy"]
        assert low < found["mean"]["accuracy"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_differences_are_paired_by_test_image():
    """Two arms that disagree on five images are told apart, however much both depend on what is drawn."""
    rows = []
    for seed in range(3):
        right = random_right(seed, 0.6)
        better = right.copy()
        for place in [number for number, ok in enumerate(right) if not ok][:20]:
            better[place] = True
        rows += [outcome("original", seed, right, seed), outcome("alia", seed, better, seed)]
    found = compare(rows, "original", {})["alia"]
    low, high = found["difference"]["interval"]["accuracy"]
    assert found["difference"]["mean"]["accuracy"] == pytest.approx(20 / 400)
    assert 0 < low < 20 / 400 < high
    own_low, own_high = found["interval"]["accuracy"]
    assert high - low < own_high - own_low


def test_three_seeds_that_happen_to_agree_are_no_proof():
    """Arms that differ by nothing but the chance of their seeds are told apart one time in twenty, not in four."""
    chance, told_apart = np.random.default_rng(0), 0
    for _ in range(80):
        shares = chance.uniform(0.2, 0.8, size=(3, 2))
        rows = [
            outcome(arm, seed, (chance.random(60) < shares[seed, place]).tolist(), draw=seed)
            for seed in range(3)
            for place, arm in enumerate(("original", "alia"))
        ]
        low, high = compare(rows, "original", {})["alia"]["difference"]["interval"]["accuracy"]
        told_apart += low > 0 or high < 0
    assert told_apart <= 9


def test_an_arm_that_is_its_control_differs_by_nothing():
    rows = [outcome(arm, 0, random_right(0, 0.6)) for arm in ("original", "alia", "alia_control")]
    found = compare(rows, "original", {"alia": "alia_control"})["alia"]
    assert found["control"]["to"] == "alia_control"
    assert found["control"]["mean"]["accuracy"] == 0
    assert found["control"]["interval"]["worst_group_accuracy"] == [0, 0]
    assert found["std"]["accuracy"] is None  # a single seed has none


def test_images_without_a_group_are_drawn_and_are_in_no_group():
    whole = outcome("original", 0, random_right(0, 0.7))
    groups = [None if name == "g0" else name for name in whole.predictions.column("group").to_pylist()]
    columns = {name: whole.predictions.column(name).to_pylist() for name in ("id", "label", "predicted")}
    metrics = summarise(columns["predicted"], columns["label"], groups, CLASSES)
    some = Outcome("original", 0, {"added": 0}, metrics, pa.table({**columns, "group": groups}))
    all_of_them, fewer = (compare([each], "original", {})["original"]["interval"] for each in (whole, some))
    assert fewer["accuracy"] == all_of_them["accuracy"]
    low, high = fewer["worst_group_accuracy"]
    assert low < metrics["worst_group_accuracy"] < high


def test_a_draw_without_any_grouped_image_counts_as_one_group():
    whole = outcome("original", 0, random_right(0, 0.7, 20))
    columns = {name: whole.predictions.column(name).to_pylist() for name in ("id", "label", "predicted")}
    groups = pa.array(["g1", *[None] * 19], pa.string())
    metrics = summarise(columns["predicted"], columns["label"], groups.to_pylist(), CLASSES)
    some = Outcome("original", 0, {"added": 0}, metrics, pa.table({**columns, "group": groups}))
    assert np.isfinite(compare([some], "original", {})["original"]["interval"]["worst_group_accuracy"]).all()


def test_the_same_outcomes_give_the_same_numbers():
    rows = [outcome(arm, seed, random_right(seed, 0.6)) for seed in range(2) for arm in ("original", "alia")]
    assert compare(rows, "original", {}) == compare(rows, "original", {})
