"""The cards and tables of gains: what is called better, and of which seeds they are."""

from typing import Any

import pyarrow as pa
import pytest
from a_comparison import METRICS, RESULT
from parsed_page import Page

from alia_ray.config import Judge
from alia_ray.report.gains import breakdown, cards, gain
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.page import build_report
from alia_ray.store.run_folder import RunFolder


def metrics(ends: list[float] | None, worst: list[float] | None = None) -> dict[str, Any]:
    """Of one seed: accuracy from 50 to 62.5 %."""
    difference = {"to": "original", "interval": {"accuracy": ends, "worst_group_accuracy": worst}}
    before = {**dict.fromkeys(METRICS, 0.5), "count": 16, "macro_f1": 0.5}
    after = {**dict.fromkeys(METRICS, 0.625), "count": 16, "macro_f1": 0.6, "difference": difference}
    return {"arms": {"original": {**before, "interval": {"accuracy": [0.25, 0.75]}}, "alia": after}}


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([0.01, 0.2], "better"),
        ([-0.2, -0.01], "worse"),
        ([-0.1, 0.4], "unclear"),
        ([0.0, 0.0], "unclear"),
        (None, "unclear"),
    ],
)
def test_better_is_what_the_whole_interval_says(ends, verdict):
    assert gain(0.6, 0.5, ends)["verdict"] == verdict


def page(tmp_path, **given: Any) -> Page:
    folder = RunFolder(str(tmp_path / "run"))
    return Page(build_report(folder, ReportInputs(images=folder.table("images", "none"), judge=Judge(), **given)))


def classes(found: Page) -> list[str]:
    return [str(attributes.get("class")) for _, attributes in found.elements]


def test_a_gain_that_may_be_chance_is_shown_with_its_interval_and_without_colour(tmp_path):
    found = page(tmp_path, metrics=metrics([-0.1, 0.35]))
    assert "+12.5 points 95 % interval [−10.0, +35.0]; 16 test images, 1 seed" in found.text
    assert "no interval" in found.text  # of the worst group
    assert "difference unclear" in classes(found)
    assert not [name for name in classes(found) if "better" in name or "worse" in name]
    assert "25.0\u00a0% to 75.0\u00a0%".replace("\u00a0", " ") in found.text  # the original's own


def test_a_sure_gain_is_green_and_a_sure_loss_red(tmp_path):
    found = page(tmp_path, metrics=metrics([0.1, 0.2], worst=[-0.3, -0.1]))
    assert {"difference better", "difference worse", "number better", "number worse"} <= set(classes(found))


def test_the_cards_of_an_experiment_are_of_all_its_seeds(tmp_path):
    given = metrics([0.1, 0.2])
    accuracy, worst = cards(given, RESULT)
    assert (accuracy["before"], accuracy["after"]["value"], accuracy["seeds"]) == (0.5, 0.7, 2)
    assert accuracy["after"]["interval"] == [0.05, 0.2]
    assert (accuracy["control"]["to"], accuracy["control"]["value"]) == ("alia_control", 0.7)
    assert worst["images"] == 480
    found = page(tmp_path, metrics=given, experiment=RESULT)
    summary = found.text[: found.text.index("Percent, mean")]
    assert "70.0 %" in summary
    assert "62.5 %" not in summary
    assert "480 test images, means of 2 seeds" in summary
    assert "against alia_control" in summary
    assert "Seed 0 alone" in found.text[found.text.index("Percent, mean") :]


def test_an_outdated_experiment_gives_way_to_the_seed_alone(tmp_path):
    arms = {name: {**arm, "control": None} for name, arm in RESULT["arms"].items()}
    old = {key: value for key, value in arms["alia"]["difference"].items() if key != "p"}
    result = {**RESULT, "arms": {**arms, "alia": {**arms["alia"], "difference": old}}}
    found = page(tmp_path, metrics=metrics([0.1, 0.2]), experiment=result)
    assert "62.5 %" in found.text
    assert "original → alia, seed 0 alone" in found.text


def test_there_are_no_cards_before_both_arms_are_measured():
    assert cards({}, None) == []
    assert cards({"arms": {"alia": {"accuracy": 0.5}}}, None) == []
    assert cards({}, {**RESULT, "arms": {"original": RESULT["arms"]["original"]}}) == []


def test_classes_without_predictions_have_no_interval():
    arms = {"original": {"per_class": {"a": 0.5}}, "alia": {"per_class": {"a": 1.0, "b": 0.5}}}
    a, b = breakdown({"arms": arms}, "per_class")
    assert (a["images"], a["cells"][1]["difference"], a["cells"][1]["verdict"]) == (None, 0.5, "unclear")
    assert b["cells"][0]["value"] is None


def grouped(tmp_path, groups: list[str | None]) -> Page:
    """The page of two arms that are right everywhere, on images of two classes and these groups in turn."""
    labels = [("a", "b")[n % 2] for n in range(40)]
    of_images = [groups[n % len(groups)] for n in range(40)]
    table = pa.table({"id": [f"{n:02d}" for n in range(40)], "label": labels, "group": of_images})
    table = table.append_column("predicted", table.column("label"))
    per_group = {group: 1.0 for group in groups if group}
    found = metrics(None)
    for arm in found["arms"].values():
        arm |= {"per_class": {"a": 1.0, "b": 1.0}, "per_group": per_group}
    return page(tmp_path, metrics=found, predictions={"original": table, "alia": table})


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        (["a", "b"], "each class is a group of its own"),
        (["lake", "city"], "each class is a group of its own"),  # under other names
        (["lake"], "there is one group only, lake"),
        ([None], "no test image has a group"),
    ],
)
def test_groups_that_say_nothing_of_their_own_have_no_table(tmp_path, groups, why):
    text = grouped(tmp_path, groups).text
    assert "By class" in text
    assert "By group" not in text
    assert f"No table by group: {why}" in text


@pytest.mark.parametrize("groups", [["lake", "city", "city"], ["a", "b", None]])
def test_groups_that_cut_across_the_classes_have_a_table(tmp_path, groups):
    text = grouped(tmp_path, groups).text
    assert "By group" in text
    assert "No table by group" not in text


def test_arms_that_share_a_classifier_are_called_that_on_the_cards_as_in_the_table(tmp_path):
    alia = RESULT["arms"]["alia"]
    same = {**alia["control"], "mean": dict.fromkeys(METRICS, 0.0), "p": dict.fromkeys(METRICS)}
    same |= {"interval": {metric: [0.0, 0.0] for metric in METRICS}}
    result = {**RESULT, "arms": {**RESULT["arms"], "alia": {**alia, "control": same}}}
    text = page(tmp_path, metrics=metrics([0.1, 0.2]), experiment=result).text
    summary, tables = text[: text.index("Percent, mean")], text[text.index("Percent, mean") :]
    assert "as many edits drawn at random: the same classifiers" in summary
    assert "[+0.0, +0.0]" not in summary
    assert "the same classifiers" in tables


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([f"g{n}" for n in range(20)], "no interval: there are 20 groups, more than 10;"),
        (["lake", "city", "city"], "no interval: the group lake has 14 test images, fewer than 20;"),
        ([None], "no interval: there are more than 10 groups, or one has fewer than 20 test images;"),
    ],
)
def test_why_the_worst_group_has_no_interval_is_said_of_this_run(tmp_path, groups, why):
    assert why in grouped(tmp_path, groups).text


def test_what_is_of_all_seeds_is_told_from_what_is_of_one(tmp_path):
    stages = {"edit": {"rows": 9, "made": 9, "reused": 0, "errors": 0, "seconds": 60.0}}
    text = page(tmp_path, metrics={**metrics([0.1, 0.2]), "stages": stages}, experiment=RESULT).text
    assert "by the clock, all stages of all 2 seeds" in text
    assert "Rows and times are of all 2 seeds" in text
    assert "of seed 0 alone, but for the times" in text


def test_the_epoch_that_is_tested_is_told(tmp_path):
    given = metrics([0.1, 0.2])
    given["arms"]["alia"]["best_epoch"] = 1
    history = {"alia": [{"epoch": n, "loss": 1 / n, "val_class_balanced_accuracy": 0.75} for n in (1, 2, 3)]}
    text = page(tmp_path, metrics=given, history=history).text
    assert "the epoch that validation chose: alia 1." in text
    assert "Class-balanced accuracy on validation percent" in text
    assert "alia last 75.0" in text
