"""evaluate: a trained classifier on labelled examples -> accuracies; and its class thresholds.

Only this stage reads the test split, once, after the checkpoint is chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from alia_ray.cluster.devices import worker_device
from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.placement import Cluster
from alia_ray.errors import StageError
from alia_ray.training.examples import Examples, class_indices, count, load, shard

THRESHOLDS = "thresholds.json"  # of the base classifier, beside it
_IMAGES_PER_TASK = 512  # at least, so that a task is worth loading the classifier for
_BATCH = 256
_GPU_DECODERS = 4  # threads that decode beside a GPU


@dataclass(frozen=True)
class Predictions:
    """What a classifier says about examples."""

    ids: list[str]
    probabilities: np.ndarray  # float32 (N, C)
    labels: list[str]
    groups: list[str | None]
    classes: list[str]  # the classifier's, in the order of the columns


def evaluate_classifier(
    folder: str, test: Examples, classes: Sequence[str], cluster: Cluster
) -> tuple[dict[str, Any], pa.Table]:
    """The metrics of `summarise` for the classifier in `folder` on the `test` examples, and what they come from:
    a table of id, label, group and predicted, ordered by id.

    Raises ValueError where there are none or where a label is not among `classes`, FileNotFoundError without a
    classifier. `cluster` is what may be used.
    """
    found = predict(folder, test, cluster)
    predicted = [found.classes[column] for column in found.probabilities.argmax(axis=1)]
    rows = {"id": found.ids, "label": found.labels, "group": found.groups, "predicted": predicted}
    return summarise(predicted, found.labels, found.groups, classes), pa.table(rows).sort_by("id")


def score_training_set(folder: str, train: Examples, cluster: Cluster) -> dict[str, float]:
    """The confidence threshold of every class that has training examples: the mean probability the classifier
    gives to a class over the examples labelled with it (paper, section 3.3).
    """
    import torch

    from alia_ray.models.classifier import class_thresholds

    found = predict(folder, train, cluster)
    thresholds = class_thresholds(
        torch.from_numpy(found.probabilities),
        torch.tensor(class_indices(found.labels, found.classes)),
        len(found.classes),
    )
    return {
        name: value
        for name, value in zip(found.classes, thresholds.tolist(), strict=True)
        if not math.isnan(value)
    }


def predict(folder: str, examples: Examples, cluster: Cluster) -> Predictions:
    """Ask the classifier in `folder` about every example, in parallel tasks.

    Raises ValueError for no examples, and StageError for NaN, which would count as the first class.
    """
    total = count([examples])
    if not total:
        raise ValueError(f"there are no examples of {examples.table} to evaluate {folder} on")
    tasks = max(1, min(int(cluster.gpus or cluster.cpus), -(-total // _IMAGES_PER_TASK)))
    ask = ray.remote(num_cpus=1, num_gpus=1 if cluster.gpus else 0)(_predict)
    threads = _GPU_DECODERS if cluster.gpus else 1
    with failures_of("evaluate"):
        parts = ray.get(
            [ask.remote(folder, shard([examples.for_workers()], rank, tasks), threads) for rank in range(tasks)]
        )
    probabilities = np.concatenate([part.probabilities for part in parts])
    if bad := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        raise StageError(
            f"evaluate: the classifier in {folder} gives no finite probabilities for {bad} of {total} images of "
            f"{examples.table}; delete that folder and train it again, with a lower train.learning_rate"
        )
    return Predictions(
        [example_id for part in parts for example_id in part.ids],
        probabilities,
        [label for part in parts for label in part.labels],
        [group for part in parts for group in part.groups],
        parts[0].classes,
    )


def _predict(folder: str, examples: list[Examples], threads: int) -> Predictions:
    from alia_ray.models.classifier import load_classifier

    classifier = load_classifier(folder, worker_device())
    loaded = load(examples, classifier.pixels, threads)
    probabilities = [
        classifier.of_squares(pixels.to(classifier.device).float() / 255).cpu().numpy()
        for pixels in loaded.pixels.split(_BATCH)
    ]
    ids = [example_id for part in examples for example_id in part.ids]
    return Predictions(ids, np.concatenate(probabilities), loaded.labels, loaded.groups, classifier.classes)


def summarise(
    predictions: Sequence[str], labels: Sequence[str], groups: Sequence[str | None], classes: Sequence[str]
) -> dict[str, Any]:
    """Metrics of predicted class names: all are shares in [0, 1].

    Means over classes and the worst group are over those that occur in `labels` and `groups`, as in WILDS, so
    class-balanced accuracy and macro recall are the same number under the names the two literatures use.
    An example without a group (None or "") counts in everything but `per_group`; where none has one, all are one
    group, the worst.
    Raises ValueError for a label or a prediction that is not among `classes`.
    """
    predicted, label = (np.array(class_indices(names, classes)) for names in (predictions, labels))
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)  # rows: labels, columns: predictions
    np.add.at(confusion, (label, predicted), 1)
    right, labelled = confusion.diagonal(), confusion.sum(axis=1)
    present = labelled > 0
    recall = right[present] / labelled[present]
    f1 = 2 * right[present] / (labelled + confusion.sum(axis=0))[present]
    member = np.array([group or "" for group in groups])
    per_group = {
        str(group): float((predicted == label)[member == group].mean()) for group in np.unique(member) if group
    }
    accuracy = float(right.sum() / len(label))
    return {
        "accuracy": accuracy,
        "class_balanced_accuracy": float(recall.mean()),
        "worst_group_accuracy": min(per_group.values(), default=accuracy),
        "per_class": {classes[place]: float(r) for place, r in zip(np.flatnonzero(present), recall, strict=True)},
        "per_group": per_group,
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "count": len(label),
    }
