import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from alia_ray.config import ConfigError, Edit, Model, load_config, parse_config
from alia_ray.edits.shapes import buckets
from alia_ray.miniature import dataset
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models import editor as editing
from alia_ray.models.editing.controlnet import canny_edges
from alia_ray.models.editor import SCHEDULERS, Editor
from alia_ray.models.methods import edit_parameters
from alia_ray.models.random_diffusion import random_sd15

SOURCE = {"kind": "imagefolder", "path": "photos"}
TINY = ["edit.steps=4"]
PROMPTS = [
    "a photo of a tarrel bird in the snow",
    "a photo of a mirrol bird at night",
    "a photo of a tarrel bird at night",
]


@pytest.fixture(scope="module", params=list(EDITING))
def editor(request) -> Editor:
    return Editor(load_config(DEMO, [*EDITING[request.param], *TINY]).edit)


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


def test_out_of_memory_halves_the_batch_and_changes_no_edit(editor, birds, monkeypatch):
    expected = edited(editor, birds, PROMPTS, [1, 2, 3])
    kind, sizes = type(editor.pipeline), []
    call = kind.__call__

    def small_device(pipeline, prompt_embeds, **options):
        sizes.append(len(prompt_embeds))
        if len(prompt_embeds) > 1:
            raise torch.OutOfMemoryError("no room")
        return call(pipeline, prompt_embeds=prompt_embeds, **options)

    monkeypatch.setattr(kind, "__call__", small_device)
    for name in ("_most", "said"):
        monkeypatch.setattr(editor, name, None)  # put back afterwards
    assert torch.allclose(edited(editor, birds, PROMPTS, [1, 2, 3]), expected, atol=1e-4)
    assert sizes == [3, 2, 1, 1, 1]
    assert editor.said == "out of memory, going on with 1 images at once; lower edit.batch_size"
    sizes.clear()
    edited(editor, birds, PROMPTS, [1, 2, 3])
    assert sizes == [1, 1, 1]  # it remembers


def test_encoding_halves_its_batch_too(editor, birds, monkeypatch):
    expected, encode = editor.encode(birds), editor.method.encode

    def small_device(pipeline, images, settings):
        if len(images) > 1:
            raise torch.OutOfMemoryError("no room")
        return encode(pipeline, images, settings)

    monkeypatch.setattr(editor, "method", replace(editor.method, encode=small_device))
    monkeypatch.setattr(editor, "_most", None)
    assert torch.allclose(editor.encode(birds), expected, atol=1e-5)


def test_what_ran_out_of_memory_is_gone_before_a_smaller_batch_is_tried(editor, birds, monkeypatch):
    held, freed = [], []

    def small_device(_, images, __):
        on_device = images.clone()
        if len(images) > 1:
            held.append(weakref.ref(on_device))
            raise torch.OutOfMemoryError("no room")
        return on_device

    monkeypatch.setattr(editor, "method", replace(editor.method, encode=small_device))
    monkeypatch.setattr(editor, "_most", None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(held[-1]() is None))
    editor.encode(birds)
    assert freed == [True, True]  # for 3 images and for 2


def test_padding_leaks_into_no_edit_and_a_network_compiles_once_a_shape(birds, monkeypatch):
    settings = load_config(DEMO, TINY).edit
    expected = edited(Editor(settings), birds, PROMPTS, [1, 2, 3])
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    def compile_with_backend(network, **options):
        network.forward = torch.compile(network.forward, backend=backend, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_with_backend)
    compiled = Editor(settings.model_copy(update={"compile": True, "batch_size": 4}))
    together = edited(compiled, birds, PROMPTS, [1, 2, 3])
    assert together.shape == expected.shape
    assert torch.allclose(together, expected, atol=1e-4)
    made = len(graphs)
    assert made > 0
    for size in (1, 2):
        fewer = edited(compiled, birds[:size], PROMPTS[:size], [1, 2][:size])
        assert torch.allclose(fewer, expected[:size], atol=1e-4)
    assert len(graphs) == made
    others = buckets(settings.size)[1:]
    assert len(others) > 8  # where dynamo gives up by default
    for number, (width, height) in enumerate([*others, *others]):
        wide = torch.nn.functional.interpolate(birds, (height, width))
        sources = compiled.encode(wide)
        compiled.edit(sources, PROMPTS, [1, 2, 3], (width, height))
        shapes = min(number + 1, len(others)) + 1
        assert len(graphs) == shapes * made


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


@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_every_scheduler_gives_the_same_edit_in_any_batch(birds, scheduler):
    """Some draw noise at every step; that too must come from the edit's own generator."""
    editor = Editor(load_config(DEMO, [*TINY, f"edit.scheduler={scheduler}"]).edit)
    assert isinstance(editor.pipeline.scheduler, SCHEDULERS[scheduler])
    together = edited(editor, birds, PROMPTS, [1, 2, 3])
    alone = torch.cat([edited(editor, birds[i : i + 1], PROMPTS[i : i + 1], [i + 1]) for i in (2, 0, 1)])
    assert torch.allclose(together, alone[[1, 2, 0]], atol=1e-4)
    assert together.std() > 0.05


@pytest.mark.parametrize("scheduler", list(SCHEDULERS))
def test_no_scheduler_clips_latents_where_the_checkpoint_does_not_say_so(monkeypatch, scheduler):
    checkpoint = SimpleNamespace(scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"))
    assert "clip_sample" not in checkpoint.scheduler.config
    monkeypatch.setattr(editing, "_load", lambda *_: checkpoint)
    loaded = editing.load_pipeline(load_config(DEMO, [f"edit.scheduler={scheduler}"]).edit, torch.float32)
    assert isinstance(loaded.scheduler, SCHEDULERS[scheduler])
    assert loaded.scheduler.config.beta_schedule == "scaled_linear"
    assert not loaded.scheduler.config.get("clip_sample", False)


def test_the_scheduler_is_part_of_what_an_edit_is():
    own, other = (load_config(DEMO, [f"edit.scheduler={name}"]).edit for name in ("own", "dpm++"))
    assert edit_parameters(own) != edit_parameters(other)
    baseline = load_config(DEMO, ["edit.scheduler=lcm"]).baselines.text_to_image
    assert baseline.scheduler == "own"  # another model, which may be no consistency model


def test_a_preset_fills_in_what_is_not_said():
    edit = parse_config({"run": {"folder": "r"}, "source": SOURCE, "edit": {"preset": "lcm", "steps": 4}}).edit
    assert (edit.scheduler, edit.steps, edit.guidance_scale) == ("lcm", 4, 8.0)
    turbo = parse_config({"run": {"folder": "r"}, "source": SOURCE, "edit": {"preset": "turbo"}}).edit
    assert (turbo.scheduler, turbo.steps, turbo.guidance_scale) == ("own", 4, 0.0)
    with pytest.raises(ConfigError, match=r"edit\.preset"):
        parse_config({"run": {"folder": "r"}, "source": SOURCE, "edit": {"preset": ["lcm"]}})


def test_edges_are_white_lines_on_black_where_the_picture_changes():
    images = torch.zeros(2, 3, 32, 32)
    images[1, :, 8:24, 8:24] = 1
    edges = canny_edges(images, (60, 150))
    assert edges.shape == images.shape
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert edges[0].sum() == 0
    assert edges[1, 0, 6:26, 6:26].sum() == edges[1, 0].sum() > 40
    assert torch.equal(edges[:, 0], edges[:, 2])


def small_sdxl(channels: int = 4) -> dict:
    """The parts of an SDXL pipeline, at a size for tests; weights are random."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,  # 6 * 8 + 32
        cross_attention_dim=64,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
    )
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz ")]
    tokenizer = CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return {
        "vae": vae,
        "unet": unet,
        "text_encoder": CLIPTextModel(text),
        "text_encoder_2": CLIPTextModelWithProjection(text),
        "tokenizer": tokenizer,
        "tokenizer_2": tokenizer,
        "scheduler": EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading"),
    }


@pytest.mark.parametrize("method", ["img2img", "instruct_pix2pix", "controlnet", "text_to_image"])
def test_sdxl_checkpoints_edit_by_every_method_whatever_the_batch(method, birds, tmp_path):
    parts = small_sdxl(8 if method == "instruct_pix2pix" else 4)
    StableDiffusionXLPipeline(**parts).save_pretrained(tmp_path / "sdxl")
    control = ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(8, 16))
    control.save_pretrained(tmp_path / "control")
    settings = Edit(
        method=method,
        model=Model(name=str(tmp_path / "sdxl")),
        controlnet=Model(name=str(tmp_path / "control")),
        steps=3,
        size=48,
    )
    editor = Editor(settings)
    assert "XL" in type(editor.pipeline).__name__
    together = edited(editor, birds, PROMPTS, [1, 2, 3])
    assert together.shape == (3, 3, 48, 48)
    assert together.isfinite().all()
    alone = edited(editor, birds[2:], PROMPTS[2:], [3])
    assert torch.allclose(together[2:], alone, atol=1e-4)
    if method == "controlnet":
        own = StableDiffusionXLControlNetPipeline(**editor.pipeline.components, add_watermarker=False)
        own.set_progress_bar_config(disable=True)
        expected = own(
            prompt=PROMPTS,
            image=canny_edges(birds, settings.canny_thresholds),
            generator=[torch.Generator().manual_seed(seed) for seed in (1, 2, 3)],
            num_inference_steps=3,
            guidance_scale=settings.guidance_scale,
            height=48,
            width=48,
            output_type="pt",
        ).images
        assert torch.allclose(together, expected, atol=1e-4)


@pytest.mark.parametrize(("method", "channels"), [("img2img", 4), ("instruct_pix2pix", 8), ("controlnet", 4)])
def test_random_weights_have_the_real_size(method, channels):
    with torch.device("meta"):
        pipeline = random_sd15(method, torch.float16)
    sizes = {
        name: sum(p.numel() for p in getattr(pipeline, name).parameters()) / 1e6
        for name in ("unet", "vae", "text_encoder")
    }
    assert pipeline.unet.config.in_channels == channels
    assert sizes["unet"] == pytest.approx(859.5, abs=0.1)
    assert sizes["vae"] == pytest.approx(83.7, abs=0.1)
    assert sizes["text_encoder"] == pytest.approx(123.1, abs=0.1)
    assert pipeline.unet.dtype == torch.float16
    if method == "controlnet":
        size = sum(p.numel() for p in pipeline.controlnet.parameters()) / 1e6
        assert size == pytest.approx(361.3, abs=0.1)
