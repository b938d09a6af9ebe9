"""Judged edits a second, by CLIP and the base classifier, at several batch sizes, beside the loop that people run.

    python benchmarks/judge_throughput.py --out judged.json                           # the miniature, on a CPU
    python benchmarks/judge_throughput.py --clip random:ViT-L-14 --classifier resnet50 --classes 200 --seen 224 \\
        --size 512 --batches 1 8 32 128

The loop reads one picture a call through the models' own transforms, and encodes the texts anew for it. Ours
judges the editor's tensor where it lies, in batches, and encodes the texts once.
"""

import argparse
from pathlib import Path

import torch
from figures import write
from measuring import Loop, compare
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from alia_ray.config import Model, Pixels, load_config
from alia_ray.images import from_array, to_array
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import Classifier, build_classifier
from alia_ray.models.clip import LOGIT_SCALE, ClipJudge, load_clip


def main() -> None:
    """Time the loop and every batch size, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="miniature:clip", help="as judge.model.name")
    parser.add_argument("--classifier", default="resnet18", help="as train.architecture; its weights are random")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--seen", type=int, default=48, help="as train.image_size")
    parser.add_argument("--size", type=int, default=48, help="pixels of the edits")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=5, help="how often each is timed, once it is warm")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    asked = load_config(DEMO).judge
    clip = ClipJudge(Model(name=options.clip), asked.positives, asked.negatives)
    classifier = classifier_of(options, clip.device)
    print(f"{options.clip} and {options.classifier}, edits of {options.size} pixels; ", end="")
    loops = [one_image_loop(clip, classifier, options)]
    loops += [ours(clip, classifier, size, options.size) for size in options.batches]
    compared = compare(loops, clip.device, clip.dtype, options.repeats)
    write(options.out, {**compared, "clip": options.clip, "classifier": options.classifier, "size": options.size})


def classifier_of(options: argparse.Namespace, device: torch.device) -> Classifier:
    """A base classifier with random weights."""
    network = build_classifier(options.classifier, "none", options.classes)
    network = network.to(device, memory_format=torch.channels_last).eval()
    return Classifier(network, [str(n) for n in range(options.classes)], Pixels(image_size=options.seen))


def edits(count: int, size: int, device: torch.device) -> torch.Tensor:
    """What an editor gives: float (N, 3, S, S) in [0, 1], on the device."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)


def one_image_loop(clip: ClipJudge, classifier: Classifier, options: argparse.Namespace) -> Loop:
    """Judges as many as our largest batch, but at most 8."""
    _, tokenizer = load_clip(Model(name=options.clip), clip.dtype)
    transform = image_transform_v2(PreprocessCfg(**clip.preprocessing), is_train=False)
    shown = edits(min(max(options.batches), 8), options.size, torch.device("cpu")).numpy()
    pictures = [from_array(pixels) for pixels in shown]

    @torch.inference_mode()
    def loop() -> list[float]:
        judged = []
        for picture in pictures:
            features = clip.model.encode_image(
                transform(picture)[None].to(clip.device, clip.dtype), normalize=True
            )
            texts = clip.model.encode_text(tokenizer(clip.texts).to(clip.device), normalize=True)
            probabilities = (LOGIT_SCALE * features @ texts.T).softmax(dim=1)
            judged += [probabilities.max().item(), classifier.probabilities(one(picture)).max().item()]
        return judged

    return Loop("one image a call", 1, loop, len(pictures))


def one(picture: Image.Image) -> torch.Tensor:
    """A picture as the classifier takes it."""
    return torch.from_numpy(to_array(picture))[None]


def ours(clip: ClipJudge, classifier: Classifier, batch: int, size: int) -> Loop:
    """One batch, to scores on the host."""
    images = edits(batch, size, clip.device)
    return Loop("ours", batch, lambda: (clip.score(images).cpu(), classifier.probabilities(images).cpu()), batch)


if __name__ == "__main__":
    main()
