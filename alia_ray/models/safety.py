"""Stable Diffusion's safety checker, through diffusers: which pictures must not be shown."""

from collections.abc import Sequence

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torchvision.transforms.v2 import functional
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from alia_ray import config
from alia_ray.models.batches import as_batch, middle
from alia_ray.models.loading import load_safetensors, pick_device, pick_dtype
from alia_ray.models.naming import resolve


class SafetyChecker:
    """Flags images; it changes none. Raises OSError when the model cannot be found."""

    def __init__(self, model: config.Model, device: torch.device | None = None) -> None:
        self.device = device or pick_device()
        self.model = load_safetensors(
            StableDiffusionSafetyChecker.from_pretrained,
            resolve(model.name),
            revision=model.revision,
            dtype=pick_dtype(model.dtype, self.device),
        )
        self.model.to(self.device).eval()

    @torch.inference_mode()
    def flags(self, images: Sequence[torch.Tensor]) -> list[bool]:
        """Whether each image is unsafe. images: float (N, 3, H, W) in [0, 1], or N of (3, H, W), of any sizes."""
        side = self.model.config.vision_config.image_size
        seen = as_batch(images, lambda alike: self.seen(alike.to(self.device), side))
        _, flagged = self.model(seen.to(self.model.dtype), torch.zeros(len(images), 1))  # it would blacken these
        return [bool(flag) for flag in flagged]

    @staticmethod
    def seen(images: torch.Tensor, side: int) -> torch.Tensor:
        """What the model sees of images, as CLIP's own processor makes it: float (N, 3, side, side)."""
        images = middle(images, (side, side)).clamp(0, 1)
        return functional.normalize(images, list(OPENAI_CLIP_MEAN), list(OPENAI_CLIP_STD))
