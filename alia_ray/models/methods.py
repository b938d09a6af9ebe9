"""What an edit depends on beside source and prompt; apart from the pipelines, so that planning needs no torch."""

from typing import Any

from alia_ray.config import Edit, Model, Section, plain
from alia_ray.models.naming import is_made_up

_OF_ALL = ("steps", "scheduler", "guidance_scale", "size", "format")
_OF_METHOD = {
    "img2img": ("strength",),
    "instruct_pix2pix": ("image_guidance_scale",),
    "controlnet": ("controlnet", "controlnet_scale", "canny_thresholds"),
    "text_to_image": (),
}
"""The settings of `edit` that a method reads."""


def edit_parameters(edit: Edit) -> dict[str, Any]:
    """Every setting that changes an edit, as plain data; an edit's id covers them."""
    names = {*_OF_ALL, *_OF_METHOD[edit.method]}
    chosen = {name: value for name, value in plain(edit).items() if name in names}
    model = plain(edit.model)
    return {"model": model.pop("name"), **model, **chosen}


def methods_that_read(name: str) -> list[str]:
    """The methods that read a setting of `edit`, of those settings that not every method reads."""
    return [method for method, names in _OF_METHOD.items() if name in names]


def models_of(section: Section) -> dict[str, Model]:
    """The models that are loaded for a section, by their keys."""
    is_steered = (
        isinstance(section, Edit) and section.method == "controlnet" and not is_made_up(section.model.name)
    )
    models = {key: value for key, value in section if isinstance(value, Model)}
    return {key: model for key, model in models.items() if key != "controlnet" or is_steered}
