"""The editing methods: a small file each, behind one interface."""

from alia_ray.models.editing import controlnet, img2img, instruct_pix2pix, text_to_image
from alia_ray.models.editing.method import Method

METHODS: dict[str, Method] = {
    "img2img": img2img.METHOD,
    "instruct_pix2pix": instruct_pix2pix.METHOD,
    "controlnet": controlnet.METHOD,
    "text_to_image": text_to_image.METHOD,
}
"""By the names of `edit.method`."""
