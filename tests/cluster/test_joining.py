import pytest

from alia_ray.cluster.joining import join
from alia_ray.config import Run
from alia_ray.errors import StageError


def test_the_gpus_of_a_run_are_asked_for_and_waited_for_but_not_for_ever(ray_cluster, monkeypatch):
    monkeypatch.setattr("alia_ray.cluster.joining._GPU_POLL_S", 0.1)
    asked = []
    monkeypatch.setattr("alia_ray.cluster.joining.request_resources", lambda bundles: asked.append(bundles))
    with pytest.raises(StageError, match=r"run\.gpus: 0 of 2 GPUs were there"):
        join(Run(folder="x", address="auto", gpus=2, gpu_timeout_s=0.5))
    assert asked == [[{"GPU": 1}, {"GPU": 1}]]


def test_gpus_that_no_autoscaler_can_bring_are_refused_at_once(ray_cluster):
    with pytest.raises(StageError, match=r"run\.gpus: 0 of 2 GPUs"):
        join(Run(folder="x", gpus=2))
