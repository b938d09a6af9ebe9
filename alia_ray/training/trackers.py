"""Where the curves of a training go: TensorBoard's files always, W&B and MLflow where they are asked for.

    LOGS/
      tensorboard/NAME/events.out.tfevents.*   an epoch each
      wandb/                                   what W&B keeps on this machine: all, where it is offline
      mlflow/                                  a store of MLflow, where no server is named

W&B and MLflow find server and project by their own environment variables. No training waits for them or ends with
them: each is told in a thread of its own. One that fails is asked no more by this process.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from alia_ray.errors import one_line
from alia_ray.plain_text import plain_line
from alia_ray.store.run_folder import RunFolder

if TYPE_CHECKING:
    import mlflow
    import wandb

Record = Mapping[str, Any]  # of an epoch, with its number as "epoch"
Log = Callable[[Record], None]

PROJECT = "alia_ray"
PATIENCE_S = 60.0  # for what a tracker has still to take when the training has ended
_ANSWER_S = 30  # which W&B and MLflow have to answer at first
_LONGEST_REASON = 300  # characters; MLflow's hold SQL
_OFFLINE = ("offline", "dryrun", "disabled")  # what WANDB_MODE says then: there is nothing to go on with
_MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_ANSWER_S),
    "MLFLOW_DISABLE_TELEMETRY": "true",  # else it tells its makers of each use
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # else it writes between the lines of the progress
}
_LONGEST_KEY = 250  # characters, of MLflow's

_failed: dict[str, str] = {}  # tracker -> why this process asks it no more


class Tracking:
    """What a training tells its trackers. `failed`: tracker -> why it did not take everything, at the end."""

    def __init__(self, logs: RunFolder, name: str, tellers: Mapping[str, "Teller"]) -> None:
        self.logs, self.name, self.tellers = logs, name, tellers
        self.failed: dict[str, str] = {}

    def log(self, record: Record) -> None:
        """Log the record of an epoch everywhere."""
        write_tensorboard(self.logs, self.name, record)
        for teller in self.tellers.values():
            teller.told.put(record)


@contextmanager
def tracking(
    out: str,
    logs: str,
    name: str,
    settings: dict[str, Any],
    trackers: Sequence[str],
    history: Sequence[Record] = (),
) -> Iterator[Tracking]:
    """Track a training, which its folder `out` names, and what it has done before, of which nothing is doubled.

    logs: the folder that what is kept on this machine lies in; an empty text: `out` itself.
    """
    folder, training_id = RunFolder(logs or out), RunFolder(out).name
    opened = {"wandb": _wandb_curves, "mlflow": _mlflow_curves}
    tellers = {
        each: Teller(each, opened[each](folder, training_id, name, settings))
        for each in trackers
        if each not in _failed
    }
    tracked = Tracking(folder, name, tellers)
    for record in history:
        for teller in tellers.values():
            teller.told.put(record)
    try:
        yield tracked
    finally:
        for each, teller in tellers.items():
            if why := teller.end():
                _failed[each] = why
        tracked.failed = {each: _failed[each] for each in trackers if each in _failed}


def prepare(logs: RunFolder, trackers: Sequence[str]) -> None:
    """Make MLflow's store among the logs, if it is to be there: trainings would do so at once, and fail.

    Where that fails, each of them will say so.
    """
    if "mlflow" in trackers and not os.environ.get("MLFLOW_TRACKING_URI"):
        Teller("mlflow", _mlflow_made(logs)).end()


class Teller(Thread):
    """Tells one tracker what is put into `told`, in its order, by what `opened` gives."""

    def __init__(self, tracker: str, opened: AbstractContextManager[Callable[[Any], None]]) -> None:
        super().__init__(name=tracker, daemon=True)
        self.opened, self.told, self.why = opened, SimpleQueue[Any](), ""
        self.start()

    def run(self) -> None:
        try:
            with self.opened as log:
                while (thing := self.told.get()) is not None:
                    log(thing)
        except (Exception, SystemExit) as error:  # whatever a client raises is no reason to end a training
            self.why = plain_line(one_line(error), _LONGEST_REASON) or type(error).__name__

    def end(self) -> str:
        """Wait until everything is told, for a while. Returns what went wrong, if anything."""
        self.told.put(None)
        self.join(PATIENCE_S)
        return f"it has not answered for {PATIENCE_S:g} s" if self.is_alive() else self.why


def training_name(arm: str, seed: int) -> str:
    """What a training is called."""
    return f"{arm}, seed {seed}"


# -------------------------------------------------------------------- TensorBoard


def tensorboard_file(name: str, epoch: int) -> tuple[str, ...]:
    """Where in a folder of logs the record of an epoch lies; epoch 0 is what is known at the end."""
    return "tensorboard", _folder_name(name), f"events.out.tfevents.{epoch:06d}.alia_ray"


def write_tensorboard(logs: RunFolder, name: str, record: Record) -> None:
    """One file for each epoch, so that an epoch trained twice is there once, on any filesystem."""
    with writing_tensorboard(logs, name, record["epoch"]) as writer:
        for key, value in _numbers(record).items():
            writer.add_scalar(key, value, record["epoch"])


@contextmanager
def writing_tensorboard(logs: RunFolder, name: str, epoch: int) -> Iterator[Any]:
    """A writer of tensorboardX whose one file replaces that of an epoch."""
    from tensorboardX import SummaryWriter

    with tempfile.TemporaryDirectory() as local:
        with SummaryWriter(local) as writer:
            yield writer
        (file,) = Path(local).iterdir()
        logs.write_bytes(file.read_bytes(), *tensorboard_file(name, epoch))


def _folder_name(name: str) -> str:
    """ "alia, seed 0" as a folder that no shell stumbles over: "alia-seed-0"."""
    return re.sub(r"[^\w@.]+", "-", name).strip("-.")


# -------------------------------------------------------------------- W&B


@contextmanager
def wandb_run(logs: RunFolder, id: str, name: str, config: dict[str, Any]) -> Iterator["wandb.Run"]:
    """A run of W&B, which goes on where one of this id is there. Its process leaves the terminal alone."""
    import wandb

    how = wandb.Settings(console="off", silent=True, init_timeout=_ANSWER_S, disable_git=True)
    with _on_this_machine(logs) as folder:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=id,
            name=name,
            config=config,
            resume=None if os.environ.get("WANDB_MODE") in _OFFLINE else "allow",
            reinit="create_new",
            dir=os.environ.get("WANDB_DIR", folder),
            settings=how,
        )
        try:
            yield run
        finally:
            run.finish()


@contextmanager
def _wandb_curves(folder: RunFolder, id: str, name: str, settings: dict[str, Any]) -> Iterator[Log]:
    """An epoch that the server has it passes over; offline, a later run of one id holds all of the earlier."""
    with wandb_run(folder, id, name, settings) as run:
        yield lambda record: run.log(_numbers(record), step=record["epoch"])


@contextmanager
def _on_this_machine(logs: RunFolder) -> Iterator[str]:
    """A folder for what a client writes; of an object store one that is copied there in the end."""
    if isinstance(logs.fs, pafs.LocalFileSystem):
        Path(logs.file()).mkdir(parents=True, exist_ok=True)
        yield logs.file()
        return
    with tempfile.TemporaryDirectory() as local:
        yield local
        for path in Path(local).rglob("*"):
            if path.is_file() and not path.is_symlink():
                logs.write_bytes(path.read_bytes(), *path.relative_to(local).parts)


# -------------------------------------------------------------------- MLflow


@contextmanager
def mlflow_run(
    logs: RunFolder, id: str, name: str, config: dict[str, Any]
) -> Iterator[tuple["mlflow.MlflowClient", str]]:
    """A client of MLflow and the id of its run, which goes on where one is tagged with this id."""
    client, experiment = _client(logs)
    earlier = client.search_runs([experiment], filter_string=f"tags.training = '{id}'", max_results=1)
    if earlier:
        run = earlier[0].info.run_id
        client.update_run(run, status="RUNNING")
    else:
        run = client.create_run(experiment, run_name=name, tags={"training": id}).info.run_id
        client.log_batch(run, params=_params(config))
    status = "FAILED"
    try:
        yield client, run
        status = "FINISHED"
    finally:
        client.set_terminated(run, status)


@contextmanager
def _mlflow_curves(folder: RunFolder, id: str, name: str, settings: dict[str, Any]) -> Iterator[Log]:
    """MLflow would keep an epoch twice that it is told twice."""
    with mlflow_run(folder, id, name, settings) as (client, run):
        of_mlflow = _mlflow().entities.Metric
        known = {metric.step for metric in client.get_metric_history(run, "loss")}

        def log(record: Record) -> None:
            if record["epoch"] in known:
                return
            now = int(time.time() * 1000)
            metrics = [of_mlflow(key, value, now, record["epoch"]) for key, value in _numbers(record).items()]
            client.log_batch(run, metrics=metrics)

        yield log


@contextmanager
def _mlflow_made(logs: RunFolder) -> Iterator[Callable[[Any], None]]:
    _client(logs)
    yield lambda thing: None


def _client(logs: RunFolder) -> tuple["mlflow.MlflowClient", str]:
    """A client, and the id of its experiment."""
    client = _mlflow().MlflowClient(tracking_uri=_store(logs))
    return client, _experiment(client, logs)


def _mlflow() -> ModuleType:
    """MLflow, which reads as it is imported whether it may tell its makers. What the person has set stays."""
    for variable, value in _MLFLOW_DEFAULTS.items():
        os.environ.setdefault(variable, value)
    import mlflow

    return mlflow


def _params(config: Mapping[str, Any]) -> list["mlflow.entities.Param"]:
    """The settings as MLflow takes them: its keys have letters, digits, and few other characters."""
    found = {re.sub(r"[^\w\-.: ]", "_", key)[:_LONGEST_KEY]: str(value) for key, value in config.items()}
    return [_mlflow().entities.Param(key, value) for key, value in found.items()]


def _store(logs: RunFolder) -> str:
    """Where MLflow writes: the server that the person names, else a database among the logs."""
    if server := os.environ.get("MLFLOW_TRACKING_URI"):
        return server
    if not isinstance(logs.fs, pafs.LocalFileSystem):
        raise ValueError("it has no server to write to; set MLFLOW_TRACKING_URI")
    Path(logs.file("mlflow")).mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{logs.file('mlflow', 'mlflow.db')}"


def _experiment(client: "mlflow.MlflowClient", logs: RunFolder) -> str:
    """The id of the experiment, which is made where it is missing."""
    if chosen := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return chosen
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    is_ours = not os.environ.get("MLFLOW_TRACKING_URI")
    for _ in range(2):
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        try:
            return client.create_experiment(name, logs.file("mlflow", "artifacts") if is_ours else None)
        except _mlflow().MlflowException:  # another training has made it at this moment, most likely
            continue
    raise ValueError(f"its experiment {name} can neither be found nor made")


def _numbers(record: Record) -> dict[str, float]:
    return {key: value for key, value in record.items() if key != "epoch"}
