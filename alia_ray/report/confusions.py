"""Two classifiers on the same test images: which classes they confuse, and which images one mends or breaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from alia_ray.config.arms import BASE
from alia_ray.report.gains import augmented
from alia_ray.report.pictures import as_uri
from alia_ray.statistics.parts import right

PAIRS = 12  # the most confused classes that are shown
IN_NUMBERS = 12  # with more classes than this a matrix is a picture
_RIGHT, _WRONG = (47, 133, 90), (201, 74, 104)


@dataclass(frozen=True)
class Matrix:
    """What an arm calls the images of each class: counts (classes, classes), a row for each true class."""

    arm: str
    counts: np.ndarray

    def rows(self, classes: list[str]) -> list[dict[str, Any]]:
        """For a table: {"name", "cells": [{"count", "share": of the row, "right"}]}."""
        shares = _shares(self.counts)
        return [
            {
                "name": name,
                "cells": [
                    {"count": int(self.counts[row, column]), "share": shares[row, column], "right": row == column}
                    for column in range(len(classes))
                ],
            }
            for row, name in enumerate(classes)
        ]

    def told(self, classes: list[str]) -> dict[str, dict[str, int]]:
        """true class -> class that was told -> images, without zeros."""
        return {
            name: {classes[column]: int(counts[column]) for column in np.flatnonzero(counts)}
            for name, counts in zip(classes, self.counts, strict=True)
        }

    def picture(self) -> str:
        """A data URI: a pixel for each pair of classes, the more opaque the larger the share of its row."""
        pixels = np.empty((*self.counts.shape, 4), dtype=np.uint8)
        pixels[..., :3] = _WRONG
        pixels[np.eye(len(self.counts), dtype=bool), :3] = _RIGHT
        pixels[..., 3] = np.rint(255 * np.sqrt(_shares(self.counts)))  # a single mistake of many is still seen
        return as_uri(Image.fromarray(pixels, "RGBA"), lossless=True)


@dataclass(frozen=True)
class Change:
    """The arm `original` against the arm of the headline, on the same test images."""

    classes: list[str]
    matrices: tuple[Matrix, Matrix]
    pairs: list[dict[str, Any]]  # {"label", "predicted", "before", "after", "images"}, the most confused first
    counts: dict[str, int]  # how many images are "right" in both, "mended", "broken", "wrong" in both
    mended: list[dict[str, Any]]  # {"id", "label", "before", "after"}, by id; all of them
    broken: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: {"before", "after": arms, "right", …, "pairs", "matrices": arm -> `Matrix.told`}."""
        before, after = self.matrices
        matrices = {each.arm: each.told(self.classes) for each in self.matrices}
        return {"before": before.arm, "after": after.arm, **self.counts, "pairs": self.pairs, "matrices": matrices}


def change(predictions: Mapping[str, pa.Table]) -> Change | None:
    """What the headline's arm changed; None until it and `original` are measured.

    predictions: arm -> the table that `evaluate_classifier` gives.
    """
    arm = augmented(predictions)
    if BASE.name not in predictions or arm is None:
        return None
    before, after = (predictions[name].sort_by("id") for name in (BASE.name, arm))
    labels = before.column("label").to_pylist()
    said = [table.column("predicted").to_pylist() for table in (before, after)]
    classes = sorted({*labels, *said[0], *said[1]})
    matrices = Matrix(BASE.name, _counts(labels, said[0], classes)), Matrix(arm, _counts(labels, said[1], classes))
    was, now = right(before), right(after)
    images = zip(before.column("id").to_pylist(), labels, *said, strict=True)
    rows = [{"id": key, "label": label, "before": one, "after": other} for key, label, one, other in images]
    mended, broken = (
        [row for row, is_one in zip(rows, one, strict=True) if is_one] for one in (~was & now, was & ~now)
    )
    counts = {
        "right": int((was & now).sum()),
        "mended": len(mended),
        "broken": len(broken),
        "wrong": int((~was & ~now).sum()),
    }
    return Change(classes, matrices, _pairs(classes, *(each.counts for each in matrices)), counts, mended, broken)


def _counts(labels: list[str], predicted: list[str], classes: list[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([places[name] for name in labels], [places[name] for name in predicted]), 1)
    return counts


def _shares(counts: np.ndarray) -> np.ndarray:
    """Of each row; zeros where a class has no images."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _pairs(classes: list[str], before: np.ndarray, after: np.ndarray) -> list[dict[str, Any]]:
    most = np.maximum(before, after)
    np.fill_diagonal(most, 0)
    found = sorted(zip(*np.nonzero(most), strict=True), key=lambda pair: (-most[pair], pair))
    return [
        {
            "label": classes[row],
            "predicted": classes[column],
            "before": int(before[row, column]),
            "after": int(after[row, column]),
            "images": int(before[row].sum()),
        }
        for row, column in found[:PAIRS]
    ]
