"""judge: edits that exist under other scores -> the same edits, scored as configured now. Edits nothing."""

import pyarrow as pa
import pyarrow.compute as pc
import ray

from alia_ray.cluster.devices import worker_device
from alia_ray.cluster.memory import judge_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Config, Judge
from alia_ray.images import decode_rgb, to_array
from alia_ray.stages.edit import with_verdicts
from alia_ray.stages.streaming import Pass, keep_ids, run_pass
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import EDITS


def judge(
    settings: Config,
    wanted: list[str],
    target: Table,
    classifier_folder: str,
    thresholds: dict[str, float],
    cluster: Cluster,
) -> None:
    """Score the wanted edits that an older edits table of the run folder has and `target` lacks."""
    missing = set(wanted) - target.ids()
    for older in target.folder.tables("edits"):
        if older == target:
            continue
        rows = older.read(["edit_id", "image_bytes"])
        made = rows.filter(pc.is_valid(rows.column("image_bytes"))).column("edit_id").to_pylist()
        todo = [edit_id for edit_id in made if edit_id in missing]
        missing -= set(todo)
        run_pass(
            Pass(
                stage="judge",
                source=older.path,
                columns=EDITS.names,
                prepare=keep_ids("edit_id", ray.put(pa.array(todo, pa.string()))),
                worker=_Judge,
                worker_args=(settings.judge, classifier_folder, thresholds),
                target=target,
                key="edit_id",
                wanted=wanted,
                batch_size=settings.edit.batch_size,
                todo=len(todo),
                run=settings.run,
            ),
            place("edit", settings.edit, cluster, judge_needs(settings, cluster)),
        )


class _Judge:
    def __init__(self, judge: Judge, classifier_folder: str, thresholds: dict[str, float]) -> None:
        from alia_ray.stages.scoring import Scorer

        self.judge, self.thresholds = judge, thresholds
        self.scorer = Scorer(judge, classifier_folder, worker_device())

    def __call__(self, edits: pa.Table) -> pa.Table:
        import torch

        pixels = [torch.from_numpy(to_array(decode_rgb(image))) for image in edits["image"].to_pylist()]
        scores = self.scorer.score(pixels, edits["label"].to_pylist())
        rows = [{**row, **score} for row, score in zip(edits.to_pylist(), scores, strict=True)]
        return with_verdicts(rows, self.thresholds, self.judge)
