import pytest
import torch

from alia_ray.models.loading import architecture_of, is_random, pick_device, pick_dtype, resolve, seeded_by_name


def test_miniature_names_lead_into_the_package_and_others_stay():
    assert resolve("miniature:captioner").endswith("captioner")
    assert resolve("Salesforce/blip-image-captioning-large") == "Salesforce/blip-image-captioning-large"
    with pytest.raises(ValueError, match="captioner"):
        resolve("miniature:nothing")


def test_random_names_are_told_apart():
    assert is_random("random:blip-large")
    assert not is_random("blip-large")
    assert architecture_of("random:ViT-L-14") == "ViT-L-14"


def test_auto_is_half_precision_on_a_gpu_and_single_on_a_cpu():
    assert pick_dtype("auto", torch.device("cuda")) == torch.float16
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_a_logical_gpu_without_hardware_is_no_device(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_random_weights_depend_on_the_name_alone_and_leave_the_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded_by_name("a"):
        one = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded_by_name("a"):
        assert torch.equal(torch.rand(3), one)
    with seeded_by_name("b"):
        assert not torch.equal(torch.rand(3), one)
