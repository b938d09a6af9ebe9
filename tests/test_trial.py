"""A run on a part of its images, or of simulated models, says so wherever its results show."""

import json

import pyarrow as pa
import pytest

from alia_ray import pipeline
from alia_ray.checks.plan import describe
from alia_ray.cluster.placement import Cluster
from alia_ray.config import load_config
from alia_ray.export.plan import plan_export
from alia_ray.miniature.recipes import DEMO
from alia_ray.report.comparison import caption
from alia_ray.reporting import run_report
from alia_ray.sources import list_images
from alia_ray.state import State
from alia_ray.store.tables import IMAGES

CLUSTER = Cluster(cpus=4, gpus=0)
SAID = "a trial on a part of the images (source.limit=60)"


def state_of(folder, *overrides: str) -> State:
    """A run folder with the images table of its source, without their pictures."""
    settings = load_config(DEMO, [f"run.folder={folder}", *overrides])
    listing = list_images(settings.source)
    rows = [{**row, "image_id": row["origin"]} for row in listing.drop_columns("version").to_pylist()]
    state = State(settings, listing)
    state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    return state


@pytest.fixture
def whole(tmp_path) -> State:
    return state_of(tmp_path)


@pytest.fixture
def trial(tmp_path) -> State:
    return state_of(tmp_path, "source.limit=60")


def test_a_trial_is_said_when_it_starts_and_beside_its_report(trial, whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "check_fits", lambda *_: None)  # which asks the nodes
    pipeline.begin(trial.settings, trial, CLUSTER)
    assert SAID in capsys.readouterr().err
    run_report(trial)
    assert SAID in capsys.readouterr().err
    page, metrics = tmp_path / "report.html", tmp_path / "metrics.json"
    assert f"This is {SAID}" in page.read_text()
    assert json.loads(metrics.read_text())["about"]["trial"].startswith(SAID)
    pipeline.begin(whole.settings, whole, CLUSTER)
    run_report(whole)
    assert "a trial" not in capsys.readouterr().err
    assert "a trial" not in page.read_text()
    assert json.loads(metrics.read_text())["about"]["trial"] is None


def test_a_plan_names_a_trial(trial, whole):
    assert f"trial     {SAID}" in describe(trial.settings, CLUSTER, trial.listing)
    assert "a trial" not in describe(whole.settings, CLUSTER, whole.listing)


def test_an_export_of_a_trial_says_so_in_what_it_leaves(trial, whole, tmp_path):
    abouts = [
        plan_export(state, str(tmp_path / "out"), "imagefolder", "original").about for state in (trial, whole)
    ]
    assert abouts[0]["trial"].startswith(SAID)
    assert sum(abouts[0]["images"].values()) == 60
    assert "trial" not in abouts[1]


def test_the_comparison_of_a_trial_begins_with_it():
    result = {"seeds": [0], "arms": {}, "fresh_draws": False, "test_images": 9, "equal_steps": False}
    told = caption({**result, "num_extra": "all", "trial": f"{SAID}: its numbers"})
    assert told.startswith(f"This is {SAID}")


def test_a_run_of_simulated_models_is_called_that(tmp_path, capsys):
    run_report(state_of(tmp_path, "source.limit=60", "edit.model.name=simulated", "judge.model.name=simulated"))
    said = f"{SAID}: its numbers are not those of the whole; a trial of simulated models (edit.model, judge.model)"
    assert said in capsys.readouterr().err
    assert f"This is {said}" in (tmp_path / "report.html").read_text()
