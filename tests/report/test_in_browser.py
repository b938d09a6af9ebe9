"""The page in a real browser, on a phone and on a screen: nothing is cut, asked for or complained of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from a_wide_page import inputs
from browser import Tab, browser

from alia_ray.report.page import build_report
from alia_ray.store.run_folder import RunFolder

PHONE, SCREEN = 390, 1280
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
WIDER = "document.documentElement.scrollWidth > innerWidth"
CUT = """[...document.querySelectorAll('table')].filter(table => {
  const box = table.parentElement
  const scrolls = box.matches('.scroll') && getComputedStyle(box).overflowX === 'auto'
  return !scrolls || box.getBoundingClientRect().right > innerWidth
}).length"""
UNSAID = """new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(
  [...document.querySelectorAll('.scroll')].filter(box => {
    const said = getComputedStyle(box.querySelector('.more')).display !== 'none'
    return said !== box.scrollWidth > box.clientWidth
  }).length))))"""
UNDECODED = """Promise.allSettled([...document.images].map(each => each.decode())).then(all =>
  all.filter(each => each.status === 'rejected').length)"""
SCROLLING = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """The page of 200 classes, 15 domains and 40 groups."""
    folder = tmp_path_factory.mktemp("wide")
    out = folder / "report.html"
    out.write_text(build_report(RunFolder(str(folder / "run")), inputs(RunFolder(str(folder / "run")))))
    return out


def check(tab: Tab, page: Path, width: int, dark: bool = False) -> None:
    """As it is opened, and with all that folds unfolded."""
    tab.open(page, width, dark=dark)
    for unfolded in (False, True):
        if unfolded:
            tab.evaluate(OPEN_ALL)
        assert not tab.evaluate(WIDER)
        assert tab.evaluate(CUT) == 0
        assert tab.evaluate(UNSAID) == 0
    assert tab.evaluate("document.images.length") > 0
    assert tab.evaluate(UNDECODED) == 0
    assert tab.requests() == []
    assert tab.complaints() == []


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_two_hundred_classes_fit_and_ask_for_nothing(tab, wide, width):
    check(tab, wide, width, dark=width == PHONE)
    assert tab.evaluate(SCROLLING) > 0
    assert wide.stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_the_page_of_a_run_fits_and_asks_for_nothing(tab, finished, width):
    check(tab, finished / "report.html", width)
    said = tab.evaluate("document.querySelector('#confusions').innerText")
    assert "right by both" in said
    assert "Mended" in said


def test_long_tables_are_folded_at_first_and_short_ones_are_not(tab, wide):
    tab.open(wide, PHONE)
    folds = "[...document.querySelectorAll('.fold')].filter(each => %s).length"
    rows = "each.querySelectorAll('tbody tr').length > 30"
    assert tab.evaluate(folds % f"each.open && {rows}") == 0
    assert tab.evaluate(folds % f"!each.open && !({rows})") == 0
    assert tab.evaluate(folds % "each.open") > 0
    assert tab.evaluate(folds % "!each.open") > 0
    assert tab.evaluate("document.querySelector('#made-with details').open") is False


@pytest.mark.parametrize("place", ["#captions .zoom", "#pictures .scroll .zoom", ".zoom.matrix"])
def test_a_picture_is_enlarged_by_a_click_and_shrunk_by_another(tab, wide, place):
    tab.open(wide, SCREEN)
    box = f"document.querySelector('{place} img').getBoundingClientRect()"
    width = f"{box}.width"
    click = f"document.querySelector('{place} img').click()"
    small = tab.evaluate(width)
    tab.evaluate(click)
    assert 1.5 * small < tab.evaluate(width) < SCREEN
    assert 0 < tab.evaluate(f"{box}.top") < tab.evaluate(f"{box}.bottom") < tab.evaluate("innerHeight")
    assert not tab.evaluate(WIDER)
    tab.evaluate(click)
    assert tab.evaluate(width) == small


def test_one_click_selects_an_id_whole(tab, wide):
    tab.open(wide, SCREEN)
    styles = "[...document.querySelectorAll('#pictures .id')].map(each => getComputedStyle(each).userSelect)"
    assert set(tab.evaluate(styles)) == {"all"}


def test_what_a_page_asks_for_and_complains_of_is_seen(tab, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://example.invalid/x.png'><script>console.error('no'); missing()</script>")
    tab.open(page, PHONE)
    assert tab.requests() == ["http://example.invalid/x.png"]
    assert len(tab.complaints()) >= 2
