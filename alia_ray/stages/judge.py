"""judge: edits that exist under other scores -> the same edits, scored as configured now. Edits nothing.

An edit has the label and the group that its image has now: where the source corrected them and the prompt stayed
the same ("red_bird", "red bird"), so did the edit's id.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from alia_ray.cluster.memory import judge_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Config, Judge
from alia_ray.images import decode_rgb, to_array
from alia_ray.stages import made_with
from alia_ray.stages.loading import scorer_of
from alia_ray.stages.streaming import Pass, keep_ids, run_pass
from alia_ray.stages.trying import with_verdicts
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import EDITS

_OF_IMAGE = ["label", "group"]


def judge(
    settings: Config,
    images: Table,
    todo: Mapping[Table, list[str]],
    wanted: Collection[str],
    target: Table,
    classifier_folder: str,
    thresholds: dict[str, float],
    cluster: Cluster,
) -> None:
    """Score edits of older edits tables into `target`.

    todo: of `left_to_judge`; wanted: the ids of all edits that are needed of the run.
    """
    described = images.read(["image_id", *_OF_IMAGE])
    for older, ids in todo.items():
        made_with.take_over(target, older)
        run_pass(
            Pass(
                stage="judge",
                source=older.parts(),
                columns=EDITS.names,
                prepare=_prepare(ray.put(pa.array(ids, pa.string())), ray.put(described)),
                worker=_Judge,
                worker_args=(settings.judge, classifier_folder, thresholds),
                target=target,
                key="edit_id",
                wanted=wanted,
                batch_size=settings.edit.batch_size,
                todo=len(ids),
                run=settings.run,
            ),
            place("edit", settings.edit, cluster, judge_needs(settings, cluster)),
        )


def describe_anew(target: Table, images: Table) -> None:
    """Give edits the labels and groups that their images have now."""
    target.correct(_corrections(target, images.read(["image_id", *_OF_IMAGE])))


def left_to_judge(target: Table, wanted: Iterable[str]) -> dict[Table, list[str]]:
    """Which of some edits each older edits table holds pictures of that `target` has no row of."""
    found, missing = {}, set(wanted) - target.ids()
    for older in target.folder.tables("edits"):
        if older == target or not missing:
            continue
        rows = older.read(["edit_id", "image_bytes"])
        made = rows.filter(pc.is_valid(rows.column("image_bytes"))).column("edit_id").to_pylist()
        if todo := [edit_id for edit_id in made if edit_id in missing]:
            found[older] = todo
            missing -= set(todo)
    return found


def _prepare(todo: ray.ObjectRef, described: ray.ObjectRef) -> Callable[[pa.Table], pa.Table]:
    """Lets through what is to be judged, described as its images are now."""
    keep = keep_ids("edit_id", todo)
    return lambda edits: _as_described(keep(edits), ray.get(described))


def _as_described(edits: pa.Table, described: pa.Table) -> pa.Table:
    place = pc.index_in(edits.column("image_id"), value_set=described.column("image_id"))
    for name in _OF_IMAGE:
        now = described.column(name).take(place)
        edits = edits.set_column(edits.schema.get_field_index(name), EDITS.field(name), now)
    return edits


def _corrections(target: Table, described: pa.Table) -> dict[str, dict[str, Any]]:
    """edit_id -> what its image's label and group are now, of the edits that say otherwise."""
    edits = target.read(["edit_id", "image_id", *_OF_IMAGE])
    edits = edits.filter(pc.is_in(edits.column("image_id"), value_set=described.column("image_id")))
    now = _as_described(edits, described)
    differs = [pc.not_equal(*(pc.fill_null(rows.column(name), "") for rows in (edits, now))) for name in _OF_IMAGE]
    rows = now.filter(pc.or_(*differs)).to_pylist()
    return {row["edit_id"]: {name: row[name] for name in _OF_IMAGE} for row in rows}


class _Judge:
    def __init__(self, judge: Judge, classifier_folder: str, thresholds: dict[str, float]) -> None:
        self.judge, self.thresholds = judge, thresholds
        self.scorer = scorer_of(judge, classifier_folder)

    def __call__(self, edits: pa.Table) -> pa.Table:
        import torch

        pixels = [torch.from_numpy(to_array(decode_rgb(image))) for image in edits["image"].to_pylist()]
        scores = self.scorer.score(pixels, edits["label"].to_pylist())
        rows = [{**row, **score} for row, score in zip(edits.to_pylist(), scores, strict=True)]
        return with_verdicts(rows, self.thresholds, self.judge)
