"""What the page says in numbers, a script finds in metrics.json."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from a_wide_page import CLASSES, DOMAINS, inputs

from alia_ray.report.numbers import numbers, shown
from alia_ray.report.page import build_report, duration, number, percent, points
from alia_ray.store.run_folder import RunFolder

NUMBER = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?(?:\u00a0(?:min|h) \d+)?(?:\u00a0(?:%|s|min))?")


class Cells(HTMLParser):
    """The texts of what a page sets as numbers: the cells of tables, cards and tiles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.inside, self.texts = 0, []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_number = tag == "dd" or (tag == "td" and "number" in (dict(attrs).get("class") or ""))
        if is_number or (self.inside and tag in ("small", "span", "b", "a")):
            self.inside += 1

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag in ("dd", "td", "small", "span", "b", "a"):
            self.inside -= 1

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts.append(data)


def leaves(tree: Any) -> Iterator[float]:
    """The numbers of a tree, and how many of something there are."""
    if isinstance(tree, dict | list):
        yield len(tree)
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(value)
    elif isinstance(tree, int | float):
        yield tree


def as_shown(value: float) -> set[str]:
    found = {percent(value), points(value), f"{value:.3f}", duration(value)}
    return found | {number(value)} if isinstance(value, int) else found


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> tuple[str, dict[str, Any]]:
    """The page, and what metrics.json holds of it."""
    folder = RunFolder(str(tmp_path_factory.mktemp("wide") / "run"))
    given = inputs(folder)
    of = shown(given)
    return build_report(folder, given, of), json.loads(json.dumps(numbers(of, given)))


def test_every_number_of_the_page_is_in_the_metrics(wide):
    page, metrics = wide
    told = {found for text in Cells(page).texts for found in NUMBER.findall(text)}
    known = set().union(*map(as_shown, leaves(metrics)))
    assert len(told) > 200
    allowed = {"95\u00a0%", "95", "10", "20", "1"}  # of the words beside them
    assert told - known - allowed == set()


def test_numbers_are_found_under_the_names_of_what_they_are_of(wide):
    _, metrics = wide
    name, prompt = CLASSES[7], DOMAINS[2]
    assert metrics["counts"]["edits"] == metrics["edits"]["attempts"] == 3600
    of_both = metrics["edits"]["classes"][name]["prompts"][prompt]
    assert of_both["kept"] == of_both["added"] <= of_both["attempts"]
    assert sum(metrics["edits"]["prompts"][prompt]["verdicts"].values()) == 240
    assert [row["in_force"] for row in metrics["edits"]["filters"].values()].count(True) == 1
    assert metrics["test_images"]["per_class"][name] == 24
    alia = metrics["arms"]["alia"]
    gained = alia["per_class"][name] - metrics["arms"]["original"]["per_class"][name]
    low, high = alia["difference"]["interval"]["per_class"][name]
    assert low <= alia["difference"]["mean"]["per_class"][name] == gained <= high
    change = metrics["confusions"]
    told = change["matrices"]["alia"]
    assert change["right"] + change["mended"] == sum(of_class.get(label, 0) for label, of_class in told.items())
    assert metrics["time"] == {"seconds": 812.0, "reused_in": ["edit"]}
    assert metrics["edits"]["clock_per_kept"] is None
    assert alia["last_epoch"] == {"epoch": 8, "loss": 1 / 8}


def test_every_key_of_the_metrics_is_documented(wide):
    _, metrics = wide
    docs = (Path(__file__).parents[2] / "docs" / "run.md").read_text()
    words = set(re.findall(r"\w+", docs.partition("### metrics.json")[2].partition("\n## ")[0]))
    keys = {*metrics, *metrics["counts"], *metrics["time"], *metrics["edits"], *metrics["confusions"]}
    for name in ("classes", "prompts", "filters"):
        keys.update(*metrics["edits"][name].values())
    assert {"counts", "clock_per_kept", "in_force", "mended", "reused_in"} <= keys
    assert keys - words == set()
