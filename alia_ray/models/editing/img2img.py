"""Img2Img: the source is noised up to `strength`, and denoised under the prompt (SDEdit, arXiv 2108.01073)."""

import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline
from diffusers.utils.torch_utils import randn_tensor

from alia_ray.models.editing.method import Method
from alia_ray.models.editing.vae import encode


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


METHOD = Method(
    pipelines={"sd": _Img2Img, "sdxl": StableDiffusionXLImg2ImgPipeline},
    encode=lambda pipeline, images, _: encode(pipeline.vae, images) * pipeline.vae.config.scaling_factor,
    arguments=lambda edit, sources: {"image": sources, "strength": edit.strength},
)
