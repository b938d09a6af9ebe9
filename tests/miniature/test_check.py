"""The figures of `alia-ray miniature check`, on few pictures and by judges that have learnt nothing."""

import json
from contextlib import nullcontext

import pytest
import torch

from alia_ray.miniature import check as checking
from alia_ray.miniature.check import check


def judge(kinds: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, kinds))


@pytest.mark.slow
def test_every_figure_is_measured_and_a_low_one_fails_the_check(tmp_path, monkeypatch, ray_cluster):
    monkeypatch.setattr(checking, "train_background_judge", lambda: judge(8))
    monkeypatch.setattr(checking, "train_class_judge", lambda: judge(2))
    monkeypatch.setattr("alia_ray.cluster.joining.joined", nullcontext)  # the session's Ray is there, and stays
    assert not check(tmp_path / "figures.json", 16)
    figures = {figure["name"]: figure["value"] for figure in json.loads((tmp_path / "figures.json").read_text())}
    assert len(figures) == 14
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["LLM: discovered domains against the training backgrounds (Jaccard)"] == 1
    assert figures["CLIP: AUROC of edited birds against pixel noise"] == 1
