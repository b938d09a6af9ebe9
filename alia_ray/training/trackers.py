"""Where the curves of a training go: TensorBoard's files always, W&B and MLflow where they are asked for."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from alia_ray.store.run_folder import RunFolder

Record = Mapping[str, Any]  # of an epoch, with its number as "epoch"
Log = Callable[[Record], None]

PROJECT = "alia_ray"


@contextmanager
def tracking(out: str, name: str, settings: dict[str, Any], trackers: list[str]) -> Iterator[Log]:
    """A function that logs the record of an epoch everywhere. `out` is the training's folder, which names it.

    W&B and MLflow find their server and project as they always do, by their environment variables.
    """
    folder = RunFolder(out)
    with ExitStack() as stack:
        logs = [stack.enter_context(_TRACKERS[each](folder, name, settings)) for each in trackers]

        def log(record: Record) -> None:
            write_tensorboard(folder, record)
            for each in logs:
                each(record)

        yield log


def write_tensorboard(folder: RunFolder, record: Record) -> None:
    """One file for each epoch, so that an epoch trained twice is there once, on any filesystem."""
    from tensorboardX import SummaryWriter

    with tempfile.TemporaryDirectory() as local:
        with SummaryWriter(local) as writer:
            for key, value in _numbers(record).items():
                writer.add_scalar(key, value, record["epoch"])
        (file,) = Path(local).iterdir()
        folder.write_bytes(file.read_bytes(), "tensorboard", f"events.out.tfevents.{record['epoch']:06d}.alia_ray")


@contextmanager
def _wandb(folder: RunFolder, name: str, settings: dict[str, Any]) -> Iterator[Log]:
    import wandb

    run = wandb.init(project=PROJECT, id=_id(folder), name=name, config=settings, resume="allow")
    try:
        yield lambda record: run.log(_numbers(record), step=record["epoch"])
    finally:
        run.finish()


@contextmanager
def _mlflow(folder: RunFolder, name: str, settings: dict[str, Any]) -> Iterator[Log]:
    import mlflow

    mlflow.set_experiment(PROJECT)
    earlier = mlflow.search_runs(filter_string=f"tags.training = '{_id(folder)}'", output_format="list")
    with mlflow.start_run(run_id=earlier[0].info.run_id if earlier else None, run_name=name):
        if not earlier:
            mlflow.set_tag("training", _id(folder))
            mlflow.log_params(settings)
        yield lambda record: mlflow.log_metrics(_numbers(record), step=record["epoch"])


_TRACKERS = {"wandb": _wandb, "mlflow": _mlflow}


def _id(folder: RunFolder) -> str:
    """The training's fingerprint, so that one which goes on after a crash goes on in its tracker too."""
    return Path(folder.file()).name


def _numbers(record: Record) -> dict[str, float]:
    return {key: value for key, value in record.items() if key != "epoch"}
