"""Models that do no work, for trying a cluster, its plan and a large run without weights or a GPU.

`simulated` as a model's name, or `simulated:latency=2,acceptance=0.5,failures=0.01`. A batch takes `latency`
seconds, whatever the device; of what a judge sees a share `acceptance` passes its semantic filter; of the rows a
share `failures` fails. Which ones follows from pixels, prompts and seeds alone, so workers change no row. Nothing
that a simulated model says means anything, and the report says that a run was simulated.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alia_ray.config import Judge

if TYPE_CHECKING:
    import torch

    from alia_ray.images import Shape

PLACES = (
    "by the sea",
    "in a wood",
    "in the snow",
    "on a street",
    "in a meadow",
    "on a rock",
    "at night",
    "indoors",
)

_STRIDE = 4  # of the pixels that a judge looks at: all of them take as long as encoding the picture


@dataclass(frozen=True)
class Simulation:
    """How a simulated model behaves. Raises ValueError for numbers that are out of range."""

    latency: float = 0.0  # seconds for each batch
    acceptance: float = 0.5  # share of edits that the judge keeps
    failures: float = 0.0  # share of rows that fail

    def __post_init__(self) -> None:
        if self.latency < 0 or not (0 <= self.acceptance <= 1 and 0 <= self.failures <= 1):
            raise ValueError("latency is at least 0, acceptance and failures lie between 0 and 1")

    def fails(self, *parts: str | bytes | int) -> bool:
        """Whether what `parts` describe is one of those that fail."""
        return _share("fails", *parts) < self.failures


def simulation_of(name: str) -> Simulation:
    """What a name such as `simulated:latency=2` asks for. Raises ValueError, which shows how it is written."""
    known = [field.name for field in fields(Simulation)]
    given = [part.partition("=") for part in name.partition(":")[2].split(",") if part]
    try:
        if {key for key, _, _ in given} <= set(known):
            return Simulation(**{key: float(value) for key, _, value in given})
        why = f"there are {', '.join(known)}"
    except ValueError as error:
        why = str(error)
    raise ValueError(f"{name!r}: {why}; write it as simulated:latency=2,acceptance=0.5")


class SimulatedCaptioner:
    """Captions in the form of `Captioner`'s: one of a few places for each picture."""

    def __init__(self, name: str) -> None:
        self.simulation = simulation_of(name)

    def caption(self, images: Iterable[Image.Image]) -> list[str]:
        """One caption for each picture, of any size; an empty one where it fails."""
        seen = [image.tobytes() for image in images]
        time.sleep(self.simulation.latency)
        return ["" if self.simulation.fails(pixels) else f"a photo {_place(pixels)}" for pixels in seen]


class SimulatedEditor:
    """Edits in the form of `Editor`'s: the source, moved to the side by its seed."""

    def __init__(self, name: str) -> None:
        self.simulation = simulation_of(name)
        self.said: str | None = None

    def encode(self, images: "torch.Tensor") -> "torch.Tensor":
        """The sources themselves: float (N, 3, H, W) in [0, 1]."""
        return images

    def edit(
        self, sources: "torch.Tensor", prompts: list[str], seeds: list[int], shape: "Shape | None" = None
    ) -> "torch.Tensor":
        """One edit for each source, prompt and seed: float32 (N, 3, H, W) in [0, 1]; NaN where it fails."""
        import torch

        time.sleep(self.simulation.latency)
        made = [source.roll(1 + seed % 16, dims=2) for source, seed in zip(sources, seeds, strict=True)]
        fails = [self.simulation.fails(*each) for each in zip(prompts, seeds, strict=True)]
        return torch.stack(made).where(~torch.tensor(fails)[:, None, None, None], torch.nan)


class SimulatedJudge:
    """Scores in the form of `Scorer`'s: the classifier finds nothing wrong, CLIP accepts a share of the edits."""

    def __init__(self, judge: Judge) -> None:
        self.simulation = simulation_of(judge.model.name)
        self.accepted, self.refused = judge.positives[0], judge.negatives[0]

    def score(self, images: "Sequence[np.ndarray | torch.Tensor]", labels: list[str]) -> list[dict[str, Any]]:
        """The score columns of each edit; images: N of float (3, H, W) in [0, 1], of any sizes."""
        time.sleep(self.simulation.latency)
        return [self._score(np.asarray(image), label) for image, label in zip(images, labels, strict=True)]

    def _score(self, image: np.ndarray, label: str) -> dict[str, Any]:
        some = image[:, ::_STRIDE, ::_STRIDE]
        pixels = (some * 255).astype(np.uint8).tobytes()
        share = _share("accepted", pixels)
        return {
            "semantic_score": 1 - share,
            "semantic_text": self.accepted if share < self.simulation.acceptance else self.refused,
            "predicted_label": label,
            "confidence": 0.0,
            "label_probability": 0.0,
            "label_rank": 1,
            "class_probabilities": None,
            "unsafe": None,
            "judge_seconds": self.simulation.latency,
            "error": "the simulated judge failed" if self.simulation.fails("judge", pixels) else None,
        }


def _place(pixels: bytes) -> str:
    return PLACES[int(_share("place", pixels) * len(PLACES))]


def _share(*parts: str | bytes | int) -> float:
    """A number in [0, 1) that follows from its parts, and is uniform over them."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else f"{part}|".encode())
    return int.from_bytes(digest.digest(), "little") / 2**64
