"""How fast is each model by itself, at its real size, on this machine's device? No Ray, no hub, random weights.

    python benchmarks/model_throughput.py --out models.json
    python benchmarks/model_throughput.py --batch 1 --size 64 --steps 4 --repeats 1   # what a CPU can do

Prints images a second, the arithmetic an image costs (counted by torch), and what share that is of the matrix
products which the same device did in the same dtype in the same run: the floor under any tuning.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import Batch, matmul_flops, name_of, time_of, write
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from alia_ray.config import Edit, Judge, Model, Pixels
from alia_ray.models.captioner import Captioner
from alia_ray.models.classifier import Classifier, build_classifier
from alia_ray.models.clip import ClipJudge
from alia_ray.models.editor import Editor
from alia_ray.models.loading import pick_device


def main() -> None:
    """Time every model asked for, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=512, help="pixels of the images that are edited")
    parser.add_argument("--steps", type=int, default=50, help="as edit.steps")
    parser.add_argument("--repeats", type=int, default=3, help="batches that are timed, after one that is not")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    device = pick_device()
    peak = matmul_flops(device)
    name = name_of(device)
    print(f"{name}: {peak / 1e12:.2f} TFLOP/s in matrix products")
    print("| model | batch | images/s | TFLOP an image | share of matrix products |\n|---|---|---|---|---|")
    rows = []
    for model in options.models:
        rows.append(
            {"model": model, "batch": options.batch, **measure(MODELS[model](options), device, options, peak)}
        )
        row = rows[-1]
        print(
            f"| {model} | {options.batch} | {row['images_per_second']:.3g} | {row['tflop_per_image']:.3g} | "
            f"{100 * row['share_of_peak']:.0f} % |",
            flush=True,
        )
    settings = {"device": name, "peak_tflops": peak / 1e12, "size": options.size, "steps": options.steps}
    write(options.out, {**settings, "rows": rows})


def measure(batch: Batch, device: torch.device, options: argparse.Namespace, peak: float) -> dict[str, float]:
    """Images a second of a batch that is run again and again, once its arithmetic has been counted."""
    with FlopCounterMode(display=False) as counter:
        batch()
    seconds = time_of(batch, device, options.repeats)
    flops = counter.get_total_flops()
    return {
        "images_per_second": options.batch / seconds,
        "tflop_per_image": flops / options.batch / 1e12,
        "share_of_peak": flops / seconds / peak,
    }


def captioner(options: argparse.Namespace) -> Batch:
    """BLIP-large; random weights talk until max_new_tokens, so this is the slowest caption."""
    model = Captioner(Model(name="random:blip-large"))
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (480, 640, 3), np.uint8)) for _ in range(options.batch)]
    return lambda: model.caption(pictures)


def editor(options: argparse.Namespace, method: str) -> Batch:
    """Stable Diffusion 1.5 or InstructPix2Pix, with the steps and guidance of a run."""
    settings = Edit(method=method, model=Model(name="random:sd15"), steps=options.steps, size=options.size)
    model = Editor(settings)
    images = torch.rand(options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    prompts = ["a photo of a bird in the snow"] * options.batch
    return lambda: model.edit(model.encode(images), prompts, list(range(options.batch)))


def clip(options: argparse.Namespace) -> Batch:
    """CLIP ViT-L/14 against the default texts."""
    judge = Judge()
    model = ClipJudge(Model(name="random:ViT-L-14"), judge.positives, judge.negatives)
    images = torch.rand(options.batch, 3, options.size, options.size, device=model.device)
    return lambda: model.score(images)


def classifier(options: argparse.Namespace) -> Batch:
    """ResNet50 as the base classifier judges edits."""
    device = pick_device()
    network = build_classifier("resnet50", "none", 200).to(device, memory_format=torch.channels_last).eval()
    model = Classifier(network, [str(number) for number in range(200)], Pixels())
    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    return lambda: model.probabilities(images)


MODELS: dict[str, Callable[[argparse.Namespace], Batch]] = {
    "captioner": captioner,
    "img2img": lambda options: editor(options, "img2img"),
    "instruct_pix2pix": lambda options: editor(options, "instruct_pix2pix"),
    "clip": clip,
    "classifier": classifier,
}

if __name__ == "__main__":
    main()
