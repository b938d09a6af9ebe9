"""The arithmetic of an experiment."""

import numpy as np
import pyarrow as pa
import pytest

from alia_ray.errors import StageError
from alia_ray.statistics.comparing import FEWEST, MOST_GROUPS, Outcome, compare
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


@pytest.mark.parametrize("is_shared", [False, True])
def test_intervals_of_a_comparison_hold_the_truth_as_often_as_they_say(is_shared):
    chance, held, repeats = np.random.default_rng(1), np.zeros(4), 400
    for _ in range(repeats):
        rows = [
            outcome(arm, seed, (chance.random(240) < share).tolist(), draw=0 if is_shared else seed)
            for seed in range(3)
            for arm, share in (("original", 0.7), ("alia", 0.75))
        ]
        found = compare(rows, "original", {}, fresh_draws=not is_shared)["alia"]
        apart = found["difference"]["interval"]
        held += [
            low <= true <= high
            for (low, high), true in (
                (found["interval"]["accuracy"], 0.75),
                (found["interval"]["class_balanced_accuracy"], 0.75),
                (apart["accuracy"], 0.05),
                (apart["class_balanced_accuracy"], 0.05),
            )
        ]
    assert (held / repeats >= 0.93).all()
    assert (held / repeats <= 0.97).all()


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_of_the_worst_group_holds_the_true_one_where_all_are_alike(seeds):
    """As measured, the worst of four groups that are alike lies below all of them, on average over seeds too."""
    chance, held, repeats = np.random.default_rng(2), np.zeros(2), 120
    for _ in range(repeats):
        rows = [
            outcome(arm, seed, (chance.random(240) < share).tolist(), draw=seed)
            for seed in range(seeds)
            for arm, share in (("original", 0.6), ("alia", 0.8))
        ]
        found = compare(rows, "original", {})["alia"]
        ends = [each["interval"]["worst_group_accuracy"] for each in (found, found["difference"])]
        held += [low <= true <= high for (low, high), true in zip(ends, (0.8, 0.2), strict=True)]
        assert ends[0][0] <= found["mean"]["worst_group_accuracy"] <= ends[0][1]
    assert (held / repeats >= 0.93).all()


def test_a_group_that_is_clearly_the_worst_has_the_interval_of_its_images():
    rows, worst = [], []
    for seed in range(3):
        right = random_right(seed, 0.9, 400)
        right[::4] = random_right(seed, 0.4, 100)  # all of g0
        rows.append(outcome("original", seed, right, draw=seed))
        worst.append(np.mean(right[::4]))
    low, high = compare(rows, "original", {})["original"]["interval"]["worst_group_accuracy"]
    half = 4.30265 * np.std(worst, ddof=1) / np.sqrt(3)
    assert (low, high) == pytest.approx((np.mean(worst) - half, np.mean(worst) + half), abs=1e-4)


@pytest.mark.parametrize("draws", [(0, 1, 2), (0, 0, 0)])
def test_arms_without_an_error_have_an_interval_nevertheless(draws):
    rows = [
        outcome(arm, seed, [True] * 240, draw) for seed, draw in enumerate(draws) for arm in ("original", "alia")
    ]
    found = compare(rows, "original", {})["alia"]
    for metric in ("accuracy", "class_balanced_accuracy", "worst_group_accuracy"):
        low, high = found["interval"][metric]
        assert low < 0.995 < high == 1
        low, high = found["difference"]["interval"][metric]
        assert low < -0.002 < 0 < 0.002 < high
        assert found["difference"]["p"][metric] == 1


def test_the_more_images_a_worst_group_without_an_error_has_the_less_is_left_to_chance():
    lows = []
    for count in (240, 2400):
        rows = [outcome("original", seed, [True] * count, draw=seed) for seed in range(3)]
        lows.append(compare(rows, "original", {})["original"]["interval"]["worst_group_accuracy"][0])
    assert 0 < 1 - lows[0] == pytest.approx(10 * (1 - lows[1]), rel=0.1)


def test_an_arm_that_is_its_control_differs_by_nothing():
    rows = [outcome(arm, 0, random_right(0, 0.6)) for arm in ("original", "alia", "alia_control")]
    rows = [Outcome(each.arm, 0, {"classifier": "classifiers/1"}, each.metrics, each.predictions) for each in rows]
    found = compare(rows, "original", {"alia": "alia_control"})["alia"]
    assert found["control"]["to"] == "alia_control"
    assert found["control"]["mean"]["accuracy"] == 0
    assert found["control"]["interval"]["worst_group_accuracy"] == [0, 0]
    assert found["control"]["p"]["accuracy"] is None  # nothing is asked
    assert found["std"]["accuracy"] is None  # a single seed has none


def test_the_same_classifier_differs_from_itself_by_nothing_even_without_an_error():
    rows = [outcome(arm, 0, [True] * 240) for arm in ("original", "alia")]
    rows = [Outcome(each.arm, 0, {"classifier": "classifiers/1"}, each.metrics, each.predictions) for each in rows]
    assert compare(rows, "original", {})["alia"]["difference"]["interval"]["accuracy"] == [0, 0]


def test_classifiers_that_read_the_same_background_are_not_the_same():
    """Both are right where the class is at home and wrong elsewhere, in every image alike."""
    right = [number % 4 < 2 for number in range(240)]
    rows = [outcome(arm, seed, right, seed) for seed in range(3) for arm in ("original", "cutmix")]
    rows = [
        Outcome(each.arm, each.seed, {"classifier": f"{each.arm}{each.seed}"}, each.metrics, each.predictions)
        for each in rows
    ]
    difference = compare(rows, "original", {})["cutmix"]["difference"]
    low, high = difference["interval"]["accuracy"]
    assert low < 0 < high
    assert difference["p"]["accuracy"] == pytest.approx(1)


def test_the_worst_of_many_groups_has_no_interval():
    for groups, has_interval in ((MOST_GROUPS, True), (MOST_GROUPS + 1, False)):
        rows = []
        for seed in range(3):
            for arm in ("original", "alia"):
                each = outcome(arm, seed, random_right(seed, 0.7), draw=seed)
                names = [f"g{number % groups}" for number in range(each.predictions.num_rows)]
                table = each.predictions.drop_columns("group").append_column("group", pa.array(names))
                predicted, labels = (table.column(name).to_pylist() for name in ("predicted", "label"))
                metrics = summarise(predicted, labels, names, CLASSES)
                rows.append(Outcome(arm, seed, {}, metrics, table))
        found = compare(rows, "original", {})["original"]
        assert (found["interval"]["worst_group_accuracy"] is not None) == has_interval
        assert found["interval"]["accuracy"] is not None


def test_a_class_or_group_of_hardly_any_images_leaves_the_metric_that_it_counts_in_without_an_interval():
    """Two images of a class that are right in every seed are half of the metric, and hide its chance."""
    for of_class, has_interval in ((FEWEST, True), (FEWEST - 1, False), (2, False)):
        right = random_right(0, 0.7, 200)
        labels = ["b"] * of_class + ["a"] * (200 - of_class)
        predicted = [label if ok else CLASSES[label == "a"] for label, ok in zip(labels, right, strict=True)]
        columns = {
            "id": [f"{n:03d}" for n in range(200)],
            "label": labels,
            "group": labels,
            "predicted": predicted,
        }
        metrics = summarise(predicted, labels, labels, CLASSES)
        rows = [Outcome(arm, s, {}, metrics, pa.table(columns)) for arm in ("original", "alia") for s in range(3)]
        found = compare(rows, "original", {}, fresh_draws=False)
        for intervals in (found["original"]["interval"], found["alia"]["difference"]["interval"]):
            assert (intervals["class_balanced_accuracy"] is not None) == has_interval
            assert (intervals["worst_group_accuracy"] is not None) == has_interval
            assert intervals["accuracy"] is not None


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
    groups = pa.array([None] * 20, pa.string())
    metrics = summarise(columns["predicted"], columns["label"], groups.to_pylist(), CLASSES)
    some = Outcome("original", 0, {"added": 0}, metrics, pa.table({**columns, "group": groups}))
    found = compare([some], "original", {})["original"]["interval"]
    assert found["worst_group_accuracy"] == found["accuracy"]


def test_the_same_outcomes_give_the_same_numbers():
    rows = [outcome(arm, seed, random_right(seed, 0.6)) for seed in range(2) for arm in ("original", "alia")]
    assert compare(rows, "original", {}) == compare(rows, "original", {})


def changed(each: Outcome, column: str, values: list[str | None]) -> Outcome:
    """The same outcome, as if measured on images with other ids, labels or groups."""
    table = each.predictions.drop_columns(column).append_column(column, pa.array(values))
    return Outcome(each.arm, each.seed, each.facts, each.metrics, table)


@pytest.mark.parametrize("column", ["id", "label", "group"])
def test_arms_that_were_measured_on_different_images_are_not_compared(column):
    rows = [outcome(arm, seed, random_right(seed, 0.6, 40)) for seed in (3, 4) for arm in ("original", "alia")]
    values = rows[3].predictions.column(column).to_pylist()
    rows[3] = changed(rows[3], column, ["other", *values[1:]])
    with pytest.raises(StageError, match="alia and original of seed 4 were not measured on the same"):
        compare(rows, "original", {})


def test_arms_measured_on_fewer_images_are_not_compared():
    rows = [outcome("original", 0, random_right(0, 0.6, 400)), outcome("alia", 0, random_right(0, 0.6, 40))]
    with pytest.raises(StageError, match="360 images of 40 and 400 are in one test set only"):
        compare(rows, "original", {})


def test_seeds_of_a_shared_test_set_must_share_it():
    rows = [outcome("original", seed, random_right(seed, 0.6), draw=seed) for seed in range(2)]
    assert compare(rows, "original", {}, fresh_draws=True)
    with pytest.raises(StageError, match="the arms of seeds 1 and 0"):
        compare(rows, "original", {}, fresh_draws=False)


def test_arms_with_different_seeds_are_not_compared():
    rows = [outcome("original", 0, [True] * 8), outcome("original", 1, [True] * 8), outcome("alia", 0, [True] * 8)]
    with pytest.raises(StageError, match=r"alia and original \(seeds \[0, 1\]\)"):
        compare(rows, "original", {})


def test_images_may_come_in_another_order():
    rows = [outcome(arm, seed, random_right(seed, 0.6)) for seed in range(2) for arm in ("original", "alia")]
    turned = [
        Outcome(each.arm, each.seed, each.facts, each.metrics, each.predictions.sort_by([("id", "descending")]))
        for each in rows
    ]
    ends = [compare(found, "original", {})["alia"]["difference"]["interval"] for found in (rows, turned)]
    for metric, low_high in ends[0].items():
        assert ends[1][metric] == pytest.approx(low_high, abs=1e-6)
