"""Two arms on the images of each class or group: paired differences with their intervals. Pure functions."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.statistics.comparing import FEWEST
from alia_ray.statistics.intervals import Measured, interval


@dataclass(frozen=True)
class Part:
    """The images of one class or group: how many, and the ends of the 95 % interval of the difference.

    There is no interval for fewer than FEWEST images.
    """

    images: int
    interval: list[float] | None


def differences(before: pa.Table, after: pa.Table, column: str) -> dict[str, Part]:
    """name -> what the images of that "label" or "group" say of `after` against `before`.

    Both are the predictions of one classifier (id, label, group, predicted) on the same images. Images without a
    name are in no part.
    """
    before, after = before.sort_by("id"), after.sort_by("id")
    gained = right(after).astype(float) - right(before)
    of_images = pc.fill_null(before.column(column).cast(pa.string()), "").to_pylist()
    names, places = np.unique(np.array(of_images, dtype=object), return_inverse=True)
    return {name: _part(gained[places == place]) for place, name in enumerate(names) if name}


def right(predictions: pa.Table) -> np.ndarray:
    """Whether each image was told right, bool (images,)."""
    return pc.equal(predictions.column("label"), predictions.column("predicted")).to_numpy()


def _part(gained: np.ndarray) -> Part:
    images = len(gained)
    if images < FEWEST:
        return Part(images, None)
    mean = gained.mean()
    found = interval(Measured(np.array([mean]), (gained - mean)[None] / images, images, is_difference=True))
    return Part(images, [found.low, found.high])
