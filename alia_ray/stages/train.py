"""train: examples -> a classifier, data-parallel on Ray Train (paper, section 4).

    OUT/
      model.safetensors, classifier.json   the weights of the best epoch by validation, and what they are
      history.json                         one record per epoch; written last, so it marks a finished training
      checkpoints/                         the best and the last epoch, while training is under way

The test split never comes here: the epoch is chosen by class-balanced accuracy on validation examples.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import ray
import ray.train

from alia_ray.cluster import Cluster, available, check_trainers
from alia_ray.config import ConfigError, Train
from alia_ray.errors import StageError
from alia_ray.progress import say
from alia_ray.run_folder import RunFolder
from alia_ray.stages.examples import Examples, count

if TYPE_CHECKING:
    from alia_ray.stages.train_loop import Job

Augment = Literal["none", "randaugment", "cutmix"]

_HISTORY, _CHECKPOINTS = "history.json", "checkpoints"
_PLACEMENT_MINUTES = 30  # Ray Train waits a minute at a time for other work to free what the workers need


def train_classifier(
    train: Sequence[Examples],
    val: Sequence[Examples],
    classes: Sequence[str],
    config: Train,
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
    check_trainable(train, val, config, cluster)
    from alia_ray.stages import train_loop  # not above: torch takes seconds to import

    job = train_loop.Job(
        name=name,
        train=tuple(source.resolved() for source in train),
        val=tuple(source.resolved() for source in val),
        classes=tuple(classes),
        settings=config,
        augment=augment,
        seed=seed,
        weights=train_loop.first_weights(config, len(classes), seed),
    )
    say(f"train {name}: {count(train)} images, {config.workers} workers, {config.epochs} epochs")
    result = _fit(job, target, cluster)
    epochs = train_loop.read_history(result.checkpoint) if result.checkpoint else []
    if len(epochs) < config.epochs:
        raise StageError(
            f"train {name}: stopped after {len(epochs)} of {config.epochs} epochs; run it again to go on"
        )
    best, numbers = max(result.best_checkpoints, key=lambda kept: (kept[1][train_loop.SCORE], kept[1]["epoch"]))
    train_loop.save_weights(best, job, out)
    history = _summary(job, numbers, epochs)
    target.write_json(history, _HISTORY)
    target.fs.delete_dir(target.file(_CHECKPOINTS))
    return history


def check_trainable(train: Sequence[Examples], val: Sequence[Examples], config: Train, cluster: Cluster) -> None:
    """Raise ConfigError for a training that could never start, instead of waiting for ever."""
    check_trainers(config, cluster)
    if count(train) < config.workers:
        raise ConfigError(f"train.workers: {count(train)} training images for {config.workers} workers; lower it")
    if not count(val):
        raise ConfigError("source: there is no validation image to choose an epoch by; set a val_fraction")


def _summary(job: "Job", best: dict[str, Any], epochs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = sum(record["seconds"] for record in epochs)
    images = sum(record["seconds"] * record["images_per_second"] for record in epochs)
    return {
        "name": job.name,
        "architecture": job.settings.architecture,
        "augment": job.augment,
        "seed": job.seed,
        "workers": job.settings.workers,
        "train_images": count(job.train),
        "val_images": count(job.val),
        "best_epoch": best["epoch"],
        "val_class_balanced_accuracy": best["val_class_balanced_accuracy"],
        "seconds": seconds,
        "images_per_second": images / seconds,
        "epochs": epochs,
    }


def _fit(job: "Job", target: RunFolder, cluster: Cluster) -> ray.train.Result:
    """Run the workers under Ray Train. Raises StageError with the reason of the first worker that failed."""
    from ray.train.torch import TorchTrainer

    from alia_ray.stages import train_loop

    settings = job.settings
    trainer = TorchTrainer(
        train_loop.run,
        train_loop_config={"job": ray.put(job)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=bool(cluster.gpus),
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if cluster.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name=job.name,
            storage_path=target.file(_CHECKPOINTS),
            storage_filesystem=target.fs,
            failure_config=ray.train.FailureConfig(
                max_failures=settings.max_failures, controller_failure_limit=_PLACEMENT_MINUTES
            ),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=train_loop.SCORE
            ),  # the last one stays besides
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        with _own_interrupts():
            return trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise StageError(f"train {job.name}: {_reason(error)}") from error


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
