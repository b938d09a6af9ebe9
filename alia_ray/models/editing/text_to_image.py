"""Text to image: nothing of the source but its class's name. The baseline."""

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from alia_ray.models.editing.method import Method

METHOD = Method(
    pipelines={"sd": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline},
    encode=lambda _, images, __: torch.empty(len(images), 0, device=images.device),
    arguments=lambda _, __: {},
)
