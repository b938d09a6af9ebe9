"""Training the small models again: which script makes which weights, with which seeds and steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from alia_ray.config import ConfigError
from alia_ray.miniature.captioner import train_captioner
from alia_ray.miniature.classifier import train_classifier
from alia_ray.miniature.clip import train_clip
from alia_ray.miniature.controlnet import train_controlnet
from alia_ray.miniature.editors import assemble, train_editor
from alia_ray.miniature.llm import train_llm
from alia_ray.miniature.vae import train_vae


@dataclass(frozen=True)
class Recipe:
    """How a part is made: `make(out, steps)` writes its folder under `out`."""

    make: Callable[[Path, int], None]
    steps: int


def _make_editor(method: str, seed: int) -> Callable[[Path, int], None]:
    def make(out: Path, steps: int) -> None:
        train_editor(method, out / method, steps=steps, seed=seed)
        assemble(out / "vae", out / method)

    return make


RECIPES = {
    "vae": Recipe(lambda out, steps: train_vae(out / "vae", steps=steps, seed=11), 9000),
    "instruct_pix2pix": Recipe(_make_editor("instruct_pix2pix", seed=21), 6500),
    "img2img": Recipe(_make_editor("img2img", seed=22), 8000),
    "controlnet": Recipe(
        lambda out, steps: train_controlnet(out / "controlnet", out / "img2img", steps=steps, seed=23), 9000
    ),
    "captioner": Recipe(lambda out, steps: train_captioner(out / "captioner", steps=steps, seed=31), 1500),
    "clip": Recipe(lambda out, steps: train_clip(out / "clip", steps=steps, seed=41, vae=out / "vae"), 2500),
    "classifier": Recipe(lambda out, steps: train_classifier(out / "classifier", steps=steps, seed=51), 2000),
    "llm": Recipe(lambda out, steps: train_llm(out / "llm", steps=steps, seed=17), 5000),
}
"""In this order: the VAE comes before what decodes with it. Steps and seeds are those of the shipped weights."""


def train_part(part: str, out: Path, steps: int | None = None) -> None:
    """Train one part, or "all", into `out`, one thread. Raises ConfigError for an unknown part."""
    if part != "all" and part not in RECIPES:
        raise ConfigError(f"there is no part {part!r}; there are {', '.join(RECIPES)} and all")
    torch.set_num_threads(1)
    for name in RECIPES if part == "all" else [part]:
        print(f"training {name}", flush=True)
        RECIPES[name].make(out, steps or RECIPES[name].steps)
