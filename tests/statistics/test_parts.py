import pyarrow as pa
import pytest

from alia_ray.statistics.comparing import FEWEST, METRICS, Outcome, compare
from alia_ray.statistics.parts import differences


def predictions(*parts: tuple[str, str | None, int, int]) -> pa.Table:
    """Of (label, group, images, how many of them are told right)."""
    rows = [
        {"id": f"{label}{group}{n:03d}", "label": label, "group": group, "predicted": label if n < right else "?"}
        for label, group, images, right in parts
        for n in range(images)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in rows[0]]))


def test_each_class_has_the_interval_of_its_own_images():
    before = predictions(("a", None, 100, 20), ("b", None, 100, 50))
    after = predictions(("a", None, 100, 80), ("b", None, 100, 52))
    found = differences(before, after.take(list(reversed(range(200)))), "label")
    assert [part.images for part in found.values()] == [100, 100]
    low, high = found["a"].interval
    assert 0.4 < low < 0.6 < high < 0.8
    low, high = found["b"].interval
    assert low < 0 < 0.02 < high


def test_too_few_images_have_no_interval_however_clear_they_seem():
    few, enough = FEWEST - 1, FEWEST
    before = predictions(("a", "x", few, 0), ("a", "y", enough, 0))
    after = predictions(("a", "x", few, few), ("a", "y", enough, enough))
    found = differences(before, after, "group")
    assert found["x"].interval is None
    assert found["y"].interval[0] > 0


def test_images_without_a_group_are_in_none():
    table = predictions(("a", None, 30, 3), ("a", "x", 30, 3))
    assert list(differences(table, table, "group")) == ["x"]


def test_one_class_of_all_images_says_what_the_accuracy_does():
    before, after = predictions(("a", None, 60, 20)), predictions(("a", None, 60, 45))
    shares = {"original": 20 / 60, "alia": 45 / 60}
    outcomes = [
        Outcome(arm, 0, {}, dict.fromkeys(METRICS, shares[arm]), table)
        for arm, table in (("original", before), ("alia", after))
    ]
    whole = compare(outcomes, "original", {})["alia"]["difference"]["interval"]["accuracy"]
    assert differences(before, after, "label")["a"].interval == pytest.approx(whole)
