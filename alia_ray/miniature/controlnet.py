"""The small ControlNet: it tells the small text-to-image model where the outlines of a bird are.

The model beneath is that of `img2img`, which draws from plain noise too; it stays as it is. Shown are the edges
of one picture and the caption of another: the same creature, pixel for pixel, before another background. So the
ControlNet learns to keep the creature's outlines and to leave the background's to the prompt. A ControlNet for
photographs has seen the edges of the very picture it is to draw, and keeps both; so are four in ten pictures here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel

from alia_ray.config import Edit, Model
from alia_ray.miniature import world
from alia_ray.miniature.editors import (
    EMPTY_TEXT_SHARE,
    TOKENS,
    alpha_sigma,
    build_scheduler,
    channels_last,
    token_ids,
)
from alia_ray.miniature.recipes import CANNY
from alia_ray.miniature.shapes import SIZE
from alia_ray.miniature.training import fit, seed_everything
from alia_ray.miniature.vae import encode
from alia_ray.models.editing.controlnet import canny_edges
from alia_ray.models.editor import load_pipeline

BATCH = 16
OWN_EDGES_SHARE = 0.4


@dataclass(frozen=True)
class Outlines:
    """One creature on two backgrounds, N times."""

    before: torch.Tensor  # bool (N, 48, 48), the edges of the first picture
    after: torch.Tensor  # of the second
    target: torch.Tensor  # latents of the second, (N, 12, 12, 12) in fp16
    captions: torch.Tensor  # of the second in three ways, token ids (N, 3, TOKENS)


def train_controlnet(out: Path, beneath: Path, steps: int, seed: int, pairs: int = 14_000) -> None:
    """Train a ControlNet for the pipeline saved in `beneath`, and save it, fp16, to `out`."""
    pipeline = load_pipeline(Edit(model=Model(name=str(beneath))), torch.float32)
    rng = seed_everything(seed)
    shown = paint_outlines(rng, pipeline, pairs)
    unet = pipeline.unet.requires_grad_(False).to(memory_format=torch.channels_last)
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64))
    control.requires_grad_(True).to(memory_format=torch.channels_last)
    cumulative = build_scheduler().alphas_cumprod
    with torch.no_grad():
        empty = pipeline.text_encoder(torch.tensor(token_ids(pipeline.tokenizer, [""])))[0]

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(shown.target), size=BATCH))
        ids = shown.captions[chosen, torch.from_numpy(rng.choice(3, size=BATCH, p=[0.4, 0.4, 0.2]))]
        with torch.no_grad():
            states = pipeline.text_encoder(ids)[0]
        states = torch.where(torch.rand(BATCH, 1, 1) < EMPTY_TEXT_SHARE, empty, states)
        own = torch.rand(BATCH, 1, 1) < OWN_EDGES_SHARE
        edges = torch.where(own, shown.after[chosen], shown.before[chosen])
        edges = edges[:, None].float().repeat(1, 3, 1, 1)
        target = shown.target[chosen].float()
        timesteps, noise = torch.randint(0, 1000, (BATCH,)), torch.randn_like(target)
        alpha, sigma = alpha_sigma(timesteps, cumulative)
        noised = channels_last(alpha * target + sigma * noise)
        down, middle = control(noised, timesteps, states, edges, return_dict=False)
        guessed = unet(
            noised,
            timesteps,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return (guessed - (alpha * noise - sigma * target)).pow(2).mean()

    trained = fit(control, loss_of_batch, steps, peak_lr=1.0e-3)
    trained.to(dtype=torch.float16).save_pretrained(out)


def paint_outlines(rng: np.random.Generator, pipeline: torch.nn.Module, count: int) -> Outlines:
    """Paint `count` creatures (eight in ten are birds), each on two backgrounds drawn independently."""
    before, after, targets, captions = [], [], [], []
    for start in range(0, count, 500):
        pictures = np.empty((2, min(500, count - start), SIZE, SIZE, 3), np.uint8)
        for number in range(pictures.shape[1]):
            creature = world.random_creature(rng, str(rng.choice(world.KINDS, p=[0.8, 0.1, 0.1])))
            places = [world.random_background(rng), world.random_background(rng)]
            for side, place in enumerate(places):
                pictures[side, number] = world.paint(creature, place, world.random_seed(rng))
            captions += [
                world.caption(creature, places[1]),
                world.caption(creature, places[1], world.invented_name(rng)),
                world.caption(creature, places[1], ""),
            ]
        before.append(_edges(pictures[0]))
        after.append(_edges(pictures[1]))
        targets.append(encode(pipeline.vae, pictures[1]).half())
    ids = torch.tensor(token_ids(pipeline.tokenizer, captions)).view(-1, 3, TOKENS)
    return Outlines(torch.cat(before), torch.cat(after), torch.cat(targets), ids)


def _edges(pictures: np.ndarray) -> torch.Tensor:
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return canny_edges(images, CANNY)[:, 0] > 0
