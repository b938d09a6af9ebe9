"""Edits a second of our editor at several batch sizes, beside the loop that people run: same weights, same run.

    python benchmarks/edit_throughput.py --out edits.json                    # the miniature, on a CPU
    python benchmarks/edit_throughput.py --model random:sd15 --size 512 --steps 50 --batches 1 4 16 32 64

The loop gives diffusers' own pipeline one picture and one prompt a call, PIL in and PIL out. Ours takes the same
pictures in batches, embeds each prompt once, and ends in pictures too. The arithmetic of an edit is counted by
torch, and set against the matrix products that the device did in the same dtype in the same run.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInstructPix2PixPipeline,
)
from figures import write
from measuring import Loop, compare, graphs_compiled
from PIL import Image

from alia_ray.config import Edit, Model, load_config
from alia_ray.images import from_array, to_array
from alia_ray.miniature import dataset, world
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.editing import METHODS
from alia_ray.models.editing.controlnet import canny_edges
from alia_ray.models.editor import Editor

OWN = {
    "img2img": StableDiffusionImg2ImgPipeline,
    "instruct_pix2pix": StableDiffusionInstructPix2PixPipeline,
    "controlnet": StableDiffusionControlNetPipeline,
}


def main() -> None:
    """Time the loop and every batch size, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="instruct_pix2pix", choices=list(OWN))
    parser.add_argument("--model", help="as edit.model.name; none: the miniature's")
    parser.add_argument("--dtype", default="auto", help="as edit.model.dtype")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--size", type=int, help="pixels; none: as the model's configuration says")
    parser.add_argument("--steps", type=int, help="as edit.steps; none: likewise")
    parser.add_argument("--scheduler", help="as edit.scheduler; none: likewise")
    parser.add_argument("--compile", action="store_true", help="as edit.compile; one batch size at a time")
    parser.add_argument("--repeats", type=int, default=2, help="how often each is timed, once it is warm")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    settings = configured(options)
    editor = Editor(settings)
    print(f"{settings.method}, {settings.model.name}, {settings.size} pixels, {settings.steps} steps; ", end="")
    loops = [one_image_loop(editor, settings, max(options.batches))]
    loops += [ours(editor, settings, size) for size in options.batches]
    compared = compare(loops, editor.device, editor.pipeline.unet.dtype, options.repeats)
    if options.compile and not graphs_compiled():
        raise SystemExit("error: nothing was compiled, so these are the figures of the eager network")
    write(options.out, {**compared, "settings": settings.model_dump()})


def configured(options: argparse.Namespace) -> Edit:
    """The demo's editor, or another model with the defaults of a run."""
    if options.model is None:
        settings = load_config(DEMO, EDITING[options.method]).edit
    else:
        settings = Edit(method=options.method, model=Model(name=options.model, dtype=options.dtype))
    given = {name: getattr(options, name) for name in ("size", "steps", "scheduler") if getattr(options, name)}
    if options.compile:
        given |= {"compile": True, "batch_size": options.batches[-1]}  # to which smaller batches are padded
    return settings.model_copy(update=given)


def requests(settings: Edit, count: int) -> tuple[list[Image.Image], list[str], list[int]]:
    """Pictures, each under a prompt of its own place, and seeds."""
    painted = [dataset.paint(f"bench/{number}", "tarrel", "forest", seed=0) for number in range(count)]
    shape = (settings.size, settings.size)
    pictures = [Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC) for pixels in painted]
    places = list(world.BACKGROUNDS.values())
    return (
        pictures,
        [f"a photo of a tarrel bird {places[n % len(places)]}" for n in range(count)],
        list(range(count)),
    )


def one_image_loop(editor: Editor, settings: Edit, count: int) -> Loop:
    """Makes as many edits as our largest batch, but at most 8."""
    own = OWN[settings.method](**editor.pipeline.components, requires_safety_checker=False)
    own.set_progress_bar_config(disable=True)
    pictures, prompts, seeds = requests(settings, min(count, 8))

    def source_of(picture: Image.Image) -> Image.Image:
        if settings.method != "controlnet":
            return picture
        pixels = torch.from_numpy(to_array(picture))[None]
        return from_array(canny_edges(pixels, settings.canny_thresholds)[0].numpy())

    def loop() -> list[Image.Image]:
        return [
            own(
                prompt=prompt,
                generator=torch.Generator().manual_seed(seed),
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                **METHODS[settings.method].arguments(settings, source_of(picture)),
            ).images[0]
            for picture, prompt, seed in zip(pictures, prompts, seeds, strict=True)
        ]

    return Loop("one image a call", 1, loop, len(pictures))


def ours(editor: Editor, settings: Edit, size: int) -> Loop:
    """One batch, from pictures to pictures."""
    pictures, prompts, seeds = requests(settings, size)

    def batch() -> list[Image.Image]:
        pixels = torch.from_numpy(np.stack([to_array(picture) for picture in pictures]))
        edited = editor.edit(editor.encode(pixels), prompts, seeds)
        return [from_array(pixels) for pixels in edited.cpu().numpy()]

    return Loop("ours", size, batch, size)


if __name__ == "__main__":
    main()
