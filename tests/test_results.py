"""What a configuration gave, beside that of others, on folders made by hand."""

import json
from pathlib import Path

import pytest

from alia_ray import results
from alia_ray.config import parse_config
from alia_ray.errors import FullDiskError, StageError
from alia_ray.reporting import run_report
from alia_ray.results import accounting, begin, check_replaces, named, publish, stages_of
from alia_ray.state import State
from alia_ray.store.run_folder import METRICS


def state(folder: Path, **sections: dict) -> State:
    tree = {"run": {"folder": str(folder)}, "source": {"kind": "imagefolder", "path": "photos"}, **sections}
    return State(parse_config(tree))


def page(of: State, text: str, missing: list[str] | None = None) -> None:
    """A page of a configuration, as `report` leaves it."""
    of.results.write_json({"missing": missing or []}, METRICS)
    of.results.write_bytes(text.encode(), results.PAGE)


def shown(folder: Path) -> str:
    return (folder / results.PAGE).read_text()


# -------------------------------------------------------------------- what the stages did


class Rows:
    """A stage's rows, as many as were made."""

    def __init__(self, state: State, there: int) -> None:
        self.state, self.there, self.failed = state, there, 0

    def stage(self, makes: int, error: BaseException | None = None) -> dict:
        """Run it; gives what is kept of it."""
        done = named(lambda: dict.fromkeys(range(self.there), 1))
        with accounting(self.state, "caption", done, lambda: self.failed):
            self.there += makes
            if error:
                raise error
        return self.kept()

    def kept(self) -> dict:
        return stages_of(self.state)["caption"]


def test_rows_that_were_there_are_told_from_those_that_were_made(tmp_path):
    rows = Rows(state(tmp_path), there=5)
    kept = rows.stage(makes=3)
    assert (kept["rows"], kept["made"], kept["reused"]) == (8, 3, 5)
    assert kept["ended"]


def test_a_run_that_finds_everything_changes_no_number(tmp_path):
    rows = Rows(state(tmp_path), there=0)
    before = rows.stage(makes=3)
    assert rows.stage(makes=0) == before


@pytest.mark.parametrize("error", [StageError("no"), KeyboardInterrupt()])
def test_a_try_counts_that_made_something_before_it_failed_and_no_other(tmp_path, error):
    rows = Rows(state(tmp_path), there=0)
    with pytest.raises(type(error)):
        rows.stage(makes=3, error=error)
    half = rows.kept()
    assert (half["rows"], half["made"], half["ended"]) == (3, 3, None)
    with pytest.raises(type(error)):
        rows.stage(makes=0, error=error)
    assert rows.kept() == half
    whole = rows.stage(makes=2)
    assert (whole["rows"], whole["made"], whole["reused"]) == (5, 5, 0)
    assert whole["ended"]


def test_what_failed_counts_beside_what_was_made(tmp_path):
    rows = Rows(state(tmp_path), there=0)
    rows.failed = 2
    assert rows.stage(makes=3)["errors"] == 2
    rows.failed = 0  # tried again, in another run
    assert rows.stage(makes=2)["errors"] == 0


def test_a_full_disk_names_the_stage(tmp_path):
    with pytest.raises(StageError, match=r"^caption: the disk is full"):
        Rows(state(tmp_path), there=0).stage(makes=0, error=FullDiskError("the disk is full"))


def test_the_draws_of_an_experiment_count_together_and_nothing_of_another_configuration_does(tmp_path):
    whole = state(tmp_path, source={"kind": "miniature"}, experiment={"fresh_draws": True}).settings
    draws = [State(state(tmp_path, train={"seed": seed}).settings, whole=whole) for seed in (0, 1)]
    for draw, makes in zip(draws, (4, 2), strict=True):
        Rows(draw, there=1).stage(makes)
    Rows(state(tmp_path), there=0).stage(makes=9)
    for draw in draws:
        kept = stages_of(draw)["caption"]
        assert (kept["rows"], kept["made"], kept["reused"]) == (8, 6, 2)


def test_what_draws_share_counts_once_and_is_not_called_reused_where_the_first_made_it(tmp_path):
    whole = state(tmp_path).settings
    draws = [State(state(tmp_path, train={"seed": seed}).settings, whole=whole) for seed in (0, 1, 2)]
    for draw, there in zip(draws, (0, 5, 5), strict=True):
        rows = Rows(draw, there)
        rows.failed = 2
        rows.stage(makes=5 - there)
    kept = stages_of(draws[0])["caption"]
    assert (kept["rows"], kept["made"], kept["reused"], kept["errors"]) == (5, 5, 0, 2)


# -------------------------------------------------------------------- pages


def test_the_configuration_in_the_folder_is_that_of_its_page(tmp_path):
    first, second = state(tmp_path), state(tmp_path, edit={"steps": 9})
    begin(first, first.settings)
    assert "steps: 50" in (tmp_path / results.CONFIG).read_text()  # there is no page yet
    page(first, "of the first")
    publish(first, is_less=False)
    begin(second, second.settings)  # and dies
    assert "steps: 50" in (tmp_path / results.CONFIG).read_text()
    assert "steps: 9" in Path(second.results.file(results.CONFIG)).read_text()
    page(second, "of the second")
    publish(second, is_less=False)
    assert "steps: 9" in (tmp_path / results.CONFIG).read_text()
    assert shown(tmp_path) == "of the second"
    assert Path(first.results.file(results.PAGE)).read_text() == "of the first"


def test_a_page_brings_its_configuration_along_whoever_writes_it(tmp_path):
    first, second = state(tmp_path), state(tmp_path, edit={"steps": 9})
    begin(first, first.settings)
    run_report(first, missing=["there is no edit yet"])
    run_report(second, missing=["there is no edit yet"])  # which was never run
    assert "steps: 9" in (tmp_path / results.CONFIG).read_text()
    assert "steps: 9" in shown(tmp_path)


def test_a_run_says_what_it_has_otherwise_than_the_page_that_is_there(tmp_path, capsys):
    first, second = state(tmp_path), state(tmp_path, edit={"steps": 9}, train={"seed": 3})
    begin(first, first.settings)
    page(first, "of the first")
    publish(first, is_less=False)
    begin(first, first.settings)
    assert capsys.readouterr().err == ""
    begin(second, second.settings)
    said = capsys.readouterr().err
    assert "is of other settings: edit.steps: 50, now 9, train.seed: none, now 3" in said


def test_a_whole_page_is_not_replaced_by_less_of_other_settings(tmp_path, capsys):
    first, second = state(tmp_path), state(tmp_path, edit={"steps": 9})
    page(first, "of the first")
    publish(first, is_less=False)
    page(second, "half of the second", missing=["there are no edits yet"])
    where = publish(second, is_less=True)
    assert shown(tmp_path) == "of the first"
    assert where == second.results.shown(results.PAGE)
    assert "stays as it is" in capsys.readouterr().err
    page(second, "the second")
    publish(second, is_less=False)
    assert shown(tmp_path) == "the second"


def test_a_whole_page_is_not_replaced_by_less_of_its_own_settings(tmp_path):
    found = state(tmp_path)
    check_replaces(found, ["there are no edits yet"])  # there is no page
    page(found, "half", missing=["there are no edits yet"])
    check_replaces(found, ["there are no edits yet"])
    page(found, "whole")
    check_replaces(found, [])
    with pytest.raises(
        StageError, match=r"is whole, and now not all is there: there are no edits yet; .*--replace"
    ):
        check_replaces(found, ["there are no edits yet"])


def test_the_comparison_of_an_experiment_goes_where_its_page_goes(tmp_path):
    plain = state(tmp_path)
    compared = State(plain.settings, whole=plain.settings)
    assert compared.results != plain.results
    page(compared, "of the experiment")
    compared.results.write_json({}, "experiment.json")
    publish(compared, is_less=False)
    assert json.loads((tmp_path / "experiment.json").read_text()) == {}
    page(plain, "of one run")
    publish(plain, is_less=False)
    assert not (tmp_path / "experiment.json").exists()
    assert compared.results.has_file("experiment.json")
