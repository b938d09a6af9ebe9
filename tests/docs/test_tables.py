"""What the pages say is what the files say that they are written from."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)


@pytest.mark.parametrize("page", tables.PAGES)
def test_pages_are_what_the_script_writes(page):
    assert tables.written(page) == (DOCS / page).read_text()


@pytest.mark.parametrize("page", ["results.md", "filters.md"])
def test_a_figure_that_its_file_does_not_give_is_found(page, monkeypatch):
    name = re.search(r"<!-- mean (\S+) original", (DOCS / page).read_text()).group(1)
    arm = tables.result(name)["arms"]["original"]
    monkeypatch.setitem(arm, "mean", {metric: value / 2 for metric, value in arm["mean"].items()})
    assert tables.written(page) != (DOCS / page).read_text()


@pytest.mark.parametrize("page", tables.PAGES)
def test_every_mark_is_closed_and_none_breaks_its_paragraph(page):
    text = (DOCS / page).read_text()
    marks = re.findall(r"<!-- (\w+)[^>]*-->", tables.MARKED.sub("", text))
    assert not set(marks) & {"end", *tables.MAKERS}
    begun = [line for line in text.splitlines() if re.match(r"\s*<!-- (?!end).*<!-- end -->", line)]
    assert not begun  # Markdown takes a line that begins with a comment for HTML


def test_no_file_of_an_experiment_is_left_out():
    text = "".join((DOCS / page).read_text() for page in tables.PAGES)
    for path in DOCS.glob("results_*.json"):
        assert f"]({path.name})" in text
