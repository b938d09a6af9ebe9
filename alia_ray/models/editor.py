"""Diffusion editing in batches: Stable Diffusion Img2Img and InstructPix2Pix through diffusers' pipelines.

Every image of a batch has its own generator, seeded by the caller on the CPU, so its noise is the same on
any device, in any batch and in any order. A prompt's embedding is computed once in the life of an editor, and a
source is encoded once for all its edits: the pipelines here are diffusers' own, but take encoded sources.
"""

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents
from diffusers.utils.torch_utils import randn_tensor
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from alia_ray import config
from alia_ray.models.loading import (
    architecture_of,
    is_random,
    pick_device,
    pick_dtype,
    quiet_libraries,
    resolve,
    seeded_by_name,
)
from alia_ray.models.methods import METHODS, method_parameters
from alia_ray.progress import say


class _Img2Img(StableDiffusionImg2ImgPipeline):
    """diffusers takes encoded sources too, but knows them by their 4 channels, which a VAE need not have."""

    def prepare_latents(
        self,
        image: torch.Tensor,
        timestep: torch.Tensor,
        batch_size: int,
        num_images_per_prompt: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: list[torch.Generator],
    ) -> torch.Tensor:
        noise = randn_tensor(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        return self.scheduler.add_noise(image, noise, timestep)


class _InstructPix2Pix(StableDiffusionInstructPix2PixPipeline):
    """Likewise; the three parts of its guidance are the prompt's, the source's and neither's."""

    def prepare_image_latents(self, image: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.cat([image, image, torch.zeros_like(image)]) if self.do_classifier_free_guidance else image


PIPELINES: dict[str, type[DiffusionPipeline]] = {
    "img2img": _Img2Img,
    "instruct_pix2pix": _InstructPix2Pix,
    "text_to_image": StableDiffusionPipeline,
}


class Editor:
    """Edits batches of square RGB images under prompts.

    Raises OSError when the model cannot be found and ValueError when it is not of the method's kind.
    """

    def __init__(self, settings: config.Edit, device: torch.device | None = None) -> None:
        self.settings = settings
        self.device = device or pick_device()
        dtype = pick_dtype(settings.model.dtype, self.device)
        self.pipeline = load_pipeline(settings.method, settings.model, dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.image_processor = VaeImageProcessor(
            vae_latent_channels=self.pipeline.vae.config.latent_channels  # it leaves these as they are
        )
        if self.device.type == "cuda":
            self.pipeline.unet.to(memory_format=torch.channels_last)
        self._embeddings: dict[str, torch.Tensor] = {}
        self._most: int | None = None  # images that fit the device's memory at once, once that is known

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """What `edit` takes of its sources, on the editor's device; encode once, edit under many prompts.

        images: float (N, 3, S, S) in [0, 1]. A method that does not look at its source gets (N, 0).
        """
        method, vae = METHODS[self.settings.method], self.pipeline.vae
        if not method.sees_source:
            return torch.empty(len(images), 0, device=self.device)
        pixels = (images * 2 - 1).to(self.device, vae.dtype)
        latents = retrieve_latents(vae.encode(pixels), sample_mode="argmax")  # no draw: all edits share it
        return latents * vae.config.scaling_factor if method.scales_latents else latents

    @torch.inference_mode()
    def edit(self, sources: torch.Tensor, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        """Edit one encoded source per prompt and seed.

        sources: of `encode`. Returns float32 (N, 3, S, S) in [0, 1] on the editor's device; an image that came out
        as NaN, decoded in float32 as well, stays NaN. Where the device's memory does not do, the batch is halved
        from then on. Raises torch.OutOfMemoryError where it does not do for one image.
        """
        most = self._most or len(prompts)
        parts, done = [], 0
        while done < len(prompts):
            part = slice(done, done + most)
            try:
                parts.append(self._edit(sources[part], prompts[part], seeds[part]))
                done += len(prompts[part])
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
                self._most = most = -(-min(most, len(prompts)) // 2)
                torch.cuda.empty_cache()
                say(f"edit: out of memory, going on with {most} images at once; lower edit.batch_size")
        return torch.cat(parts)

    def _edit(self, sources: torch.Tensor, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        common = {
            "prompt_embeds": torch.cat([self._embedding(prompt) for prompt in prompts]),
            "negative_prompt_embeds": torch.cat([self._embedding("")] * len(prompts)),
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "num_inference_steps": self.settings.steps,
            "guidance_scale": self.settings.guidance_scale,
            "output_type": "latent",
        }
        if METHODS[self.settings.method].sees_source:
            common["image"] = sources
        latents = self.pipeline(**common, **method_parameters(self.settings)).images
        return self._decode(latents / self.pipeline.vae.config.scaling_factor)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents to pixels; what half precision cannot hold is decoded once more in float32."""
        vae = self.pipeline.vae
        dtype = vae.dtype
        images = vae.decode(latents).sample.float()
        broken = ~images.flatten(1).isfinite().all(dim=1)
        if broken.any() and dtype != torch.float32:
            vae.to(torch.float32)
            images[broken] = vae.decode(latents[broken].float()).sample
            vae.to(dtype)
        return (images / 2 + 0.5).clamp(0, 1)

    def _embedding(self, prompt: str) -> torch.Tensor:
        """The text encoder's states of a prompt, (1, tokens, width)."""
        if prompt not in self._embeddings:
            tokens = self.pipeline.tokenizer(
                prompt,
                padding="max_length",
                max_length=self.pipeline.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            self._embeddings[prompt] = self.pipeline.text_encoder(tokens.input_ids.to(self.device))[0]
        return self._embeddings[prompt]


def load_pipeline(method: str, model: config.Model, dtype: torch.dtype) -> DiffusionPipeline:
    """The diffusers pipeline of a method, without a safety checker, on the CPU in `dtype`."""
    quiet_libraries()
    if is_random(model.name):
        if architecture_of(model.name) != "sd15":
            raise ValueError(f"{model.name}: the only random editor is random:sd15, for either method")
        return random_pipeline(method, dtype)
    return PIPELINES[method].from_pretrained(
        resolve(model.name),
        revision=model.revision,
        dtype=dtype,
        use_safetensors=True,
        safety_checker=None,
        requires_safety_checker=False,
    )


def random_pipeline(method: str, dtype: torch.dtype) -> DiffusionPipeline:
    """Stable Diffusion 1.5, or InstructPix2Pix, at its real size with seeded random weights.

    Architecture of stable-diffusion-v1-5: UNet of 860 M parameters (8 input channels instead of 4 for
    InstructPix2Pix), KL autoencoder with f = 8 and 4 latent channels, the text encoder of CLIP ViT-L/14.
    Its tokenizer knows bytes only, since the real vocabulary cannot be made up.
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
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    schedulers = {
        "img2img": PNDMScheduler(**betas, skip_prk_steps=True),
        "instruct_pix2pix": DDIMScheduler(**betas),
        "text_to_image": PNDMScheduler(**betas, skip_prk_steps=True),
    }
    pipeline = PIPELINES[method](
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=_byte_tokenizer(),
        unet=unet,
        scheduler=schedulers[method],
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return pipeline.to(dtype=dtype)


def _byte_tokenizer() -> CLIPTokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=77)
