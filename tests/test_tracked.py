"""What trackers are told at the end of a run."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from a_run import small
from PIL import Image
from tracker_files import events, in_mlflow, offline, scalars

from alia_ray import reporting
from alia_ray.config.arms import ARMS
from alia_ray.state import State
from alia_ray.statistics.comparing import METRICS
from alia_ray.tracked import complete_tensorboard, tell_trackers


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_tensorboard_has_each_arm_s_curves_settings_and_test_metrics_under_its_name(copy):
    state = State(small(copy))
    folder = Path(state.results.file()) / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "alia-seed-0").mkdir(parents=True)
    for _ in range(2):
        complete_tensorboard(state, state.arms)
    assert sorted(path.name for path in folder.iterdir()) == ["alia-seed-0", "original-seed-0"]
    for arm in ("original", "alia"):
        history, measured = state.history(ARMS[arm]), state.measured(ARMS[arm])
        found = {(tag, step): value for tag, value, step in scalars(folder / f"{arm}-seed-0")}
        for record in history["epochs"]:
            assert found["loss", record["epoch"]] == pytest.approx(record["loss"])
        accuracy = found["test/accuracy", history["best_epoch"]]
        assert accuracy == pytest.approx(measured["accuracy"])
    [path] = (folder / "alia-seed-0").glob("*.000000.*")
    tags = {value.tag: value.metadata for event in events(path) for value in event.summary.value}
    settings = tags["_hparams_/session_start_info"].plugin_data.content
    for text in (b"edit.steps", b"train.learning_rate", b"instruct_pix2pix"):
        assert text in settings


def test_w_and_b_has_the_table_of_arms_and_a_grid_of_edits(copy, monkeypatch, tmp_path):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    state = State(small(copy, "train.trackers=[wandb]"))
    reporting.run_report(state)
    [folder] = Path(state.results.file("wandb")).glob("offline-run-*")
    run = offline(folder)
    assert run["name"] == "run, results"
    assert run["config"]["edit.steps"] == 3
    assert run["summary"]["alia/accuracy"] == state.measured(ARMS["alia"])["accuracy"]
    [told] = run["steps"].values()
    table = json.loads((folder / "files" / told["arms.path"]).read_text())
    assert [row[:2] for row in table["data"]] == [
        [arm, state.measured(ARMS[arm])["accuracy"]] for arm in ("original", "alia")
    ]
    assert told["edits.width"] > 500
    assert (folder / "files" / told["edits.path"]).is_file()
    assert not list((tmp_path / "cwd").iterdir())


def test_mlflow_has_them_too_and_a_second_report_doubles_nothing(copy, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    state = State(small(copy, "train.trackers=[mlflow]"))
    for _ in range(2):
        reporting.run_report(state)
    assert " INFO mlflow" not in capsys.readouterr().err
    store = f"sqlite:///{state.results.file('mlflow', 'mlflow.db')}"
    [run] = in_mlflow(store)
    measured = {arm: state.measured(ARMS[arm]) for arm in ("original", "alia")}
    assert sorted(run["metrics"]) == sorted(
        (f"{arm}/{key}", found[key], 0) for arm, found in measured.items() for key in METRICS if key in found
    )
    assert (run["name"], run["status"], run["params"]["edit.steps"]) == ("run, results", "FINISHED", "3")
    assert run["artifacts"].is_relative_to(state.results.file("mlflow", "artifacts"))
    table = list(csv.DictReader((run["artifacts"] / "arms.csv").read_text().splitlines()))
    assert [(row["arm"], float(row["accuracy"])) for row in table] == [
        (arm, found["accuracy"]) for arm, found in measured.items()
    ]
    with Image.open(run["artifacts"] / "edits.png") as grid:
        assert grid.width > 500
    tell_trackers(state, {"arms": {"alia@0.5": {"accuracy": 0.25}}}, None)
    [run] = in_mlflow(store)
    assert ("alia at 0.5/accuracy", 0.25, 0) in run["metrics"]


def test_a_tracker_that_is_down_ends_no_report(copy, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it fails
    state = State(small(copy, "train.trackers=[mlflow]"))
    reporting.run_report(state)
    said = capsys.readouterr().err
    assert "report: mlflow has not got the table of arms (import of mlflow halted" in said
    assert state.results.has_file("report.html")
