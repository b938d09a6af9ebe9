"""evaluate: a trained classifier on labelled examples -> accuracies; and its class thresholds.

Only this stage reads the test split, once, after the checkpoint is chosen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from alia_ray.cluster.devices import worker_device
from alia_ray.cluster.failures import failures_of
from alia_ray.cluster.placement import Cluster
from alia_ray.errors import StageError
from alia_ray.training.examples import Examples, Names, class_indices, count, load, shard

THRESHOLDS = "thresholds.json"  # of the base classifier, beside it
_IMAGES_PER_TASK = 512  # at least, so that a task is worth loading the classifier for
_BATCH = 256
_GPU_DECODERS = 4  # threads that decode beside a GPU
_IN_MEMORY = 10**9  # bytes of decoded images that a task holds; more it keeps on its node's disk


@dataclass(frozen=True)
class Predictions:
    """What a classifier says about examples."""

    rows: pa.Table  # id, label, group and predicted, all texts
    of_label: np.ndarray  # float32 (N,): the probability of the label; 0 where it is none of the classes
    not_finite: int  # rows whose probabilities are not all numbers
    classes: list[str]  # the classifier's


def evaluate_classifier(
    folder: str, test: Examples, classes: Sequence[str], cluster: Cluster
) -> tuple[dict[str, Any], pa.Table]:
    """The metrics of `summarise` for the classifier in `folder` on the `test` examples, and what they come from:
    a table of id, label, group and predicted, ordered by id.

    Raises ValueError where there are none or where a label is not among `classes`, FileNotFoundError without a
    classifier. `cluster` is what may be used.
    """
    rows = predict(folder, test, cluster).rows.sort_by("id").combine_chunks()
    said = (rows.column(name).combine_chunks() for name in ("predicted", "label", "group"))
    return summarise(*said, classes), rows


def score_training_set(folder: str, train: Examples, cluster: Cluster) -> dict[str, float]:
    """The confidence threshold of every class that has training examples: the mean probability the classifier
    gives to a class over the examples labelled with it (paper, section 3.3).
    """
    import torch

    from alia_ray.models.classifier import class_thresholds

    found = predict(folder, train, cluster)
    labels = class_indices(found.rows.column("label").combine_chunks(), found.classes)
    thresholds = class_thresholds(torch.from_numpy(found.of_label), torch.from_numpy(labels), len(found.classes))
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
    if bad := sum(part.not_finite for part in parts):
        raise StageError(
            f"evaluate: the classifier in {folder} gives no finite probabilities for {bad} of {total} images of "
            f"{examples.table}; delete that folder and train it again, with a lower train.learning_rate"
        )
    rows, of_label = pa.concat_tables(part.rows for part in parts), [part.of_label for part in parts]
    return Predictions(rows, np.concatenate(of_label), 0, parts[0].classes)


def _predict(folder: str, examples: list[Examples], threads: int) -> Predictions:
    import torch

    from alia_ray.models.classifier import load_classifier
    from alia_ray.training.placing import Images

    classifier = load_classifier(folder, worker_device())
    size = count(examples) * 3 * classifier.pixels.image_size**2
    loaded = load(examples, classifier.pixels, threads, on_disk=size > _IN_MEMORY)
    labels, classes = pa.array(loaded.labels, pa.string()), pa.array(classifier.classes)
    places = pc.index_in(labels, value_set=classes).fill_null(-1).to_numpy().astype(np.int64)
    predicted, of_label, not_finite = [], [], 0
    images = Images(loaded.pixels, torch.from_numpy(places))
    for pixels, own in images.batches(torch.arange(len(places)).split(_BATCH)):
        probabilities = classifier.of_squares(pixels.to(classifier.device).float() / 255).cpu()
        predicted.append(probabilities.numpy().argmax(axis=1))
        of_label.append(probabilities.gather(1, own.clamp(min=0)[:, None])[:, 0].where(own >= 0, 0.0).numpy())
        not_finite += int((~probabilities.isfinite()).any(dim=1).sum())
    rows = {
        "id": pa.concat_arrays([part.ids for part in examples]),
        "label": labels,
        "group": pa.array(loaded.groups, pa.string()),
        "predicted": classes.take(pa.array(np.concatenate(predicted))),
    }
    return Predictions(pa.table(rows), np.concatenate(of_label), not_finite, classifier.classes)


def summarise(predictions: Names, labels: Names, groups: Names, classes: Sequence[str]) -> dict[str, Any]:
    """Metrics of predicted class names: all are shares in [0, 1].

    Means over classes and the worst group are over those that occur in `labels` and `groups`, as in WILDS, so
    class-balanced accuracy and macro recall are the same number under the names the two literatures use.
    An example without a group (None or "") counts in everything but `per_group`; where none has one, all are one
    group, the worst.
    Raises ValueError for a label or a prediction that is not among `classes`.
    """
    predicted, label = (class_indices(names, classes) for names in (predictions, labels))
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)  # rows: labels, columns: predictions
    np.add.at(confusion, (label, predicted), 1)
    right, labelled = confusion.diagonal(), confusion.sum(axis=1)
    present = labelled > 0
    recall = right[present] / labelled[present]
    f1 = 2 * right[present] / (labelled + confusion.sum(axis=0))[present]
    of_group = pa.array(groups, pa.string()).fill_null("").dictionary_encode()
    member, names = of_group.indices.to_numpy(), of_group.dictionary.to_pylist()
    shares = np.bincount(member, weights=predicted == label) / np.bincount(member)
    per_group = {name: float(share) for name, share in sorted(zip(names, shares, strict=True)) if name}
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
