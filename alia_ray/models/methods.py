"""What an editing method takes beyond steps and guidance; kept apart so that planning needs no torch."""

from collections.abc import Callable

from alia_ray.config import Edit

_PARAMETERS: dict[str, Callable[[Edit], dict[str, float]]] = {
    "img2img": lambda edit: {"strength": edit.strength},
    "instruct_pix2pix": lambda edit: {"image_guidance_scale": edit.image_guidance_scale},
    "text_to_image": lambda edit: {"height": edit.size, "width": edit.size},
}


def method_parameters(edit: Edit) -> dict[str, float]:
    """The method's own arguments of its diffusers pipeline."""
    return _PARAMETERS[edit.method](edit)
