"""What training and evaluation left in a classifier's folder, as far as it is whole."""

from collections.abc import Collection
from typing import Any

import pyarrow as pa

from alia_ray.store.damage import damage_of_tensors, put_aside
from alia_ray.store.run_folder import CLASSIFIER, HISTORY, METRICS, PREDICTIONS, TENSORS, RunFolder
from alia_ray.training.evaluation import THRESHOLDS


def read_history(folder: RunFolder) -> dict[str, Any] | None:
    """What a training left last; None where it has not ended, or its classifier is damaged, which is put aside."""
    history = folder.read_json(HISTORY, keys=("epochs",))
    if history is None:
        return None
    why = damage_of_tensors(folder.fs, folder.file(TENSORS))
    if why is None and folder.has_file(TENSORS) and folder.read_json(CLASSIFIER, keys=("classes",)) is not None:
        return history
    put_aside(folder.fs, folder.file(HISTORY), "its classifier is")  # first: it says that there is one
    if why:
        put_aside(folder.fs, folder.file(TENSORS), why)
    return None


def read_metrics(folder: RunFolder, test: pa.Table) -> dict[str, Any] | None:
    """A classifier's metrics; None where it has none of the images of `test` with the labels and groups there.

    test: columns id, label and group, ordered by id. The predictions that the metrics come from were written after
    them, and say what they are of.
    """
    measured = folder.read_parquet(PREDICTIONS, columns=["id", "label", "group"])
    if measured is None or folder.read_json(HISTORY, keys=("epochs",)) is None:
        return None
    if not test.equals(measured):
        return None
    return folder.read_json(METRICS, keys=("accuracy", "worst_group_accuracy"))


def read_thresholds(folder: RunFolder, classes: Collection[str]) -> dict[str, float] | None:
    """A classifier's threshold of each of `classes`; None where there are none yet."""
    return folder.read_json(THRESHOLDS, keys=classes)
