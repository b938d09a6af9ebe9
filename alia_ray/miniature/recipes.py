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

EDITING = {"instruct_pix2pix": [], "img2img": IMG2IMG, "controlnet": CONTROLNET}
"""The overrides of each method."""
