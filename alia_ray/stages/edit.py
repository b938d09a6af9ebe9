"""edit: training images × domains -> the edits table, edited and judged in one pass (paper, section 3.2 and 3.3).

A worker holds the editor, CLIP and the base classifier on one device: pixels are judged as a tensor there, and
only an encoded picture and its scores leave it. Every attempt is a row, a failed one too.
"""

import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from alia_ray import config, tables
from alia_ray.cluster import Cluster, place
from alia_ray.config import Config, Edit, Judge
from alia_ray.images import decode_rgb, encode, fit_square, from_array, to_array
from alia_ray.run_folder import RunFolder, Table
from alia_ray.stages.requests import Plan, plan_edits, requests_of
from alia_ray.stages.streaming import Pass, run_pass
from alia_ray.stages.verdicts import judged

FLAT_STD = 0.004  # an edit whose pixel values deviate by less than one step of 255 shows nothing


def edits_table(settings: Config, classifier: str) -> Table:
    """The edits table of a configuration and of the base classifier that `classifier` identifies.

    An edit's id covers how it was made, so the fingerprint covers only how it is scored.
    """
    judge = settings.judge
    fingerprint = config.fingerprint(judge.model, judge.positives, judge.negatives, classifier)
    return RunFolder(settings.run.folder).table("edits", fingerprint)


def wanted_ids(settings: Config, images: Table, domains: pa.Table) -> list[str]:
    """The ids of all edits that a configuration asks for."""
    plan = plan_edits(domains, settings.edit, settings.run.seed)
    return requests_of(images.read(["image_id", "label", "group", "split"]), plan).column("edit_id").to_pylist()


def edit(
    settings: Config,
    images: Table,
    domains: pa.Table,
    target: Table,
    classifier_folder: str,
    thresholds: dict[str, float],
    cluster: Cluster,
) -> None:
    """Edit and judge what the edits table lacks. Raises StageError."""
    done = target.ids()
    if settings.run.retry_errors:
        rows = target.read(["edit_id", "error"])
        done -= set(rows.filter(pc.is_valid(rows.column("error"))).column("edit_id").to_pylist())
    todo = [edit_id for edit_id in wanted_ids(settings, images, domains) if edit_id not in done]
    plan = plan_edits(domains, settings.edit, settings.run.seed)
    run_pass(
        Pass(
            stage="edit",
            source=images.path,
            columns=["image_id", "image", "label", "group", "split"],
            prepare=_missing_requests(plan, ray.put(pa.array(todo, pa.string()))),
            worker=_EditAndJudge,
            worker_args=(settings.edit, settings.judge, classifier_folder, thresholds),
            target=target,
            batch_size=settings.edit.batch_size,
            todo=len(todo),
            run=settings.run,
        ),
        place("edit", settings.edit, cluster),
    )


def _missing_requests(plan: Plan, todo: ray.ObjectRef) -> Callable[[pa.Table], pa.Table]:
    def prepare(images: pa.Table) -> pa.Table:
        requests = requests_of(images, plan)
        return requests.filter(pc.is_in(requests.column("edit_id"), value_set=ray.get(todo)))

    return prepare


class _EditAndJudge:
    def __init__(self, edit: Edit, judge: Judge, classifier_folder: str, thresholds: dict[str, float]) -> None:
        from alia_ray.models.editor import Editor
        from alia_ray.stages.scoring import Scorer

        self.edit, self.judge, self.thresholds = edit, judge, thresholds
        self.editor = Editor(edit)
        self.scorer = Scorer(judge, classifier_folder)
        self.node = socket.gethostname()

    def __call__(self, requests: pa.Table) -> pa.Table:
        import torch

        started = time.perf_counter()
        sources = [fit_square(decode_rgb(image), self.edit.size) for image in requests["source_image"].to_pylist()]
        edited = self.editor.edit(
            torch.from_numpy(np.stack([to_array(source) for source in sources])),
            requests["prompt"].to_pylist(),
            requests["seed"].to_pylist(),
        )
        seconds = (time.perf_counter() - started) / requests.num_rows
        scores = self.scorer.score(edited.nan_to_num(), requests["label"].to_pylist())
        pixels = edited.cpu().numpy()
        rows = [
            {
                **request,
                **score,
                **_outcome(image, self.edit.format),
                "edit_seconds": seconds,
                "node": self.node,
            }
            for request, score, image in zip(
                requests.drop_columns("source_image").to_pylist(), scores, pixels, strict=True
            )
        ]
        return with_verdicts(rows, self.thresholds, self.judge)


def _outcome(pixels: np.ndarray, format: str) -> dict[str, Any]:
    """The encoded image, or why there is none: what fp16 overflow makes is not an edit."""
    if not np.isfinite(pixels).all():
        return {"image": None, "error": "the edit holds NaN or infinite pixels"}
    if pixels.std() < FLAT_STD:
        return {"image": None, "error": "the edit is one flat colour"}
    return {"image": encode(from_array(pixels), format), "error": None}


def with_verdicts(rows: list[dict[str, Any]], thresholds: dict[str, float], judge: Judge) -> pa.Table:
    """Rows of scores and outcomes as a piece of the edits table, with their verdicts.

    A filter that compares edits with each other has no say yet: what a batch holds must not matter.
    """
    table = pa.Table.from_pylist(rows, schema=tables.EDITS)
    if judge.confidence_rule == "within_domain":
        judge = judge.model_copy(update={"filters": [name for name in judge.filters if name != "mislabelled"]})
    verdict = pa.array(judged(table, thresholds, judge), pa.string())
    return table.set_column(table.schema.get_field_index("verdict"), tables.EDITS.field("verdict"), verdict)
