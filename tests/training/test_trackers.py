"""Where the curves of a training go."""

import json
import os
import subprocess
import sys
import threading
import types
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tracker_files import events, in_mlflow, offline, scalars

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Train
from alia_ray.store.run_folder import HISTORY, RunFolder
from alia_ray.training import lanes, trackers
from alia_ray.training.trackers import tracking, write_tensorboard

EPOCHS = [{"epoch": epoch, "loss": 1 / epoch, "val_accuracy": 0.5} for epoch in (1, 2, 3)]
CURVES = {1: {"loss": 1, "val_accuracy": 0.5}, 2: {"loss": 0.5, "val_accuracy": 0.5}}
NAME = "alia, seed 0"


@pytest.fixture(autouse=True)
def nothing_has_failed(monkeypatch) -> None:
    monkeypatch.setattr(trackers, "_failed", {})


@pytest.fixture
def logs(tmp_path, monkeypatch) -> Path:
    """A folder for what is logged; the working folder is another, and is empty at the end."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "logs"
    assert not list((tmp_path / "cwd").iterdir())


def train(logs: Path, tracker: str, epochs: list[dict], history: list[dict], out: str = "/run/0123abcd") -> dict:
    """What failed when `epochs` were logged, after those of `history` in an earlier try."""
    with tracking(out, str(logs), NAME, {"epochs": 3}, [tracker] if tracker else [], history) as tracked:
        for record in epochs:
            tracked.log(record)
    return tracked.failed


def test_an_epoch_is_one_file_of_tensorboard_s_under_a_readable_name(tmp_path):
    for _ in range(2):  # as when an epoch is trained again
        write_tensorboard(RunFolder(str(tmp_path)), NAME, EPOCHS[2])
    assert len(list((tmp_path / "tensorboard" / "alia-seed-0").iterdir())) == 1
    assert {(tag, step) for tag, _, step in scalars(tmp_path / "tensorboard" / "alia-seed-0")} == {
        ("loss", 3),
        ("val_accuracy", 3),
    }


def test_epochs_follow_each_other_by_name(tmp_path):
    for epoch in (10, 9):
        write_tensorboard(RunFolder(str(tmp_path)), "a", {**EPOCHS[0], "epoch": epoch})
    paths = sorted((tmp_path / "tensorboard" / "a").iterdir())
    assert [events(path)[-1].step for path in paths] == [9, 10]


@pytest.mark.parametrize(("name", "folder"), [("alia@0.5, seed 1", "alia@0.5-seed-1"), ("../../x", "x")])
def test_a_name_is_one_folder_below_the_logs(tmp_path, name, folder):
    write_tensorboard(RunFolder(str(tmp_path)), name, EPOCHS[0])
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [folder]


def test_nothing_but_tensorboard_is_written_unless_asked_for(logs, monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    assert train(logs, "", EPOCHS, []) == {}
    assert [path.name for path in logs.iterdir()] == ["tensorboard"]


def test_offline_w_and_b_keeps_every_epoch_below_the_logs_and_a_later_try_holds_the_earlier(
    logs, monkeypatch, secrets_of_the_environment
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert train(logs, "wandb", EPOCHS[:1], []) == {}
    assert train(logs, "wandb", EPOCHS[1:2], EPOCHS[:1]) == {}
    runs = sorted((logs / "wandb").glob("offline-run-*"), key=lambda path: len(offline(path)["steps"]))
    assert [offline(path)["steps"] for path in runs] == [{1: CURVES[1]}, CURVES]
    for path in runs:
        run = offline(path)
        assert (run["id"], run["name"], run["config"]["epochs"]) == ("0123abcd", NAME, 3)
    kept = b"".join(path.read_bytes() for path in logs.rglob("*") if path.is_file())
    assert not [secret for secret in secrets_of_the_environment if secret.encode() in kept]


def test_w_and_b_is_asked_to_go_on_with_the_run_in_the_project_of_the_environment(logs, monkeypatch):
    told = {}

    def init(**options: object) -> object:
        told.update(options)
        return types.SimpleNamespace(log=lambda values, step: None, finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Settings=dict))
    monkeypatch.setenv("WANDB_PROJECT", "birds")
    assert train(logs, "wandb", [], []) == {}
    assert (told["id"], told["resume"], told["project"]) == ("0123abcd", "allow", "birds")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A folder of logs in which MLflow's store is made, once for all: that takes MLflow a while."""
    logs = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        trackers.prepare(RunFolder(str(logs)), ["mlflow"])
    assert [path.name for path in (logs / "mlflow").iterdir()] == ["mlflow.db"]
    return logs


def in_store(store: Path, name: str) -> dict[str, Any]:
    """What MLflow has of the one run of a name."""
    [run] = [run for run in in_mlflow(f"sqlite:///{store}/mlflow/mlflow.db") if run["name"] == name]
    return run


def told_mlflow(logs: Path, name: str, settings: dict[str, Any], epochs: list[dict]) -> dict[str, str]:
    """What failed when MLflow was told of a training that had come so far."""
    with tracking(f"/run/{name}", str(logs), name, settings, ["mlflow"], epochs) as tracked:
        pass
    return tracked.failed


@pytest.mark.usefixtures("logs")
def test_mlflow_goes_on_with_a_run_and_keeps_no_epoch_twice(store):
    assert train(store, "mlflow", EPOCHS[:1], []) == {}
    assert train(store, "mlflow", EPOCHS[1:2], EPOCHS[:1]) == {}
    run = in_store(store, NAME)
    assert run["metrics"] == [(key, value, step) for step, epoch in CURVES.items() for key, value in epoch.items()]
    assert (run["params"], run["status"]) == ({"epochs": "3"}, "FINISHED")
    assert run["artifacts"].is_relative_to(store / "mlflow" / "artifacts")


@pytest.mark.usefixtures("logs")
def test_an_epoch_that_was_saved_but_not_tracked_when_the_training_was_killed_is_tracked_later(store):
    for last in (1, 3):
        assert told_mlflow(store, "killed", {}, EPOCHS[:last]) == {}
    assert [step for key, _, step in in_store(store, "killed")["metrics"] if key == "loss"] == [1, 2, 3]


@pytest.mark.usefixtures("logs")
def test_mlflow_takes_any_setting(store):
    settings = {"source.class_names.Brewer's Blackbird/♀": "x" * 9000, "a" * 300: None, "edit.steps": 3}
    assert told_mlflow(store, "settings", settings, EPOCHS) == {}
    params = in_store(store, "settings")["params"]
    assert params.pop("source.class_names.Brewer_s Blackbird__").startswith("xxx")
    assert params == {"a" * 250: "None", "edit.steps": "3"}


def test_trainings_at_once_share_mlflow_s_store_and_it_tells_nobody_else(store, tmp_path):
    script, home = Path(__file__).with_name("trainings_at_once.py"), tmp_path / "home"
    home.mkdir()
    not_of_a_user = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS", "DO_NOT_TRACK", "XDG_CONFIG_HOME")
    hidden = {*not_of_a_user, *trackers._MLFLOW_DEFAULTS, "MLFLOW_TRACKING_URI"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(
        [sys.executable, str(script), str(store)],
        env=environment | {"HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"telemetry": False, "failed": [{}, {}, {}]}
    assert result.stderr == ""
    assert not list(home.iterdir())
    for name in ("first", "second", "third"):
        assert in_store(store, name)["metrics"] == [("loss", 1.0, 1)]


def test_mlflow_s_store_is_made_before_the_first_training(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(lanes, "prepare", lambda logs, trackers: done.append((logs.file(), trackers)))
    monkeypatch.setattr(lanes, "check_trainable", lambda *training_and_cluster: None)
    monkeypatch.setattr(lanes, "_jobs", lambda trainings, *others: {each.out: each for each in trainings})
    monkeypatch.setattr(lanes, "_run_lane", lambda lane, *others: done.append(lane))
    monkeypatch.setattr(lanes, "_follow", lambda trainings, ends, stop: [each.result() for each in ends])
    settings = Train(epochs=3, trackers=["mlflow"])
    logs = str(tmp_path / "logs")
    training = lanes.Training("a", str(tmp_path / "a"), (), (), (), settings, "none", 0, logs=logs)
    lanes.train_classifiers([training], Cluster(1, 0))
    assert done == [(logs, ["mlflow"]), [training]]


def test_mlflow_s_store_is_made_only_where_no_server_is_named(logs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    trackers.prepare(RunFolder(str(logs)), ["mlflow"])
    assert not logs.exists()


def test_mlflow_s_store_and_experiment_are_those_of_the_environment(logs, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "birds")
    assert train(logs, "mlflow", EPOCHS, []) == {}
    [run] = in_mlflow(f"sqlite:///{store}/mlflow/mlflow.db", "birds")
    assert len(run["metrics"]) == 6
    assert [path.name for path in logs.iterdir()] == ["tensorboard"]


def test_a_server_of_mlflow_that_is_down_ends_no_training(logs, monkeypatch):
    for name, value in (("TRACKING_URI", "http://127.0.0.1:1"), ("HTTP_REQUEST_BACKOFF_FACTOR", "0")):
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    monkeypatch.setenv("NO_PROXY", "*")
    assert "Max retries exceeded" in train(logs, "mlflow", EPOCHS, [])["mlflow"]
    assert len(list((logs / "tensorboard" / "alia-seed-0").iterdir())) == 3


@pytest.mark.parametrize("error", [OSError("down, https://me:secret@host/"), SystemExit(1)])
def test_a_tracker_that_fails_ends_no_training_and_is_asked_once(logs, monkeypatch, error):
    asked = []

    def init(**options: object) -> object:
        asked.append(options["id"])
        raise error

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init, Settings=dict))
    first, second = (train(logs, "wandb", EPOCHS, [], out) for out in ("/run/a", "/run/b"))
    assert asked == ["a"]
    assert first == second == {"wandb": "down, https://…@host/" if isinstance(error, OSError) else "1"}
    assert len(list((logs / "tensorboard" / "alia-seed-0").iterdir())) == 3


def test_a_tracker_that_does_not_answer_is_not_waited_for(logs, monkeypatch):
    answers = threading.Event()
    run = types.SimpleNamespace(log=lambda values, step: answers.wait(), finish=lambda: None)
    module = types.SimpleNamespace(init=lambda **options: run, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(trackers, "PATIENCE_S", 0.1)
    assert train(logs, "wandb", EPOCHS, []) == {"wandb": "it has not answered for 0.1 s"}
    answers.set()


def test_what_a_tracker_has_not_got_is_said_once(tmp_path, capsys):
    history = {"name": NAME, "epochs": EPOCHS, "best_epoch": 3, "train_images": 9, "seconds": 1.0}
    trainings = []
    for name in ("a", "b"):
        RunFolder(str(tmp_path / name)).write_json({**history, "untracked": {"wandb": "down"}}, HISTORY)
        trainings.append(lanes.Training(name, str(tmp_path / name), (), (), (), Train(epochs=3), "none", 0))
    ended: Future = Future()
    ended.set_result({})
    lanes._follow(trainings, [ended], threading.Event())
    said = capsys.readouterr().err
    assert said.count("wandb has not got all of a (down); training goes on") == 1
    assert said.count("wandb has not got") == 1
