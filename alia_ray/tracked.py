"""What trackers are told at the end of a run: how the arms came out, and a grid of edits.

    RUN/results/NAME/tensorboard/alia-seed-0/   an arm's curves, its settings, and what it gave on test images

Curves of trainings under way are `training/trackers.py`'s. Here those are added that were trained for another
configuration, so that the folder is whole. W&B and MLflow get a run of their own for the configuration.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.fs as pafs
from PIL import Image

from alia_ray.config.arms import Arm
from alia_ray.images import DecodeError, decode_rgb
from alia_ray.progress import say
from alia_ray.report.pictures import picture_grid, read_images
from alia_ray.results import leaves
from alia_ray.state import State, so_far
from alia_ray.statistics.comparing import METRICS
from alia_ray.store.ledger import content_id_of
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import content_id
from alia_ray.training.trackers import (
    Teller,
    mlflow_run,
    tensorboard_file,
    training_name,
    wandb_run,
    write_tensorboard,
    writing_tensorboard,
)

_SOURCES = 6  # images of the grid, a row each
_EDITS = 6  # of each
_AT_THE_END = 0  # the place of what is known then, before the first epoch's


def tell_trackers(state: State, metrics: dict[str, Any], comparison: dict[str, Any] | None) -> None:
    """Complete TensorBoard's files, and give `train.trackers` the table of arms and a grid of edits.

    metrics: what metrics.json holds; comparison: what experiment.json holds. A tracker that fails is said.
    """
    complete_tensorboard(state, state.arms)
    trackers = state.settings.train.trackers
    if not trackers:
        return
    table, grid = _table(metrics, comparison), _grid(state)
    for tracker in trackers:
        opened = {"wandb": _wandb_results, "mlflow": _mlflow_results}[tracker](state)
        teller = Teller(tracker, opened)
        teller.told.put((table, grid))
        if why := teller.end():
            say(f"report: {tracker} has not got the table of arms ({why}); `alia-ray report` tells it again")


def complete_tensorboard(state: State, arms: Iterable[Arm]) -> None:
    """Write, of the arms that are trained, what TensorBoard's files lack: epochs, settings, test metrics."""
    for arm in arms:
        history = so_far(lambda arm=arm: state.history(arm))
        if history is None:
            continue
        name = training_name(arm.name, state.settings.seed)
        folder = RunFolder(state.results.uri(*tensorboard_file(name, 1)[:-1]))
        listed = folder.fs.get_file_info(pafs.FileSelector(folder.file(), allow_not_found=True))
        there = {info.base_name for info in listed}
        for record in history["epochs"]:
            if tensorboard_file(name, record["epoch"])[-1] not in there:
                write_tensorboard(state.results, name, record)
        _write_settings(state, arm, name, history, so_far(lambda arm=arm: state.measured(arm)) or {})


def _write_settings(state: State, arm: Arm, name: str, history: dict[str, Any], measured: dict[str, Any]) -> None:
    """TensorBoard's "hparams" of an arm: the configuration, beside its test metrics."""
    from tensorboardX.summary import hparams

    settings = {"arm": arm.name, "train_images": history["train_images"], **_settings(state)}
    found = {f"test/{key}": measured[key] for key in METRICS if measured.get(key) is not None}
    with writing_tensorboard(state.results, name, _AT_THE_END) as writer:
        for summary in hparams(settings, found):
            writer.file_writer.add_summary(summary)
        for key, value in found.items():
            writer.add_scalar(key, value, history["best_epoch"])


def _settings(state: State) -> dict[str, str | float | bool]:
    """The configuration as flat keys; what no tracker takes as a text."""
    found = leaves(state.settings.model_dump(mode="json"))
    return {key: value if isinstance(value, str | int | float) else str(value) for key, value in found}


# -------------------------------------------------------------------- the table and the grid

Table = list[dict[str, Any]]
Told = tuple[Table, Image.Image | None]


def _table(metrics: dict[str, Any], comparison: dict[str, Any] | None) -> Table:
    """A row for each arm: its test metrics, of an experiment the means over the seeds, with their intervals."""
    rows = []
    for arm, found in (comparison or metrics)["arms"].items():
        values, intervals = found.get("mean", found), found.get("interval") or {}
        row = {"arm": arm, **{key: values.get(key) for key in METRICS}}
        for key in METRICS:
            row[f"{key}_low"], row[f"{key}_high"] = intervals.get(key) or (None, None)
        rows.append(row)
    return rows


def _grid(state: State) -> Image.Image | None:
    """Some images, a row each, beside their edits with the verdicts; None where there is no picture to show."""
    judged = so_far(lambda: state.judged_edits("prompt", "image_bytes"))
    if judged is None:
        return None
    judged = f"SELECT * FROM ({judged}) WHERE image_bytes IS NOT NULL"
    if not state.edit_settings("discovered").edit.keep_rejected:
        judged += " AND verdict = 'kept'"  # others may have kept more
    order = content_id_of("image_id", "report", "trackers", str(state.settings.run.seed))
    edits = state.ledger.ask(
        f"SELECT edit_id, image_id, label, prompt, verdict FROM ({judged}) "
        f"QUALIFY dense_rank() OVER (ORDER BY {order}) <= {_SOURCES} "
        f"AND row_number() OVER (PARTITION BY image_id ORDER BY edit_id) <= {_EDITS} ORDER BY {order}, edit_id"
    )
    rows: dict[str, list[dict[str, Any]]] = {}
    for edit in edits.to_pylist():
        rows.setdefault(edit["image_id"], []).append(edit)
    shown = [edit["edit_id"] for row in rows.values() for edit in row]
    pictures = read_images(state.images, rows) | read_images(state.edits, shown)
    cells = [
        [(source, row[0]["label"]), *((edit["edit_id"], f"{edit['verdict']}: {edit['prompt']}") for edit in row)]
        for source, row in rows.items()
    ]
    there = [[(picture, text) for key, text in row if (picture := _decoded(pictures.get(key)))] for row in cells]
    return picture_grid(there) if any(there) else None


def _decoded(encoded: bytes | None) -> Image.Image | None:
    """A picture, unless it is missing or its storage has damaged it."""
    try:
        return None if encoded is None else decode_rgb(encoded)
    except DecodeError:
        return None


# -------------------------------------------------------------------- W&B and MLflow


def _run_of(state: State) -> tuple[RunFolder, str, str, dict[str, Any]]:
    """Where a run of a tracker is kept, its id, its name and its settings."""
    name = state.folder.name
    return (
        state.results,
        content_id(state.folder.uri(), state.results.name)[:12],
        f"{name}, results",
        _settings(state),
    )


@contextmanager
def _wandb_results(state: State) -> Iterator[Any]:
    import wandb

    with wandb_run(*_run_of(state)) as run:

        def log(told: Told) -> None:
            table, grid = told
            columns = list(table[0]) if table else ["arm"]
            values: dict[str, Any] = {
                "arms": wandb.Table(columns=columns, data=[list(row.values()) for row in table])
            }
            if grid is not None:
                values["edits"] = wandb.Image(grid)
            run.log(values)
            run.summary.update(dict(_named_metrics(table)))

        yield log


@contextmanager
def _mlflow_results(state: State) -> Iterator[Any]:
    with mlflow_run(*_run_of(state)) as (client, run):

        def log(told: Told) -> None:
            table, grid = told
            client.log_text(run, _as_csv(table), "arms.csv")
            if grid is not None:
                client.log_image(run, grid, artifact_file="edits.png")
            known = client.get_run(run).data.metrics
            for key, value in _named_metrics(table):
                key = key.replace("@", " at ")  # of which MLflow's names have none
                if known.get(key) != value:
                    client.log_metric(run, key, value)

        yield log


def _named_metrics(table: Table) -> Iterator[tuple[str, float]]:
    """ "alia/accuracy" and the like, of what is known."""
    for row in table:
        for key in METRICS:
            if row[key] is not None:
                yield f"{row['arm']}/{key}", row[key]


def _as_csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(table[0]) if table else ["arm"])
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()
