"""Where the curves of a training go."""

import struct
import sys
import types
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from alia_ray.store.run_folder import RunFolder
from alia_ray.training.trackers import tracking, write_tensorboard

RECORD = {"epoch": 3, "loss": 0.25, "val_accuracy": 0.5}


def events(path: Path) -> list[Event]:
    """The events of a file: length, checksum, content and checksum of each."""
    raw, place, found = path.read_bytes(), 0, []
    while place < len(raw):
        (length,) = struct.unpack_from("<Q", raw, place)
        found.append(Event.FromString(raw[place + 12 : place + 12 + length]))
        place += 12 + length + 4
    return found


def test_an_epoch_is_one_file_of_tensorboard_s(tmp_path):
    for _ in range(2):  # as when an epoch is trained again
        write_tensorboard(RunFolder(str(tmp_path)), RECORD)
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert "tfevents" in file.name
    written = {(v.tag, v.simple_value, e.step) for e in events(file) for v in e.summary.value}
    assert written == {("loss", 0.25, 3), ("val_accuracy", 0.5, 3)}


def test_epochs_follow_each_other_by_name(tmp_path):
    for epoch in (10, 9):
        write_tensorboard(RunFolder(str(tmp_path)), {**RECORD, "epoch": epoch})
    names = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert [events(tmp_path / "tensorboard" / name)[-1].step for name in names] == [9, 10]


def test_nothing_but_tensorboard_is_written_unless_asked_for(tmp_path, monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    with tracking(str(tmp_path), "original", {}, []) as log:
        log(RECORD)
    assert (tmp_path / "tensorboard").exists()


@pytest.fixture
def wandb(monkeypatch) -> list:
    """What a module in wandb's place was told."""
    said: list = []
    run = types.SimpleNamespace(
        log=lambda values, step: said.append(("log", values, step)), finish=lambda: said.append("finish")
    )

    def init(**options):
        said.append(options)
        return run

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return said


def test_wandb_is_told_every_epoch_and_resumes_by_the_training_s_fingerprint(tmp_path, wandb):
    out = str(tmp_path / "0123abcd")
    with tracking(out, "alia", {"epochs": 3}, ["wandb"]) as log:
        log(RECORD)
    assert wandb[0]["id"] == "0123abcd"
    assert wandb[0]["resume"] == "allow"
    assert wandb[1:] == [("log", {"loss": 0.25, "val_accuracy": 0.5}, 3), "finish"]
