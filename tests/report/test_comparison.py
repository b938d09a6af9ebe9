"""The tables and charts of an experiment."""

import csv
import re
from typing import Any

from a_comparison import METRICS, RESULT, arm

from alia_ray.report import page
from alia_ray.report.comparison import as_csv, as_markdown, charts_of_amounts, charts_of_arms, seeds_as_csv, tables


def test_the_tables_say_what_was_added_what_it_gave_and_what_chance_would():
    arms, controls, amounts = tables(RESULT)
    assert [row[0] for row in arms.rows] == ["original", "alia"]
    measured = ["70.0 ± 1.2", "+10.0 [+5.0, +20.0]"]
    assert arms.rows[1] == ["alia", "10, 12", *measured, *measured]
    assert arms.rows[0][3] == ""
    assert controls.rows[0][:4] == ["alia", "10, 12", "70.0 ± 1.2", "60.0 ± 1.2"]
    assert [row[0] for row in amounts.rows] == ["alia@0.5", "alia@2"]


def versus_original(*chances: float | None) -> dict[str, Any]:
    """The arms of a comparison whose differences have these p-values, of both metrics that are shown."""
    arms = {"original": arm(0.5)}
    for number, p in enumerate(chances):
        arms[f"arm{number}"] = arm(0.6, "original")
        arms[f"arm{number}"]["difference"]["p"] = dict.fromkeys(METRICS, p)
    return {**RESULT, "arms": arms}


def marked(result: dict[str, Any]) -> list[str]:
    return [row[0] for row in tables(result)[0].rows if "†" in row[3]]


def test_a_difference_is_marked_when_it_stands_among_all_of_its_table():
    assert marked(versus_original(0.04)) == []  # two metrics: one in forty
    assert marked(versus_original(0.02)) == ["arm0"]
    assert marked(versus_original(0.02, 0.5, 0.6)) == []  # six
    assert marked(versus_original(0.001, 0.012, 0.6)) == ["arm0", "arm1"]  # step by step: 6, 5, 4, 3
    assert marked(versus_original(0.02, None)) == ["arm0"]  # one that is not asked is no comparison


def test_what_has_no_interval_and_what_is_the_same_is_said_so():
    result = versus_original(0.02, None)
    of_one, same = (result["arms"][name] for name in ("arm0", "arm1"))
    for each in (result["arms"]["original"], of_one, same):
        each["interval"]["worst_group_accuracy"] = None
    of_one["difference"]["interval"]["worst_group_accuracy"] = None
    of_one["difference"]["p"]["worst_group_accuracy"] = None
    same["difference"]["interval"] = {metric: [0.0, 0.0] for metric in METRICS}
    rows = tables(result)[0].rows
    assert rows[1][5] == "+10.0 –"
    assert rows[2][3] == rows[2][5] == "the same classifiers"
    assert "The worst group has no interval" in as_markdown(result)
    assert "interval" not in as_csv(result)
    row = charts_of_arms(result)[1][1].rows[0]
    assert row.low == row.x == row.high


def test_of_a_single_seed_it_is_said_that_seeds_are_left_out():
    result = {**versus_original(0.02), "seeds": [7]}
    text = as_markdown(result)
    assert "one seed (7)" in text
    assert "another seed may differ by more" in text
    assert "over 1 seeds" not in text
    assert tables(result)[0].columns.count("difference, one seed") == 2


def test_how_far_steps_are_apart_is_said():
    def with_steps(equal: bool, *steps: int) -> str:
        arms = {"original": arm(0.5), "alia": arm(0.7, "original")}
        for each, taken in zip(arms.values(), steps, strict=True):
            each["seeds"] = [{**seed, "steps": taken} for seed in each["seeds"]]
        return as_markdown({**RESULT, "equal_steps": equal, "arms": arms})

    assert (
        "as many optimiser steps as the original, but for whole epochs (1.00 to 1.33 times as many);"
        in with_steps(True, 18, 24)
    )
    assert "as many optimiser steps as the original;" in with_steps(True, 200, 200)
    assert "equally many epochs (1.00 to 5.00 times as many steps);" in with_steps(False, 100, 500)
    assert "equally many epochs;" in as_markdown(RESULT)  # as earlier versions left it


def test_markdown_rows_have_as_many_cells_as_their_header():
    for block in re.findall(r"(?:^\|.*\|\n?)+", as_markdown(RESULT), re.MULTILINE):
        assert len({line.count("|") for line in block.strip().splitlines()}) == 1
    assert "a fresh draw of every split for each" in as_markdown(RESULT)


def test_csv_says_what_the_json_says_a_row_for_each_arm_and_metric():
    rows = {(row["arm"], row["metric"]): row for row in csv.DictReader(as_csv(RESULT).splitlines())}
    assert len(rows) == len(RESULT["arms"]) * len(METRICS)
    row = rows["alia", "worst_group_accuracy"]
    assert (row["mean"], row["std"], row["low"], row["high"]) == ("0.7", "0.012", str(0.7 - 0.1), str(0.7 + 0.1))
    assert (row["difference_to"], row["difference"], row["difference_low"]) == ("original", "0.1", "0.05")
    assert (row["control_to"], row["control"], row["control_high"]) == ("alia_control", "0.1", "0.2")
    assert (rows["original", "accuracy"]["difference"], rows["alia@2", "accuracy"]["amount"]) == ("", "2")


def test_csv_of_seeds_has_a_row_for_each_training_asked_for():
    rows = list(csv.DictReader(seeds_as_csv(RESULT).splitlines()))
    assert [(row["arm"], row["seed"], row["added"]) for row in rows[:2]] == [
        ("original", "0", "10"),
        ("original", "1", "12"),
    ]
    assert len(rows) == 2 * len(RESULT["arms"])


def test_the_charts_place_values_between_the_ends_of_their_intervals():
    charts = charts_of_arms(RESULT)
    assert [title for title, _ in charts] == ["Accuracy", "Worst group"]
    rows = charts[0][1].rows
    assert [row.name for row in rows] == ["original", "alia"]
    assert all(row.low < row.x < row.high for row in rows)
    assert rows[0].x < rows[1].x
    assert rows[0].y < rows[1].y


def test_amounts_start_at_the_original():
    (_, accuracy), _ = charts_of_amounts(RESULT)
    (line,) = accuracy.lines
    assert line.name == "alia"
    assert len(line.points) == 3
    assert line.last == "80.0"


def test_an_amount_is_drawn_where_so_many_edits_were_added():
    few = [{"seed": seed, "added": 10, "added_for_each": added} for seed, added in ((0, 0.9), (1, 1.1))]
    asked_for_more = {**arm(0.7, "original", amount=4), "seeds": few}
    (_, accuracy), _ = charts_of_amounts({**RESULT, "arms": {**RESULT["arms"], "alia@4": asked_for_more}})
    (start, _), _, (middle, _), (end, _) = accuracy.lines[0].points
    assert middle == (start + end) / 2  # of 0 and 2
    assert accuracy.lines[0].last == "80.0"


def test_a_comparison_without_amounts_or_filters_has_one_table():
    plain = {**RESULT, "arms": {"original": arm(0.5), "cutmix": arm(0.6, "original")}}
    assert len(tables(plain)) == 1
    assert charts_of_amounts(plain) == []


def test_a_comparison_of_an_earlier_version_is_not_shown_as_if_it_were_of_this_one():
    old = versus_original(0.02)
    del old["arms"]["arm0"]["difference"]["p"]
    shown = page._comparison(old)
    assert "alia-ray experiment" in shown["caption"]
    assert not shown["tables"]
    assert page._comparison(RESULT)["tables"]


def test_the_arm_as_it_is_configured_is_a_point_among_its_amounts():
    arms = {
        name: {**each, "seeds": [dict(seed) for seed in each["seeds"]]} for name, each in RESULT["arms"].items()
    }
    for seed in arms["alia"]["seeds"]:
        seed["added_for_each"] = 1.0
    (_, accuracy), _ = charts_of_amounts({**RESULT, "arms": arms})
    heights = [y for _, y in accuracy.lines[0].points]
    assert len(heights) == 4  # 0, 0.5, 1 and 2
    assert heights == sorted(heights, reverse=True)  # 50, 65, 70 and 80 %


def test_shares_are_drawn_in_percent_as_the_tables_say_them():
    (_, accuracy), _ = charts_of_amounts(RESULT)
    assert [text for _, text in accuracy.y_ticks] == ["50", "60", "70", "80"]
    assert [text for _, text in accuracy.x_ticks] == ["0", "0.5", "2"]
