import pytest
import torch

from alia_ray.cluster import devices


def no_kernel(*args: object, **kwargs: object) -> torch.Tensor:
    raise RuntimeError(
        "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors …"
    )


def test_a_card_whose_kernels_this_torch_does_not_hold_is_found_by_trying(monkeypatch):
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "zeros", no_kernel)
    assert "no kernel image is available for execution" in devices.see_gpus().problem


def test_a_driver_that_is_too_old_is_named_in_its_own_words(monkeypatch):
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040). Please update …")

    monkeypatch.setattr(torch.cuda, "init", init)
    assert "driver on your system is too old" in devices.see_gpus().problem


def test_no_visible_card_is_a_problem(monkeypatch):
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "sees none" in devices.see_gpus().problem


@pytest.mark.parametrize(("value", "meant"), [("1", True), ("0", False), ("", False)])
def test_logical_gpus_are_said_by_a_variable(value, meant, monkeypatch):
    monkeypatch.setenv("ALIA_RAY_LOGICAL_GPUS", value)
    assert devices.logical_gpus() is meant
