"""The last lines of a run, of metrics written by hand."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alia_ray.closing import closing_lines
from alia_ray.config import parse_config
from alia_ray.report.gains import cards
from alia_ray.report.page import percent, points
from alia_ray.state import State
from alia_ray.store.run_folder import METRICS
from alia_ray.store.tables import IMAGES

BEFORE = {"accuracy": 0.5, "worst_group_accuracy": 0.0, "count": 480, "difference": None}
AFTER = {"accuracy": 0.9, "worst_group_accuracy": 0.75, "count": 480}


def lines(folder: Path, interval: list[float] | None, errors: int = 0, **source: Any) -> list[str]:
    tree = {"run": {"folder": str(folder)}, "source": {"kind": "imagefolder", "path": "photos", **source}}
    state = State(parse_config(tree))
    rows = [{"image_id": f"{n}", "split": "train", "label": "cat"} for n in range(3)]
    state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    ends = {"accuracy": interval, "worst_group_accuracy": None}
    metrics = {
        "arms": {"original": BEFORE, "randaugment": BEFORE, "alia": {**AFTER, "difference": {"interval": ends}}},
        "edits": {"kept": 4, "attempts": 9},
        "counts": {"errors": errors},
    }
    state.results.write_json(metrics, METRICS)
    return list(closing_lines(state))


def test_a_run_ends_with_what_came_out_and_how_sure_that_is(tmp_path):
    accuracy, worst, edits, following = lines(tmp_path, [0.35, 0.45])
    assert accuracy == (
        "run: accuracy 50.0 → 90.0 % (+40.0 points, 95 % interval +35.0 to +45.0) of alia over original, "
        "480 test images, one seed"
    )
    assert worst.startswith("run: worst group 0.0 → 75.0 % (+75.0 points, no interval) of alia")
    assert edits == "run: 4 of 9 edits of 3 images survived the filters"
    assert "alia-ray export" in following


@pytest.mark.parametrize("interval", [[-0.1, 0.4], [0.0, 0.0], [-0.3, 0.0]])
def test_a_difference_that_may_be_chance_is_called_that(tmp_path, interval):
    assert "may be chance" in lines(tmp_path, interval)[-1]


def test_what_did_harm_is_not_to_be_exported(tmp_path):
    following = lines(tmp_path, [-0.3, -0.1])[-1]
    assert "look at the edits on the page" in following
    assert "export" not in following


def test_errors_and_a_trial_are_what_comes_next(tmp_path):
    *_, edits, following = lines(tmp_path, [0.35, 0.45], errors=2, limit=100)
    assert edits.endswith(f"; 2 rows failed: `alia-ray errors {tmp_path}`")
    assert "leave the limit of source out" in following


def test_the_last_lines_and_the_cards_of_the_page_show_the_same_digits(tmp_path):
    """Of numbers that lie at the edges of rounding, and of a difference that rounds to nothing."""
    arms = {
        "original": {"accuracy": 0.62345, "worst_group_accuracy": 0.5, "count": 64, "difference": None},
        "alia": {"accuracy": 0.62325, "worst_group_accuracy": 0.04451, "count": 64},
    }
    ends = {"accuracy": [-0.10049, 0.00049], "worst_group_accuracy": [-0.61451, -0.2]}
    arms["alia"]["difference"] = {"to": "original", "interval": ends}
    state = State(parse_config({"run": {"folder": str(tmp_path)}, "source": {"kind": "imagefolder", "path": "x"}}))
    state.results.write_json({"arms": arms, "edits": None, "counts": {"errors": 0}}, METRICS)
    said = list(closing_lines(state))
    for line, card in zip(said, cards({"arms": arms}, None), strict=False):
        after = card["after"]
        low, high = after["interval"]
        values = f"{percent(card['before'])} → {percent(after['value'])}".replace("\u00a0%", "", 1)
        digits = f"{values} ({points(after['difference'])} points, 95 % interval {points(low)} to {points(high)})"
        assert digits.replace("\u00a0", " ").replace("−", "-") in line
    assert "(+0.0 points" in said[0]
