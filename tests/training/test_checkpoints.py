"""Checkpoints whose tensors a power loss has cut."""

import pytest
import torch

from alia_ray.store.run_folder import RunFolder
from alia_ray.training.checkpoints import CHECKPOINTS, resumable_state, save_checkpoint


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_whose_last_or_best_tensors_are_damaged_begins_anew(tmp_path, epoch, capsys):
    folder, history = RunFolder(str(tmp_path)), []
    for number, score in ((1, 0.9), (2, 0.5), (3, 0.7)):
        history.append({"epoch": number, "score": score})
        save_checkpoint(folder, {"model.a": torch.ones(3)}, {"history": history}, "score")
    assert len(resumable_state(folder)["history"]) == 3
    path = tmp_path / CHECKPOINTS / f"{epoch:06d}.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert resumable_state(folder) is None
    assert str(path) in capsys.readouterr().err
    assert resumable_state(folder) is None
    assert capsys.readouterr().err == ""
    aside = {each.name for each in (tmp_path / CHECKPOINTS).iterdir() if each.name.startswith("_damaged-")}
    assert aside == {f"_damaged-{path.name}", "_damaged-state.json"}
    save_checkpoint(folder, {"model.a": torch.ones(3)}, {"history": history[:1]}, "score")
    assert {each.name for each in (tmp_path / CHECKPOINTS).iterdir()} == {
        *aside,
        "000001.safetensors",
        "state.json",
    }
