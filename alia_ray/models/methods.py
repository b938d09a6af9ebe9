"""The editing methods as data; kept apart from their pipelines so that planning needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass

from alia_ray.config import Edit


@dataclass(frozen=True)
class Method:
    """What a method takes beyond the prompt, steps and guidance."""

    parameters: Callable[[Edit], dict[str, float]]  # further arguments of its pipeline
    sees_source: bool = True
    scales_latents: bool = False  # whether its pipeline wants an encoded source times the VAE's scaling factor


METHODS = {
    "img2img": Method(lambda edit: {"strength": edit.strength}, scales_latents=True),
    "instruct_pix2pix": Method(lambda edit: {"image_guidance_scale": edit.image_guidance_scale}),
    "text_to_image": Method(lambda edit: {"height": edit.size, "width": edit.size}, sees_source=False),
}


def method_parameters(edit: Edit) -> dict[str, float]:
    """The method's own arguments of its diffusers pipeline."""
    return METHODS[edit.method].parameters(edit)
