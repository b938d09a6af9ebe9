"""Peak memory of one worker of each pool, with models of real size and random weights, on the CPU.

    python benchmarks/worker_memory.py caption --batch 4
    python benchmarks/worker_memory.py edit --batch 4 --size 256
    python benchmarks/worker_memory.py train --batch 16

Prints GB after the imports, after loading, and after one batch: what `alia_ray/cluster/memory.py` reserves.
"""

import argparse
import resource
import tempfile

import torch
from PIL import Image

from alia_ray.config import Caption, Edit, Judge, Model, Pixels


def peak() -> float:
    """The most memory that this process has had so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def caption(batch: int, size: int) -> tuple[float, float, float]:
    """BLIP-large."""
    from alia_ray.models.captioner import Captioner

    imported = peak()
    captioner = Captioner(Caption(model=Model(name="random:blip-large")).model)
    loaded = peak()
    captioner.caption([Image.new("RGB", (size, size), "green")] * batch)
    return imported, loaded, peak()


def edit(batch: int, size: int) -> tuple[float, float, float]:
    """Stable Diffusion 1.5, CLIP ViT-L/14 and ResNet-50."""
    from alia_ray.models.classifier import build_classifier, save_classifier
    from alia_ray.models.editor import Editor
    from alia_ray.stages.scoring import Scorer

    imported = peak()
    with tempfile.TemporaryDirectory() as folder:
        save_classifier(folder, build_classifier("resnet50", "none", 2), ["a", "b"], "resnet50", Pixels())
        editor = Editor(Edit(model=Model(name="random:sd15"), size=size, steps=2, strength=0.5))
        scorer = Scorer(Judge(model=Model(name="random:ViT-L-14")), folder)
    loaded = peak()
    sources = editor.encode(torch.rand(batch, 3, size, size))
    edited = editor.edit(sources, ["a photo"] * batch, list(range(batch)))
    scorer.score(edited.nan_to_num(), ["a"] * batch)
    return imported, loaded, peak()


def train(batch: int, size: int) -> tuple[float, float, float]:
    """ResNet-50, one step of SGD with momentum."""
    from alia_ray.models.classifier import build_classifier

    imported = peak()
    model = build_classifier("resnet50", "none", 2).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loaded = peak()
    for _ in range(2):
        optimiser.zero_grad()
        model(torch.rand(batch, 3, size, size)).sum().backward()
        optimiser.step()
    return imported, loaded, peak()


def main() -> None:
    """Measure one pool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", choices=["caption", "edit", "train"])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    measure = {"caption": caption, "edit": edit, "train": train}[options.pool]
    imported, loaded, worked = measure(options.batch, options.size)
    print(
        f"{options.pool}, batch {options.batch}, {options.size}²: imports {imported:.2f} GB, "
        f"loaded {loaded:.2f} GB, one batch {worked:.2f} GB"
    )


if __name__ == "__main__":
    main()
