import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

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


def edited(editor: Editor, images: torch.Tensor, prompts: list[str], seeds: list[int]) -> torch.Tensor:
    return editor.edit(editor.encode(images), prompts, seeds)


def test_an_edit_does_not_depend_on_its_batch_or_its_place_in_it(editor, birds):
    together = edited(editor, birds, PROMPTS, [1, 2, 3])
    alone = torch.cat([edited(editor, birds[i : i + 1], PROMPTS[i : i + 1], [i + 1]) for i in range(3)])
    turned = edited(editor, birds.flip(0), PROMPTS[::-1], [3, 2, 1]).flip(0)
    assert together.shape == (3, 3, 48, 48)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-4)  # kernels sum in another order for another batch size
    assert torch.allclose(together, turned, atol=1e-4)


def test_the_seed_makes_the_edit(editor, birds):
    one = edited(editor, birds[:1], PROMPTS[:1], [7])
    assert torch.equal(one, edited(editor, birds[:1], PROMPTS[:1], [7]))
    assert not torch.allclose(one, edited(editor, birds[:1], PROMPTS[:1], [8]), atol=1e-2)


def test_a_prompt_is_encoded_once_and_so_is_a_source(editor, birds, monkeypatch):
    sources = editor.encode(birds)
    first = editor.edit(sources, PROMPTS, [1, 2, 3])
    monkeypatch.setattr(editor.pipeline, "text_encoder", None)
    monkeypatch.setattr(editor.pipeline.vae, "encode", None)
    assert torch.equal(editor.edit(sources, PROMPTS, [1, 2, 3]), first)


def test_the_pipeline_is_diffusers_own_but_for_the_encoding_of_the_source(birds):
    """InstructPix2Pix encodes its source without a draw, so its own pipeline must come to the same edits."""
    settings = load_config(DEMO, TINY).edit
    editor = Editor(settings)
    own = StableDiffusionInstructPix2PixPipeline(**editor.pipeline.components, requires_safety_checker=False)
    own.set_progress_bar_config(disable=True)
    expected = own(
        prompt=PROMPTS,
        image=birds,
        generator=[torch.Generator().manual_seed(seed) for seed in (1, 2, 3)],
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        image_guidance_scale=settings.image_guidance_scale,
        output_type="pt",
    ).images
    assert torch.allclose(edited(editor, birds, PROMPTS, [1, 2, 3]), expected, atol=1e-5)


def test_out_of_memory_halves_the_batch_and_changes_no_edit(editor, birds, monkeypatch, capsys):
    expected = edited(editor, birds, PROMPTS, [1, 2, 3])
    kind, sizes = type(editor.pipeline), []
    call = kind.__call__

    def small_device(pipeline, prompt_embeds, **options):
        sizes.append(len(prompt_embeds))
        if len(prompt_embeds) > 1:
            raise torch.OutOfMemoryError("no room")
        return call(pipeline, prompt_embeds=prompt_embeds, **options)

    monkeypatch.setattr(kind, "__call__", small_device)
    monkeypatch.setattr(editor, "_most", None)  # put back afterwards
    assert torch.allclose(edited(editor, birds, PROMPTS, [1, 2, 3]), expected, atol=1e-4)
    assert sizes == [3, 2, 1, 1, 1]
    assert "out of memory, going on with 1 images at once" in capsys.readouterr().err
    sizes.clear()
    edited(editor, birds, PROMPTS, [1, 2, 3])
    assert sizes == [1, 1, 1]  # it remembers


def test_what_half_precision_cannot_decode_is_decoded_in_float32(editor, birds, monkeypatch):
    sources = editor.encode(birds)
    expected = editor.edit(sources, PROMPTS, [1, 2, 3])
    vae = editor.pipeline.vae
    decode = vae.decode

    def overflowing(latents, **options):
        decoded = decode(latents.to(vae.dtype), **options)
        if vae.dtype == torch.bfloat16:
            decoded.sample[1] = torch.nan
        return decoded

    vae.to(torch.bfloat16)
    monkeypatch.setattr(vae, "decode", overflowing)
    edited_anyway = editor.edit(sources, PROMPTS, [1, 2, 3])
    assert vae.dtype == torch.bfloat16
    vae.to(torch.float32)
    assert edited_anyway.isfinite().all()
    assert (edited_anyway - expected).abs().max() < 0.1


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
