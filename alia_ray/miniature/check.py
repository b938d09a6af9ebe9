"""Measuring the small models: each figure beside its bar, from draws that no training saw.

The judges of the edits are small networks of their own (`judges.py`), trained here on other draws with blur
and noise; the method never uses them.
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchmetrics.functional.classification import binary_auroc

from alia_ray.config import Config, load_config
from alia_ray.images import to_array
from alia_ray.miniature import dataset, world
from alia_ray.miniature.judges import train_background_judge, train_class_judge
from alia_ray.miniature.recipes import DEMO, EDITING

SEED = 9_100  # of the draws that are measured on


@dataclass(frozen=True)
class Figure:
    """A measured share or area, and the least it should be."""

    name: str
    value: float
    bar: float

    @property
    def holds(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar


def check(out: Path | None, count: int) -> bool:
    """Print every figure and return whether all bars are reached; `out` gets them as JSON too."""
    torch.manual_seed(SEED)
    figures = []
    for measure in (_captions, _edits, _clip, _domains):
        for figure in measure(count):
            figures.append(figure)
            mark = "ok  " if figure.holds else "LOW "
            print(f"{mark} {figure.name:<58} {figure.value:.3f}  (bar {figure.bar:.2f})", flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    return all(figure.holds for figure in figures)


def _birds(count: int, backgrounds: list[str]) -> tuple[list[Image.Image], list[str], list[str]]:
    """Pictures of the task's birds, with their classes and backgrounds, classes and backgrounds alternating."""
    labels = [dataset.CLASSES[i % 2] for i in range(count)]
    places = [backgrounds[i // 2 % len(backgrounds)] for i in range(count)]
    pixels = [
        dataset.paint(f"check/{i}", label, place, SEED)
        for i, (label, place) in enumerate(zip(labels, places, strict=True))
    ]
    return [Image.fromarray(p) for p in pixels], labels, places


def _tensor(pictures: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([to_array(picture) for picture in pictures]))


def _captions(count: int) -> list[Figure]:
    from alia_ray.models.captioner import Captioner

    pictures, _, places = _birds(count, list(world.BACKGROUNDS))
    said = Captioner(load_config(DEMO).caption.model).caption(pictures)
    right = [world.BACKGROUNDS[place] in caption for caption, place in zip(said, places, strict=True)]
    bird = ["bird" in caption for caption in said]
    return [
        Figure("BLIP: captions that name the right background", float(np.mean(right)), 0.98),
        Figure("BLIP: captions that say bird", float(np.mean(bird)), 0.95),
    ]


def _edits(count: int) -> list[Figure]:
    backgrounds = train_background_judge()
    classes = train_class_judge()
    figures = []
    bars = {"instruct_pix2pix": (0.98, 0.95), "img2img": (0.85, 0.85), "controlnet": (0.95, 0.80)}
    for method, (background_bar, class_bar) in bars.items():
        edited, labels, wanted = _edit(load_config(DEMO, EDITING[method]), count)
        shown = backgrounds(edited).argmax(1)
        kept = classes(edited).argmax(1)
        places, names = list(world.BACKGROUNDS), list(dataset.CLASSES)
        right = (shown == torch.tensor([places.index(place) for place in wanted])).float().mean()
        same = (kept == torch.tensor([names.index(label) for label in labels])).float().mean()
        figures.append(Figure(f"{method}: edits that show the prompted background", float(right), background_bar))
        figures.append(Figure(f"{method}: edits that keep the class", float(same), class_bar))
    return figures


def _edit(settings: Config, count: int) -> tuple[torch.Tensor, list[str], list[str]]:
    """Edit birds on the training backgrounds, each under one of all eight prompts: pixels, classes, prompts."""
    from alia_ray.models.editor import Editor

    training = [place for places in dataset.HOME.values() for place in places]
    pictures, labels, _ = _birds(count, training)
    wanted = [list(world.BACKGROUNDS)[i // 8 % len(world.BACKGROUNDS)] for i in range(count)]
    prompts = [
        settings.discover.prefix.replace("{}", label) + " " + world.BACKGROUNDS[place]
        for label, place in zip(labels, wanted, strict=True)
    ]
    editor, sources, batch = Editor(settings.edit), _tensor(pictures), settings.edit.batch_size
    seeds = [SEED + i for i in range(count)]
    parts = [
        editor.edit(editor.encode(sources[i : i + batch]), prompts[i : i + batch], seeds[i : i + batch])
        for i in range(0, count, batch)
    ]
    return torch.cat(parts), labels, wanted


def _clip(count: int) -> list[Figure]:
    from alia_ray.models.clip import ClipJudge

    judge = load_config(DEMO).judge
    clip = ClipJudge(judge.model, judge.positives, judge.negatives)
    rng = np.random.default_rng(SEED)
    edited, _, _ = _edit(load_config(DEMO), count)
    empty = [world.paint(None, world.random_background(rng), world.random_seed(rng)) for _ in range(count)]
    positive = len(judge.positives)
    good = clip.score(edited)[:, :positive].sum(1)
    figures = []
    for name, pictures in {
        "an empty scene": _tensor([Image.fromarray(p) for p in empty]),
        "pixel noise": torch.from_numpy(rng.random(edited.shape, dtype=np.float32)),
        "shuffled patches": _shuffled(edited, rng),
        "a flat colour": torch.from_numpy(rng.random((count, 3, 1, 1), dtype=np.float32)).expand(-1, -1, 48, 48),
        "latent noise": _decoded_noise(count),
    }.items():
        bad = clip.score(pictures.contiguous())[:, :positive].sum(1)
        target = torch.cat([torch.ones(len(good)), torch.zeros(len(bad))]).long()
        area = float(binary_auroc(torch.cat([good, bad]), target))
        figures.append(Figure(f"CLIP: AUROC of edited birds against {name}", area, 0.95))
    return figures


def _shuffled(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each picture's 8 × 8 patches in a random order."""
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).flatten(2, 3)  # N, 3, 36, 8, 8
    mixed = torch.stack([picture[:, torch.from_numpy(rng.permutation(36))] for picture in patches])
    return torch.nn.functional.fold(
        mixed.permute(0, 1, 3, 4, 2).reshape(len(images), 3 * 64, 36), (48, 48), 8, stride=8
    )


def _decoded_noise(count: int) -> torch.Tensor:
    """What the VAE makes of pure noise."""
    from alia_ray.models.editor import load_pipeline

    vae = load_pipeline(load_config(DEMO).edit, torch.float32).vae
    noise = torch.randn(count, vae.config.latent_channels, 12, 12, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        return (vae.decode(noise).sample / 2 + 0.5).clamp(0, 1)


def _domains(count: int) -> list[Figure]:
    """Whether BLIP → vLLM gives exactly the training backgrounds."""
    from alia_ray.cluster.joining import joined
    from alia_ray.models.captioner import Captioner
    from alia_ray.stages.discover import run_discover

    training = [place for places in dataset.HOME.values() for place in places]
    pictures, _, _ = _birds(count, training)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(DEMO, [f"run.folder={folder}"])
        captions = Captioner(settings.caption.model).caption(pictures)
        with joined(settings.run):
            (discovery,) = run_discover({"check": captions}, list(dataset.CLASSES), settings)
    found = {domain["prompt"] for domain in discovery.domains}
    expected = {f"{settings.discover.prefix} {world.BACKGROUNDS[place]}" for place in training}
    overlap = len(found & expected) / len(found | expected)
    return [Figure("LLM: discovered domains against the training backgrounds (Jaccard)", overlap, 1.0)]
