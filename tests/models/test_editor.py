import numpy as np
import pytest
import torch

from alia_ray.config import load_config
from alia_ray.miniature import dataset
from alia_ray.miniature.recipes import DEMO, IMG2IMG
from alia_ray.models.editor import Editor, random_pipeline

TINY = ["edit.steps=4"]
PROMPTS = [
    "a photo of a tarrel bird in the snow",
    "a photo of a mirrol bird at night",
    "a photo of a tarrel bird at night",
]


@pytest.fixture(scope="module", params=["instruct_pix2pix", "img2img"])
def editor(request) -> Editor:
    overrides = IMG2IMG if request.param == "img2img" else []
    return Editor(load_config(DEMO, [*overrides, *TINY]).edit)


@pytest.fixture(scope="module")
def birds() -> torch.Tensor:
    pixels = np.stack([dataset.paint(f"t/{i}", "tarrel", "forest", 5) for i in range(3)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def test_an_edit_does_not_depend_on_its_batch_or_its_place_in_it(editor, birds):
    together = editor.edit(birds, PROMPTS, [1, 2, 3])
    alone = torch.cat([editor.edit(birds[i : i + 1], PROMPTS[i : i + 1], [i + 1]) for i in range(3)])
    turned = editor.edit(birds.flip(0), PROMPTS[::-1], [3, 2, 1]).flip(0)
    assert together.shape == (3, 3, 48, 48)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-4)  # kernels sum in another order for another batch size
    assert torch.allclose(together, turned, atol=1e-4)


def test_the_seed_makes_the_edit(editor, birds):
    one = editor.edit(birds[:1], PROMPTS[:1], [7])
    assert torch.equal(one, editor.edit(birds[:1], PROMPTS[:1], [7]))
    assert not torch.allclose(one, editor.edit(birds[:1], PROMPTS[:1], [8]), atol=1e-2)


def test_a_prompt_is_encoded_once(editor, birds, monkeypatch):
    editor.edit(birds, PROMPTS, [1, 2, 3])
    monkeypatch.setattr(editor.pipeline, "text_encoder", None)
    editor.edit(birds, PROMPTS, [1, 2, 3])


@pytest.mark.parametrize(("method", "channels"), [("img2img", 4), ("instruct_pix2pix", 8)])
def test_random_weights_have_the_real_size(method, channels):
    with torch.device("meta"):
        pipeline = random_pipeline(method, torch.float16)
    sizes = {
        name: sum(p.numel() for p in getattr(pipeline, name).parameters()) / 1e6
        for name in ("unet", "vae", "text_encoder")
    }
    assert pipeline.unet.config.in_channels == channels
    assert sizes["unet"] == pytest.approx(859.5, abs=0.1)
    assert sizes["vae"] == pytest.approx(83.7, abs=0.1)
    assert sizes["text_encoder"] == pytest.approx(123.1, abs=0.1)
    assert pipeline.unet.dtype == torch.float16
