"""train: examples -> a classifier, data-parallel on Ray Train (paper, section 4).

    OUT/
      model.safetensors, classifier.json   the weights of the best epoch by validation, and what they are
      history.json                         one record per epoch; written last, so it marks a finished training
      checkpoints/                         the best and the last epoch, while training is under way

The test split never comes here: the epoch is chosen by class-balanced accuracy on validation examples.
"""

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import ray
import ray.train

from alia_ray import config
from alia_ray.cluster import Cluster, available
from alia_ray.config import ConfigError
from alia_ray.progress import say
from alia_ray.run_folder import RunFolder
from alia_ray.stages.examples import Examples
from alia_ray.stages.streaming import StageError

Augment = Literal["none", "randaugment", "cutmix"]

_HISTORY, _CHECKPOINTS = "history.json", "checkpoints"
_PLACEMENT_MINUTES = 30  # Ray Train waits a minute at a time for other work to free what the workers need


def train_classifier(
    train: Sequence[Examples],
    val: Sequence[Examples],
    classes: Sequence[str],
    settings: config.Train,
    augment: Augment,
    seed: int,
    out: str,
    name: str,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Train a classifier into the folder `out`, or return the history of the one that is there.

    A run of the same `name` and `out` that was interrupted goes on after its last whole epoch, so `name` must
    stand for everything else that is given here. `cluster` is what may be used; by default all of it.
    Returns {"name", "architecture", "augment", "seed", "workers", "train_images", "val_images", "best_epoch",
    "val_class_balanced_accuracy", "seconds", "images_per_second", "epochs": [{"epoch", "loss", "seconds",
    "images_per_second", "val_accuracy", "val_class_balanced_accuracy"}]}; seconds are those of training alone.
    Raises ConfigError for what cannot be trained or scheduled and StageError when training fails.
    """
    target = RunFolder(out)
    finished = target.read_json(_HISTORY)
    if finished is not None:
        return finished
    cluster = cluster or available("auto")
    check_trainable(train, val, settings, cluster)
    result = _fit(train, val, classes, settings, augment, seed, target, name, cluster)
    epochs = _read_state(result.checkpoint)["history"] if result.checkpoint else []
    if len(epochs) < settings.epochs:
        raise StageError(
            f"train {name}: stopped after {len(epochs)} of {settings.epochs} epochs; run it again to go on"
        )
    best, numbers = max(result.best_checkpoints, key=lambda kept: (kept[1][_score()], kept[1]["epoch"]))
    _save_best(best, out, classes, settings)
    seconds = sum(record["seconds"] for record in epochs)
    images = sum(record["seconds"] * record["images_per_second"] for record in epochs)
    history = {
        "name": name,
        "architecture": settings.architecture,
        "augment": augment,
        "seed": seed,
        "workers": settings.workers,
        "train_images": _count(train),
        "val_images": _count(val),
        "best_epoch": numbers["epoch"],
        _score(): numbers[_score()],
        "seconds": seconds,
        "images_per_second": images / seconds,
        "epochs": epochs,
    }
    target.write_json(history, _HISTORY)
    target.fs.delete_dir(target.file(_CHECKPOINTS))
    return history


def check_trainable(
    train: Sequence[Examples], val: Sequence[Examples], settings: config.Train, cluster: Cluster
) -> None:
    """Raise ConfigError for a training that could never start, instead of waiting for ever.

    Ray Train's controller asks for no CPU of its own (Ray 2.60), so the workers may take all there are.
    """
    workers, cpus = settings.workers, settings.workers * settings.cpus_per_worker
    if cpus > cluster.cpus or (cluster.gpus and workers > cluster.gpus):
        gpus = f" and {workers} GPUs" if cluster.gpus else ""
        raise ConfigError(
            f"train.workers: {workers} workers need {cpus:g} CPUs{gpus}, but the cluster has "
            f"{cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs; lower train.workers or train.cpus_per_worker"
        )
    if settings.batch_size % workers:
        raise ConfigError(
            f"train.batch_size: {settings.batch_size} is over all workers, so it must be a multiple of "
            f"train.workers={workers}"
        )
    if _count(train) < workers:
        raise ConfigError(f"train.workers: {_count(train)} training images for {workers} workers; lower it")
    if not _count(val):
        raise ConfigError("source: there is no validation image to choose an epoch by; set a val_fraction")


def _fit(
    train: Sequence[Examples],
    val: Sequence[Examples],
    classes: Sequence[str],
    settings: config.Train,
    augment: Augment,
    seed: int,
    target: RunFolder,
    name: str,
    cluster: Cluster,
) -> ray.train.Result:
    """Run the workers under Ray Train, with the first weights made here, once for all of them."""
    from ray.train.torch import TorchTrainer  # not above: torch takes seconds to import

    from alia_ray.stages import train_loop

    job = train_loop.Job(
        name=name,
        train=tuple(source.resolved() for source in train),
        val=tuple(source.resolved() for source in val),
        classes=tuple(classes),
        settings=settings,
        augment=augment,
        seed=seed,
        weights=train_loop.first_weights(settings, len(classes), seed),
    )
    trainer = TorchTrainer(
        train_loop.run,
        train_loop_config={"job": ray.put(job)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=bool(cluster.gpus),
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if cluster.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=target.file(_CHECKPOINTS),
            storage_filesystem=target.fs,
            failure_config=ray.train.FailureConfig(
                max_failures=settings.max_failures, controller_failure_limit=_PLACEMENT_MINUTES
            ),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=_score()
            ),  # the last one stays besides
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    say(f"train {name}: {_count(train)} images, {settings.workers} workers, {settings.epochs} epochs")
    try:
        with _own_interrupts():
            return trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise StageError(f"train {name}: {_reason(error)}") from error


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Ray Train takes over Ctrl-C while it runs and does not give it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _reason(error: ray.train.TrainingFailedError) -> str:
    """The first lost worker's own error, or Ray Train's."""
    failures = getattr(error, "worker_failures", {})
    return str(failures[min(failures)] if failures else error)


def _score() -> str:
    return "val_class_balanced_accuracy"


def _read_state(checkpoint: ray.train.Checkpoint) -> dict[str, Any]:
    with checkpoint.as_directory() as folder:
        return json.loads(Path(folder, "state.json").read_text())


def _count(examples: Sequence[Examples]) -> int:
    return sum(len(set(source.ids)) for source in examples)
