"""Whether a comparison in the run folder is still what the experiment would give, on tables made by hand."""

from pathlib import Path

import pyarrow as pa
import pytest

from alia_ray import reporting
from alia_ray.checks.comparison import arms_of, comparison_of, draws, first_draw, measured_on
from alia_ray.config import Config, parse_config
from alia_ray.state import State
from alia_ray.store.tables import IMAGES

ARMS = ["original", "cutmix"]


def settings_of(folder: Path, fresh_draws: bool, **others: dict) -> Config:
    return parse_config(
        {
            "run": {"folder": str(folder)},
            "source": {"kind": "miniature"},
            "experiment": {"arms": ARMS, "seeds": [3, 4], "fresh_draws": fresh_draws},
            **others,
        }
    )


@pytest.fixture(params=[False, True], ids=["shared", "fresh"])
def settings(request, tmp_path) -> Config:
    """Two draws that are ingested, and their comparison."""
    settings = settings_of(tmp_path, request.param)
    for number, state in enumerate(draws(settings, [])):
        splits = {"a": "train", "b": "val", "c": "test", "d": "test"}
        rows = [{"image_id": key, "label": "cat", "split": split, "group": "sea"} for key, split in splits.items()]
        if number == 0 or request.param:
            state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    splits = draws(settings, [])[0].images.read(["split"])
    arms = arms_of(settings, splits)
    states = draws(settings, arms)
    compared = {arm.name: {"seeds": [{"classifier": "/".join(s.arm_path(arm))} for s in states]} for arm in arms}
    states[0].results.write_json({**measured_on(settings, states), "arms": compared}, "experiment.json")
    return settings


def otherwise(settings: Config, **changes: object) -> Config:
    return settings.model_copy(update={"experiment": settings.experiment.model_copy(update=changes)})


def left_out(settings: Config) -> str:
    found, why = comparison_of(settings)
    assert found is None
    return why


def test_a_comparison_of_the_same_is_shown_whoever_asks(settings):
    found, why = comparison_of(settings)
    assert list(found["arms"]) == ARMS
    assert why is None
    assert reporting._experiment(first_draw(settings)) == found  # as the experiment itself does


@pytest.mark.parametrize("change", [{"group": "land"}, {"label": "dog"}, {"split": "extra"}])
def test_a_comparison_of_other_images_of_any_draw_is_left_out_and_said(settings, capsys, change):
    draws(settings, [])[-1].images.correct({"c": change})
    assert left_out(settings) == "images or labels have changed"
    assert reporting._experiment(first_draw(settings)) is None
    assert "report: leaves out experiment.json: images or labels" in capsys.readouterr().err


def test_other_settings_arms_seeds_or_draws_have_no_comparison_yet(settings):
    fresh, folder = settings.experiment.fresh_draws, Path(settings.run.folder)
    for other in (
        settings_of(folder, fresh, train={"learning_rate": 0.5}),
        otherwise(settings, arms=["original"]),
        otherwise(settings, arms=["alia"]),
        otherwise(settings, seeds=[3]),
        otherwise(settings, fresh_draws=not fresh),
    ):
        assert comparison_of(other) == (None, None)
        assert first_draw(other) == State(other)


def test_a_comparison_of_classifiers_that_would_be_others_now_is_left_out(settings):
    results = draws(settings, [])[0].results
    compared = results.read_json("experiment.json")
    compared["arms"]["cutmix"]["seeds"][0]["classifier"] = "of other edits"
    results.write_json(compared, "experiment.json")
    assert left_out(settings) == "the configuration gives other classifiers of cutmix"


@pytest.mark.parametrize("written", [{}, {"images": None}, []])
def test_what_is_no_comparison_is_none(settings, written):
    draws(settings, [])[0].results.write_json(written, "experiment.json")
    assert comparison_of(settings) == (None, None)


def test_a_report_is_of_the_first_draw_where_an_experiment_was_run(settings):
    assert first_draw(settings).settings.seed == 3
    assert first_draw(settings).images.exists()
    Path(draws(settings, [])[0].results.file("experiment.json")).unlink()
    assert first_draw(settings).settings == settings
