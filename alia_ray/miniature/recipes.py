"""The configurations that run on the miniature."""

from pathlib import Path

DEMO = Path(__file__).parent / "demo.yaml"
"""What `alia-ray demo` runs."""

IMG2IMG = [
    "edit.method=img2img",
    "edit.model.name=miniature:img2img",
    "edit.strength=0.35",
    "edit.steps=24",
    "edit.guidance_scale=2.5",
]
"""Overrides (`--set` each) that make the demo edit with Img2Img instead of InstructPix2Pix."""

CANNY = (60, 150)
CONTROLNET = [
    "edit.method=controlnet",
    "edit.model.name=miniature:img2img",
    "edit.controlnet.name=miniature:controlnet",
    f"edit.canny_thresholds={list(CANNY)}",
    "edit.steps=16",
    "edit.guidance_scale=2.5",
]
"""The same for ControlNet on Canny edges."""

TEXT_TO_IMAGE = [
    "edit.method=text_to_image",
    "edit.model.name=miniature:img2img",
    "edit.steps=24",
    "edit.guidance_scale=2.5",
]
"""The same for images from nothing but their prompts."""

EDITING: dict[str, list[str]] = {
    "instruct_pix2pix": [],
    "img2img": IMG2IMG,
    "controlnet": CONTROLNET,
    "text_to_image": TEXT_TO_IMAGE,
}
"""The overrides of each method."""
