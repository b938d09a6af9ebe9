import shutil
from pathlib import Path

import pytest
import torch

from alia_ray.config import Model, load_config
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.captioner import load_blip
from alia_ray.models.editor import load_pipeline
from alia_ray.models.loading import pick_device, pick_dtype, seeded_by_name
from alia_ray.models.naming import WEIGHTS, architecture_of, is_random, resolve


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


def half_precision_alone(name: str, folder: Path, *kept: str) -> str:
    """A copy of a miniature model whose weights are called as those of a variant, but in the folders `kept`."""
    copy = shutil.copytree(WEIGHTS / name, folder / name)
    for weights in copy.rglob("*.safetensors"):
        if weights.parent.name not in kept:
            weights.rename(weights.with_suffix(".fp16.safetensors"))
    return str(copy)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kept", [(), ("vae", "text_encoder")])
def test_an_editor_that_has_only_half_precision_is_taken_as_it_is(tmp_path, kept):
    model = half_precision_alone("instruct_pix2pix", tmp_path, *kept)
    ordinary, variant = (
        load_pipeline(load_config(DEMO, overrides).edit, torch.float32)
        for overrides in ([], [f"edit.model.name={model}"])
    )
    for part in ("unet", "vae", "text_encoder"):
        assert same(getattr(ordinary, part), getattr(variant, part))


def test_a_controlnet_that_has_only_half_precision_is_taken_as_it_is(tmp_path):
    names = [f"edit.controlnet.name={half_precision_alone('controlnet', tmp_path)}"]
    ordinary, variant = (
        load_pipeline(load_config(DEMO, [*EDITING["controlnet"], *overrides]).edit, torch.float32)
        for overrides in ([], names)
    )
    assert same(ordinary.controlnet, variant.controlnet)


def test_a_captioner_that_has_only_half_precision_is_taken_as_it_is(tmp_path):
    variant, _ = load_blip(Model(name=half_precision_alone("captioner", tmp_path)), torch.float32)
    assert same(load_blip(Model(name="miniature:captioner"), torch.float32)[0], variant)


def test_a_model_without_weights_is_missed_by_their_ordinary_name(tmp_path):
    folder = Path(half_precision_alone("captioner", tmp_path))
    (folder / "model.fp16.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_blip(Model(name=str(folder)), torch.float32)
