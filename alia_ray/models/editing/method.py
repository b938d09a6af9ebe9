"""What a method is to the editor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline

from alia_ray.config import Edit

Family = Literal["sd", "sdxl"]
"""Which architecture a checkpoint has: that of Stable Diffusion 1 and 2, or that of SDXL."""


@dataclass(frozen=True)
class Method:
    """How sources are encoded, once for all their edits, and which pipeline of diffusers takes them."""

    pipelines: dict[Family, type[DiffusionPipeline]]
    # float (N, 3, H, W) in [0, 1] on the device -> what the pipeline takes of N sources, first dimension N
    encode: Callable[[DiffusionPipeline, torch.Tensor, Edit], torch.Tensor]
    arguments: Callable[[Edit, torch.Tensor], dict[str, Any]]  # encoded sources -> further arguments
