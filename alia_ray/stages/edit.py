"""edit: training images × domains -> the edits table, edited and judged in one pass (paper, section 3.2 and 3.3).

A worker holds the editor, CLIP and the base classifier on one device: pixels are judged as a tensor there, and
only an encoded picture and its scores leave it. So it knows at once whether an image needs another attempt
(`attempts.py`), and fills its batches with those that do. Every attempt is a row, a failed one too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pyarrow as pa

from alia_ray import config
from alia_ray.cluster.memory import edit_needs, judge_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Config
from alia_ray.edits.drawing import Asked, gone_through, left_to_try
from alia_ray.edits.requests import OF_IMAGES, plan_edits
from alia_ray.edits.verdicts import Limit
from alia_ray.stages.answered import made
from alia_ray.stages.stored import take_over_records
from alia_ray.stages.streaming import Pass, check_error_rate, progress_of, stream, tell_errors
from alia_ray.stages.trying import EditAndJudge, JudgeStored, by_bucket, rules_of
from alia_ray.store.ledger import Ledger, ledger_of, quoted
from alia_ray.store.run_folder import RunFolder, Table

IMAGES_PER_PLACE = 4  # images in a worker's hands for each place of a batch: enough that rejected ones refill it
ATTEMPTS_AT_ONCE = 500_000  # whose lists are built at a time, some 100 MB

Stage = Literal["judge", "edit"]


def edits_table(settings: Config, classifier: str) -> Table:
    """The edits table of a configuration and of the base classifier that `classifier` identifies.

    An edit's id covers how it was made, so the fingerprint covers only how it is scored.
    """
    judge = settings.judge
    fingerprint = config.fingerprint(
        judge.model, judge.positives, judge.negatives, judge.safety_checker, classifier
    )
    return RunFolder(settings.run.folder).table("edits", fingerprint)


def asked_of(
    name: str,
    settings: Config,
    images: Table,
    domains: pa.Table,
    target: Table,
    thresholds: dict[str, float],
    limit: Limit = None,
) -> Asked:
    """A set of edits as a configuration asks for it, whose edit.edits_per_image is not None."""
    chosen = settings.edit
    return Asked(
        name=name,
        images=images,
        plan=plan_edits(domains, chosen, settings.run.seed, settings.source.class_names),
        target=target,
        seed=settings.seed,
        judge=settings.judge,
        thresholds=thresholds,
        per_image=None if chosen.edits_per_image == "all" else chosen.edits_per_image,
        limit=limit,
        drop_below=chosen.drop_prompt_below,
        keeps_rejected=chosen.keep_rejected,
    )


def edit(
    settings: Config, asked: Asked, classifier_folder: str, cluster: Cluster, stored: str, stage: Stage = "edit"
) -> None:
    """Edit and judge what the edits table lacks: every attempt, or as many as bring each image its survivors.

    asked: of `asked_of`, from the same settings. stored: of `stored_edits`; those are judged as they are. stage:
    `judge` makes none, so of each image it comes as far as they are stored. Raises StageError.
    """
    ledger, target = ledger_of(asked.target.folder), asked.target
    there = ledger.keep(f"{stage}, there", made(target, "edit_id"))
    if settings.run.retry_errors:
        failed = f"SELECT edit_id FROM {ledger.rows(target, [])} WHERE error IS NOT NULL"
        asked = replace(asked, again=ledger.keep("again", failed))
    needs = edit_needs if stage == "edit" else judge_needs
    placement = place("edit", settings.edit, cluster, needs(settings, cluster))
    wave = _wave(stage, settings, asked, classifier_folder, ledger, stored)
    with progress_of(wave, placement) as progress:
        while True:
            stream(wave, placement, progress)
            check_error_rate(wave)
            if not wave.todo:
                break
            wave = _wave(stage, settings, asked, classifier_folder, ledger, stored)
        needed = f"SELECT count(*) FROM ({wave.wanted}) SEMI JOIN {there} USING (key)"
        progress.before = (ledger.number(needed), None)
    tell_errors(wave)


def left_of(ledger: Ledger, asked: Asked, stored: str, stage: Stage) -> str:
    """What a wave tries, as a relation: image_id, edit_id, draw, survived, and `path` of those that are stored."""
    left = f"SELECT * FROM ({left_to_try(gone_through(ledger, asked))}) LEFT JOIN {stored} USING (edit_id)"
    if stage == "judge":
        left = _as_far_as_stored(left, asked.per_image)
    return ledger.keep(f"{stage}, left", left)


def _as_far_as_stored(left: str, per_image: int | None) -> str:
    """SQL of what of `left` can be tried without making an edit: of each image what lies before the first to make.

    per_image None: every attempt is needed, so none is waited for.
    """
    is_to_make = "(survived IS NULL AND path IS NULL)"
    if per_image is None:
        reached = f"SELECT * FROM ({left}) WHERE NOT {is_to_make}"
    else:
        before = f"bool_or({is_to_make}) OVER (PARTITION BY image_id ORDER BY draw)"
        reached = f"SELECT * FROM ({left}) QUALIFY NOT {before}"
    return f"SELECT * FROM ({reached}) QUALIFY bool_or(survived IS NULL) OVER (PARTITION BY image_id)"


def _wave(
    stage: Stage, settings: Config, asked: Asked, classifier_folder: str, ledger: Ledger, stored: str
) -> Pass:
    """One pass over the images that have something to try; `judge` reads no picture of theirs."""
    left, target, makes_all = left_of(ledger, asked, stored, stage), asked.target, asked.per_image is None
    if asked.again is not None:
        tried = f"SELECT edit_id FROM {asked.again} ANTI JOIN {left} USING (edit_id)"
        ledger.keep("again", tried)
    take_over_records(target, ledger.column(f"SELECT DISTINCT path FROM {left} WHERE path IS NOT NULL"))
    todo = _by_image(ledger, f"{stage}, to do", left)
    images, of_images = ledger.rows(asked.images, OF_IMAGES), ", ".join(map(quoted, OF_IMAGES))
    rules = rules_of(settings.edit, asked.plan, classifier_folder, asked.thresholds, target.uri)
    if stage == "edit":
        worker, columns, args = EditAndJudge, ["image"], (settings.edit, settings.judge, rules)
    else:
        worker, columns, args = JudgeStored, [], (settings.judge, rules)
    missing = ledger.number(f"SELECT count(*) FROM {left} WHERE survived IS NULL")
    images_left = ledger.number(f"SELECT count(*) FROM {todo}")
    return Pass(
        stage=stage,
        rows=f"SELECT {of_images}, file, attempts, survived, stored FROM {images} JOIN {todo} USING (image_id)",
        todo=images_left,
        source=(asked.images, columns),
        prepare=_by_bucket(settings.edit.size),
        worker=worker,
        worker_args=args,
        target=target,
        key="edit_id",
        wanted=f"SELECT edit_id AS key FROM {gone_through(ledger, asked)} WHERE is_needed",
        batch_size=(1 if makes_all else IMAGES_PER_PLACE) * settings.edit.batch_size,
        run=settings.run,
        unit="edits",
        makes_one_each=False,
        makes=missing if makes_all or not images_left else None,
    )


def _by_image(ledger: Ledger, name: str, left: str) -> str:
    """What is tried of each image as a relation: image_id, attempts, survived and stored, lists in their order.

    DuckDB builds lists in memory alone, so those of some images at a time.
    """
    parts = ledger.number(f"SELECT count(*) FROM {left}") // ATTEMPTS_AT_ONCE + 1
    lists = ", ".join(
        f"list({column} ORDER BY draw) AS {listed}"
        for column, listed in (("edit_id", "attempts"), ("survived", "survived"), ("path", "stored"))
    )
    return ledger.keep_in_parts(
        name,
        [
            f"SELECT image_id, {lists} FROM {left} WHERE hash(image_id) % {parts} = {part} GROUP BY image_id"
            for part in range(parts)
        ],
    )


def _by_bucket(size: int) -> Callable[[pa.Table], pa.Table]:
    """Puts pictures of one bucket side by side: a worker's batches are full."""
    return lambda images: pa.concat_tables(by_bucket(images, size).values())
