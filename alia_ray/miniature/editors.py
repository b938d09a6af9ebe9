"""The small editors: Stable Diffusion pipelines of the real classes over the small VAE's latents.

InstructPix2Pix sees the source's latents beside the noise, as the published one does. Img2Img sees only noise
over the source; at a strength that keeps the creature, the old background shows through too, and a model
trained on plain noise would keep it. So most of its training treats the difference of two backgrounds behind
one creature as part of the noise: along a DDIM path that starts at strength S from a source, what is left of
the source at time t is exactly x_t = a_t·target + s_t·(noise + (a_S/s_S)·(source - target)).
"""

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alia_ray.miniature import world
from alia_ray.miniature.shapes import SIZE
from alia_ray.miniature.training import fit, seed_everything
from alia_ray.miniature.vae import LATENT_CHANNELS, PATCH, build_vae, encode

TOKENS = 24
TEXT_WIDTH = 64
BATCH = 32
EMPTY_TEXT_SHARE, NO_SOURCE_SHARE = 0.08, 0.05


@dataclass(frozen=True)
class Pairs:
    """One creature on two backgrounds, N times: latents (N, 12, 12, 12) in fp16, and captions of the target.

    captions[i] are three ways to describe the target: by colour, by an invented name, by the kind alone.
    """

    source: torch.Tensor
    target: torch.Tensor
    captions: torch.Tensor  # token ids (N, 3, TOKENS)


def train_editor(method: str, out: Path, steps: int, seed: int, pairs: int = 14_000) -> None:
    """Train the editor of `method` ("instruct_pix2pix" or "img2img") and save its pipeline, fp16, to `out`.

    The VAE's encoder is built here again from its own seed (it needs no training); `assemble` puts the
    trained VAE in its place.
    """
    vae = build_vae(seed_everything(11))
    rng = seed_everything(seed)
    tokenizer = build_tokenizer(rng)
    shown = paint_pairs(rng, vae, tokenizer, pairs)
    instruct = method == "instruct_pix2pix"
    model = torch.nn.ModuleDict(
        {"unet": build_unet(LATENT_CHANNELS * (2 if instruct else 1)), "text": build_text_encoder(tokenizer)}
    )
    noising = (_instruct_batch if instruct else _img2img_batch)(shown, rng)
    empty = torch.tensor(token_ids(tokenizer, [""])[0])

    def loss_of_batch() -> torch.Tensor:
        inputs, timesteps, target, chosen = noising()
        ids = shown.captions[chosen, torch.from_numpy(rng.choice(3, size=BATCH, p=[0.4, 0.4, 0.2]))]
        ids = torch.where(torch.rand(BATCH, 1) < EMPTY_TEXT_SHARE, empty, ids)
        states = model["text"](ids)[0]
        return (model["unet"](inputs, timesteps, states).sample - target).pow(2).mean()

    trained = fit(model, loss_of_batch, steps, peak_lr=1.5e-3)
    _pipeline(method, vae, trained["text"], tokenizer, trained["unet"]).to(dtype=torch.float16).save_pretrained(
        out
    )


def assemble(vae_folder: Path, pipeline_folder: Path) -> None:
    """Put the trained VAE of `vae_folder` into the pipeline saved in `pipeline_folder`."""
    AutoencoderTiny.from_pretrained(vae_folder).half().save_pretrained(pipeline_folder / "vae")


# ------------------------------------------------------------------ parts


def build_scheduler() -> DDIMScheduler:
    """SD's scaled-linear betas with zero terminal SNR, v-prediction, trailing timesteps."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def build_unet(in_channels: int) -> UNet2DConditionModel:
    """2.5 M parameters; cross-attention at 6 × 6 and in the middle only."""
    unet = UNet2DConditionModel(
        sample_size=SIZE // PATCH,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=32,
        norm_num_groups=16,
    )
    return unet.to(memory_format=torch.channels_last)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text model of two layers, trained together with the UNet."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer(rng: np.random.Generator) -> CLIPTokenizer:
    """A CLIP byte-pair tokenizer learned from the world's captions and from invented names."""
    lines = [f"{text} , {world.invented_name(rng)}" for _ in range(3000) for text in [_any_caption(rng)]]
    bpe = CLIPTokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.model = BPE(end_of_word_suffix="</w>", continuing_subword_prefix="")
    bpe.train_from_iterator(lines, trainer)
    vocab, merges = _vocab_and_merges(bpe)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TOKENS)


def _vocab_and_merges(bpe: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """What was learned, and every letter as the end of a word, so that no name is ever unknown."""
    model = json.loads(bpe.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    for letter in string.ascii_lowercase + string.digits + string.punctuation:
        vocab.setdefault(f"{letter}</w>", len(vocab))
    return vocab, [tuple(merge) for merge in model["merges"]]


def _any_caption(rng: np.random.Generator) -> str:
    creature = world.random_creature(rng) if rng.random() < 0.9 else None
    return world.caption(creature, world.random_background(rng))


def _pipeline(
    method: str,
    vae: AutoencoderTiny,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionImg2ImgPipeline | StableDiffusionInstructPix2PixPipeline:
    pipelines = {
        "img2img": StableDiffusionImg2ImgPipeline,
        "instruct_pix2pix": StableDiffusionInstructPix2PixPipeline,
    }
    return pipelines[method](
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


# ------------------------------------------------------------------ batches


Draw = Callable[[], tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]
"""Draws (inputs, timesteps, v target, chosen rows of the pairs)."""


def paint_pairs(rng: np.random.Generator, vae: AutoencoderTiny, tokenizer: CLIPTokenizer, count: int) -> Pairs:
    """Paint `count` creatures (eight in ten are birds), each on two backgrounds drawn independently."""
    sources, targets, captions = [], [], []
    for start in range(0, count, 500):
        source, target = [], []
        for _ in range(min(500, count - start)):
            creature = world.random_creature(rng, str(rng.choice(world.KINDS, p=[0.8, 0.1, 0.1])))
            before, after = world.random_background(rng), world.random_background(rng)
            source.append(world.paint(creature, before, world.random_seed(rng)))
            target.append(world.paint(creature, after, world.random_seed(rng)))
            captions += [
                world.caption(creature, after),
                world.caption(creature, after, world.invented_name(rng)),
                world.caption(creature, after, ""),
            ]
        sources.append(encode(vae, np.stack(source)).half())
        targets.append(encode(vae, np.stack(target)).half())
    ids = torch.tensor(token_ids(tokenizer, captions)).view(-1, 3, TOKENS)
    return Pairs(torch.cat(sources), torch.cat(targets), ids)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> list[list[int]]:
    """TOKENS ids of each text."""
    return tokenizer(texts, padding="max_length", max_length=TOKENS, truncation=True).input_ids


def alpha_sigma(timesteps: torch.Tensor, cumulative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of the picture and of the noise is in x_t, each (N, 1, 1, 1); cumulative: the alphas' products."""
    alpha_squared = cumulative[timesteps].view(-1, 1, 1, 1)
    return alpha_squared.sqrt(), (1 - alpha_squared).sqrt()


def _instruct_batch(pairs: Pairs, rng: np.random.Generator) -> Draw:
    """The noised target beside the source, which is sometimes left out."""
    cumulative = build_scheduler().alphas_cumprod

    def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = torch.from_numpy(rng.integers(len(pairs.target), size=BATCH))
        source, target = pairs.source[chosen].float(), pairs.target[chosen].float()
        source = source * (torch.rand(BATCH, 1, 1, 1) >= NO_SOURCE_SHARE)
        timesteps, noise = torch.randint(0, 1000, (BATCH,)), torch.randn_like(target)
        alpha, sigma = alpha_sigma(timesteps, cumulative)
        inputs = torch.cat([alpha * target + sigma * noise, source], dim=1)
        return channels_last(inputs), timesteps, alpha * noise - sigma * target, chosen

    return draw


def _img2img_batch(pairs: Pairs, rng: np.random.Generator) -> Draw:
    """The noised target; in six of ten the old background is part of the noise (see the module)."""
    cumulative = build_scheduler().alphas_cumprod

    def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = torch.from_numpy(rng.integers(len(pairs.target), size=BATCH))
        source, target = pairs.source[chosen].float(), pairs.target[chosen].float()
        noise = torch.randn_like(target)
        started = torch.randint(300, 900, (BATCH,))  # the strengths 0.3 to 0.9
        from_source = torch.rand(BATCH) < 0.6
        limit = torch.where(from_source, started, 1000)
        timesteps = (torch.rand(BATCH) * limit).long()
        start_alpha, start_sigma = alpha_sigma(started, cumulative)
        left_over = (start_alpha / start_sigma) * (source - target)
        noise = noise + left_over * from_source.view(-1, 1, 1, 1)
        alpha, sigma = alpha_sigma(timesteps, cumulative)
        inputs = alpha * target + sigma * noise
        return channels_last(inputs), timesteps, alpha * noise - sigma * target, chosen

    return draw


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the layout in which convolutions are fastest here."""
    return tensor.contiguous(memory_format=torch.channels_last)
