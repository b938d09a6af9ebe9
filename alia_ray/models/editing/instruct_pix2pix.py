"""InstructPix2Pix: the source's latents lie beside the noise, and guide it (arXiv 2211.09800)."""

from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline

from alia_ray.models.editing.method import Method
from alia_ray.models.editing.vae import encode


class _InstructPix2Pix(StableDiffusionInstructPix2PixPipeline):
    """Takes encoded sources of any number of channels, as `_Img2Img` does.

    The three parts of its guidance are the prompt's, the source's and neither's.
    """

    def prepare_image_latents(self, image: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.cat([image, image, torch.zeros_like(image)]) if self.do_classifier_free_guidance else image


METHOD = Method(
    pipelines={"sd": _InstructPix2Pix, "sdxl": StableDiffusionXLInstructPix2PixPipeline},
    encode=lambda pipeline, images, _: encode(pipeline.vae, images),  # unscaled, as it was trained
    arguments=lambda edit, sources: {"image": sources, "image_guidance_scale": edit.image_guidance_scale},
)
