"""Stable Diffusion at its real size with seeded random weights, for benchmarks and where there is no model hub."""

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    PNDMScheduler,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alia_ray.models.editing import METHODS
from alia_ray.models.loading import seeded_by_name


def random_sd15(method: str, dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline of `method` over Stable Diffusion 1.5, on the CPU.

    Architecture of stable-diffusion-v1-5: UNet of 860 M parameters (8 input channels instead of 4 for
    InstructPix2Pix), KL autoencoder with f = 8 and 4 latent channels, the text encoder of CLIP ViT-L/14; and of
    lllyasviel/sd-controlnet-canny, 361 M parameters. Its tokenizer knows bytes only, since the real vocabulary
    cannot be made up.
    """
    with seeded_by_name(f"sd15-{method}"):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=8 if method == "instruct_pix2pix" else 4,
            out_channels=4,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
            )
        )
        control = {"controlnet": ControlNetModel.from_unet(unet)} if method == "controlnet" else {}
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    is_ddim = method == "instruct_pix2pix"
    pipeline = METHODS[method].pipelines["sd"](
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=_byte_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(**betas) if is_ddim else PNDMScheduler(**betas, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **control,
    )
    return pipeline.to(dtype=dtype)


def _byte_tokenizer() -> CLIPTokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=77)
