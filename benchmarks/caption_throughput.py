"""Captions a second of our captioner at several batch sizes, beside the loop that people run.

    python benchmarks/caption_throughput.py --out captions.json                       # the miniature, on a CPU
    python benchmarks/caption_throughput.py --model random:blip-large --size 640 --batches 1 4 16 64

The loop gives BLIP one picture a call, processor and all; ours takes the same pictures in batches. Both write
`--tokens` tokens of each, for an end of the sentence would come to one and not to the other.
"""

import argparse
from pathlib import Path

import torch
from figures import write
from measuring import Loop, compare
from PIL import Image

from alia_ray.config import Model
from alia_ray.miniature import dataset
from alia_ray.models.captioner import Captioner


def main() -> None:
    """Time the loop and every batch size, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="miniature:captioner", help="as caption.model.name")
    parser.add_argument("--dtype", default="auto", help="as caption.model.dtype")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--size", type=int, default=48, help="pixels of the pictures")
    parser.add_argument("--tokens", type=int, default=12, help="of every caption")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is timed, once it is warm")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    captioner = Captioner(Model(name=options.model, dtype=options.dtype), max_new_tokens=options.tokens)
    captioner.model.generation_config.min_new_tokens = options.tokens
    print(f"{options.model}, {options.size} pixels, {options.tokens} tokens; ", end="")
    loops = [one_image_loop(captioner, options)]
    loops += [ours(captioner, size, options.size) for size in options.batches]
    compared = compare(loops, captioner.device, captioner.dtype, options.repeats)
    write(options.out, {**compared, "model": options.model, "size": options.size, "tokens": options.tokens})


def pictures(count: int, size: int) -> list[Image.Image]:
    """Birds of the miniature, enlarged."""
    painted = [dataset.paint(f"bench/{number}", "tarrel", "forest", seed=0) for number in range(count)]
    return [Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC) for pixels in painted]


def one_image_loop(captioner: Captioner, options: argparse.Namespace) -> Loop:
    """Captions as many as our largest batch, but at most 8."""
    shown = pictures(min(max(options.batches), 8), options.size)
    model, processor = captioner.model, captioner.processor

    @torch.inference_mode()
    def loop() -> list[str]:
        captions = []
        for picture in shown:
            inputs = processor(images=picture, return_tensors="pt").to(captioner.device, captioner.dtype)
            written = model.generate(**inputs, max_new_tokens=options.tokens)
            captions.append(processor.decode(written[0], skip_special_tokens=True))
        return captions

    return Loop("one image a call", 1, loop, len(shown))


def ours(captioner: Captioner, batch: int, size: int) -> Loop:
    """One batch."""
    shown = pictures(batch, size)
    return Loop("ours", batch, lambda: captioner.caption(shown), batch)


if __name__ == "__main__":
    main()
