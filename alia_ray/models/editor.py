"""Diffusion editing in batches: Stable Diffusion Img2Img and InstructPix2Pix through diffusers' pipelines.

Every image of a batch has its own generator, seeded by the caller on the CPU, so its noise is the same on
any device, in any batch and in any order. A prompt's embedding is computed once in the life of an editor.
"""

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
from alia_ray.models.methods import method_parameters

PIPELINES: dict[str, type[DiffusionPipeline]] = {
    "img2img": StableDiffusionImg2ImgPipeline,
    "instruct_pix2pix": StableDiffusionInstructPix2PixPipeline,
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
        if self.device.type == "cuda":
            self.pipeline.unet.to(memory_format=torch.channels_last)
        self._embeddings: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def edit(self, images: torch.Tensor, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        """Edit one image per prompt and seed; text to image does not look at the images.

        images: float (N, 3, S, S) in [0, 1]. Returns float32 (N, 3, S, S) in [0, 1] on the editor's device;
        an image that came out as NaN stays NaN.
        """
        common = {
            "prompt_embeds": torch.cat([self._embedding(prompt) for prompt in prompts]),
            "negative_prompt_embeds": torch.cat([self._embedding("")] * len(prompts)),
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "num_inference_steps": self.settings.steps,
            "guidance_scale": self.settings.guidance_scale,
            "output_type": "pt",
        }
        if self.settings.method != "text_to_image":
            common["image"] = images
        edited = self.pipeline(**common, **method_parameters(self.settings)).images
        return edited.float()

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
