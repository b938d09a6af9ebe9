"""ControlNet on Canny edges: an image from noise whose outlines are the source's (arXiv 2302.05543).

The structure-preserving way of SaSPA (arXiv 2406.14551): shape and pose stay, everything else is drawn anew.
"""

import cv2
import numpy as np
import torch
from diffusers import DiffusionPipeline, StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline

from alia_ray.config import Edit
from alia_ray.models.editing.method import Method


def canny_edges(images: torch.Tensor, thresholds: tuple[int, int]) -> torch.Tensor:
    """The outlines of images: 1 on an edge and 0 elsewhere, three times the same channel.

    images: float (N, 3, H, W) in [0, 1]; returns the same shape, dtype and device. thresholds: the low and the
    high one of Canny's hysteresis, in steps of 255 (OpenCV's `Canny`).
    """
    pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
    edges = np.stack([cv2.Canny(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), *thresholds) for each in pixels])
    return torch.from_numpy(edges).to(images).div(255)[:, None].repeat(1, 3, 1, 1)


def _encode(_: DiffusionPipeline, images: torch.Tensor, edit: Edit) -> torch.Tensor:
    return canny_edges(images, edit.canny_thresholds)


METHOD = Method(
    pipelines={"sd": StableDiffusionControlNetPipeline, "sdxl": StableDiffusionXLControlNetPipeline},
    encode=_encode,
    arguments=lambda edit, sources: {
        "image": sources,
        "controlnet_conditioning_scale": edit.controlnet_scale,
    },
)
