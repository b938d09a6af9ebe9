"""A few steps of every training script make a folder that the real loaders read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.config import ConfigError, Edit, Model
from alia_ray.miniature.captioner import train_captioner
from alia_ray.miniature.classifier import ARCHITECTURE, train_classifier
from alia_ray.miniature.clip import train_clip
from alia_ray.miniature.controlnet import train_controlnet
from alia_ray.miniature.editors import assemble, train_editor
from alia_ray.miniature.train import RECIPES, train_part
from alia_ray.miniature.training import seed_everything, to_tensor
from alia_ray.miniature.vae import build_vae, encode, random_pictures, train_vae
from alia_ray.models.captioner import load_blip
from alia_ray.models.classifier import build_classifier
from alia_ray.models.clip import ClipJudge
from alia_ray.models.editor import load_pipeline
from alia_ray.models.naming import resolve


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    train_vae(folder, steps=3, seed=1, pictures=40)
    return folder


def test_the_encoder_keeps_what_a_linear_decoder_needs():
    rng = seed_everything(0)
    vae = build_vae(rng)
    pictures = random_pictures(rng, 60)
    latents = encode(vae, pictures)
    assert latents.shape == (60, 12, 12, 12)
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, 12)
    patches = torch.nn.functional.pixel_unshuffle(to_tensor(pictures), 4).permute(0, 2, 3, 1).reshape(-1, 48)
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    solution = torch.linalg.lstsq(design, patches).solution
    left = (patches - design @ solution).var() / patches.var()
    assert left < 0.05


def test_the_same_seed_makes_the_same_encoder():
    one, other = (build_vae(seed_everything(11)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["instruct_pix2pix", "img2img"])
def test_editors(method, vae, tmp_path):
    train_editor(method, tmp_path, steps=2, seed=1, pairs=40)
    assemble(vae, tmp_path)
    pipeline = load_pipeline(Edit(method=method, model=Model(name=str(tmp_path))), torch.float32)
    assert pipeline.unet.config.in_channels == (24 if method == "instruct_pix2pix" else 12)
    assert pipeline.vae.dtype == pipeline.unet.dtype == torch.float32


@pytest.mark.slow
def test_controlnet(tmp_path):
    beneath = resolve("miniature:img2img")
    train_controlnet(tmp_path, Path(beneath), steps=2, seed=1, pairs=40)
    settings = Edit(method="controlnet", model=Model(name=beneath), controlnet=Model(name=str(tmp_path)))
    pipeline = load_pipeline(settings, torch.float32)
    assert pipeline.controlnet.dtype == pipeline.unet.dtype == torch.float32


def test_captioner(tmp_path):
    train_captioner(tmp_path, steps=2, seed=1, pictures=50)
    model, processor = load_blip(Model(name=str(tmp_path)), torch.float32)
    assert model.config.text_config.bos_token_id == processor.tokenizer.convert_tokens_to_ids("[DEC]")


def test_clip(vae, tmp_path):
    train_clip(tmp_path, steps=2, seed=1, vae=vae, pictures=40)
    scores = ClipJudge(Model(name=str(tmp_path)), ["a photo of a bird"], ["a black image"]).score(
        torch.rand(2, 3, 48, 48)
    )
    assert np.isfinite(scores.numpy()).all()


def test_classifier(tmp_path):
    train_classifier(tmp_path, steps=2, seed=1, pictures=40)
    network = build_classifier(ARCHITECTURE, str(tmp_path), 2)
    assert all(
        parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in network.parameters()
    )


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="instruct_pix2pix"):
        train_part("nothing", tmp_path)


def test_the_help_names_every_part():
    told = CliRunner().invoke(app, ["miniature", "train", "--help"], terminal_width=200).output
    assert all(name in told for name in RECIPES)
