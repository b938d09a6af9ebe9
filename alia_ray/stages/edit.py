"""edit: training images × domains -> the edits table, edited and judged in one pass (paper, section 3.2 and 3.3).

A worker holds the editor, CLIP and the base classifier on one device: pixels are judged as a tensor there, and
only an encoded picture and its scores leave it. So it knows at once whether an image needs another attempt
(`attempts.py`), and fills its batches with those that do. Every attempt is a row, a failed one too.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray import config
from alia_ray.cluster.memory import edit_needs, judge_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Config
from alia_ray.edits.attempts import (
    Attempt,
    Request,
    as_far_as_stored,
    as_table,
    in_order,
    needed,
    pilot,
    still_to_try,
)
from alia_ray.edits.requests import OF_IMAGES, Plan, plan_edits, requests_of
from alia_ray.edits.verdicts import Limit, judged
from alia_ray.stages.stored import take_over_records
from alia_ray.stages.streaming import (
    Pass,
    check_error_rate,
    made,
    progress_of,
    stream,
    tell_errors,
)
from alia_ray.stages.trying import EditAndJudge, JudgeStored, by_bucket, has_picture, rules_of
from alia_ray.store.ledger import ledger_of, quoted
from alia_ray.store.run_folder import RunFolder, Table

IMAGES_PER_PLACE = 4  # images in a worker's hands for each place of a batch: enough that rejected ones refill it


def edits_table(settings: Config, classifier: str) -> Table:
    """The edits table of a configuration and of the base classifier that `classifier` identifies.

    An edit's id covers how it was made, so the fingerprint covers only how it is scored.
    """
    judge = settings.judge
    fingerprint = config.fingerprint(
        judge.model, judge.positives, judge.negatives, judge.safety_checker, classifier
    )
    return RunFolder(settings.run.folder).table("edits", fingerprint)


def wanted_requests(settings: Config, images: Table, domains: pa.Table) -> list[Request]:
    """Every edit that a configuration asks for, in the order in which edits are tried and drawn."""
    plan = _plan(settings, domains)
    requests = requests_of(images.read(list(OF_IMAGES)), plan)
    return in_order(requests, settings.seed)


def _plan(settings: Config, domains: pa.Table) -> Plan:
    return plan_edits(domains, settings.edit, settings.run.seed, settings.source.class_names)


def edit(
    settings: Config,
    images: Table,
    domains: pa.Table,
    target: Table,
    classifier_folder: str,
    thresholds: dict[str, float],
    limit: Limit,
    cluster: Cluster,
    stored: Mapping[str, str] | None = None,
    stage: Literal["judge", "edit"] = "edit",
) -> None:
    """Edit and judge what the edits table lacks: every attempt, or as many as bring each image its survivors.

    settings.edit.edits_per_image says how many those are, and is not None. limit: how many edits are added to
    training, beyond which none is looked for. stored: edit_id -> file, of pictures that other edits tables hold
    (`stored.stored_edits`), which are judged as they are. stage: `judge` makes none, so of each image it comes as
    far as they are stored. Raises StageError.
    """
    plan, requests, stored = _plan(settings, domains), wanted_requests(settings, images, domains), stored or {}
    ledger = ledger_of(target.folder)
    there = set(ledger.column(made(target, "edit_id")))
    again = target.ids() - there if settings.run.retry_errors else set()
    needs = edit_needs if stage == "edit" else judge_needs
    placement = place("edit", settings.edit, cluster, needs(settings, cluster))

    def next_wave() -> Pass:
        todo = left_to_try(settings, requests, target, thresholds, limit, again)
        if stage == "judge":
            todo = as_far_as_stored(todo, stored, per_image(settings))
        tried = [attempt.edit_id for attempts in todo.values() for attempt in attempts]
        again.difference_update(tried)
        take_over_records(target, {stored[edit_id] for edit_id in tried if edit_id in stored})
        of_table = (requests, plan, settings, images, target, classifier_folder, thresholds, limit)
        return _wave(stage, todo, stored, *of_table)

    wave = next_wave()
    with progress_of(wave, placement) as progress:
        while True:
            stream(wave, placement, progress)
            check_error_rate(wave)
            if not wave.todo:
                break
            wave = next_wave()
        progress.before = (len(there & needed_edits(settings, requests, target, thresholds, limit)), None)
    tell_errors(wave)


def needed_edits(
    settings: Config, requests: list[Request], target: Table, thresholds: dict[str, float], limit: Limit
) -> set[str]:
    """The ids of the requested edits that are tried until each image has its survivors, as far as is known.

    What was tried beyond that, for another seed or by a stricter filter, is not among them.
    """
    each, drop_below = per_image(settings), settings.edit.drop_prompt_below
    if each is None and drop_below is None:
        return {request.edit_id for request in requests}
    survived = outcomes(settings, requests, target, thresholds)
    of_pilot = _of_pilot(settings, requests, target, thresholds)
    return needed(requests, survived, each, limit, drop_below, of_pilot)


def left_to_try(
    settings: Config,
    requests: list[Request],
    target: Table,
    thresholds: dict[str, float],
    limit: Limit,
    again: Collection[str] = (),
) -> dict[str, list[Attempt]]:
    """image_id -> what is still to be tried of it, as `still_to_try` says; `again`: edits to make once more."""
    chosen, survived = settings.edit, outcomes(settings, requests, target, thresholds)
    made = {edit_id: outcome for edit_id, outcome in survived.items() if edit_id not in again}
    of_pilot = _of_pilot(settings, requests, target, thresholds)
    return still_to_try(requests, made, per_image(settings), limit, chosen.drop_prompt_below, of_pilot)


def per_image(settings: Config) -> int | None:
    """How many survivors an image needs; None: every attempt is made."""
    return None if settings.edit.edits_per_image == "all" else settings.edit.edits_per_image


def _of_pilot(
    settings: Config, requests: list[Request], target: Table, thresholds: dict[str, float]
) -> dict[str, bool] | None:
    """The outcomes of the tries by which prompts are given up, compared with each other alone."""
    if settings.edit.drop_prompt_below is None:
        return None
    return outcomes(settings, pilot(requests), target, thresholds)


def outcomes(
    settings: Config, requests: list[Request], target: Table, thresholds: dict[str, float]
) -> dict[str, bool]:
    """edit_id -> whether it survives the filters, of the requested edits that are made.

    One without a picture that should have one, which other settings have not kept, is not made. What else the
    table holds, such as edits of another strength, has no say: a filter may compare edits with each other.
    """
    names = [name for name in target.schema.names if name not in ("image", "parameters", "prompt", "verdict")]
    rows, wanted = target.read(names), pa.array([request.edit_id for request in requests], pa.string())
    rows = rows.filter(pc.is_in(rows.column("edit_id"), value_set=wanted))
    verdicts = judged(rows, thresholds, settings.judge)
    columns = (rows.column(name).to_pylist() for name in ("edit_id", "image_bytes"))
    made = zip(*columns, verdicts, strict=True)
    return {
        edit_id: verdict == "kept"
        for edit_id, size, verdict in made
        if size is not None or not has_picture(verdict, settings.edit.keep_rejected)
    }


def _wave(
    stage: Literal["judge", "edit"],
    todo: dict[str, list[Attempt]],
    stored: Mapping[str, str],
    requests: list[Request],
    plan: Plan,
    settings: Config,
    images: Table,
    target: Table,
    classifier_folder: str,
    thresholds: dict[str, float],
    limit: Limit,
) -> Pass:
    """One pass over the images that have something to try; `judge` reads no picture of theirs."""
    makes_all, others = per_image(settings) is None, (plan, classifier_folder, thresholds, target.uri)
    if stage == "edit":
        worker, columns, args = EditAndJudge, ["image"], (settings.edit, settings.judge, *others)
    else:
        worker, columns, args = JudgeStored, [], (settings.judge, rules_of(settings.edit), *others)
    missing = sum(attempt.survived is None for attempts in todo.values() for attempt in attempts)
    ledger = ledger_of(target.folder)
    described = ledger.rows(images, OF_IMAGES)
    tries = ledger.keep(f"{stage}, to do", as_table(todo, stored))
    asked = pa.array(list(needed_edits(settings, requests, target, thresholds, limit)), pa.string())
    wanted = ledger.keep(f"{stage}, wanted", pa.table({"key": asked}))
    of_images = ", ".join(map(quoted, OF_IMAGES))
    return Pass(
        stage=stage,
        rows=f"SELECT {of_images}, file, attempts, survived, stored FROM {described} JOIN {tries} USING(image_id)",
        todo=len(todo),
        source=(images, columns),
        prepare=_by_bucket(settings.edit.size),
        worker=worker,
        worker_args=args,
        target=target,
        key="edit_id",
        wanted=f"SELECT key FROM {wanted}",
        batch_size=(1 if makes_all else IMAGES_PER_PLACE) * settings.edit.batch_size,
        run=settings.run,
        unit="edits",
        makes_one_each=False,
        makes=missing if makes_all or not todo else None,
    )


def _by_bucket(size: int) -> Callable[[pa.Table], pa.Table]:
    """Puts pictures of one bucket side by side: a worker's batches are full."""
    return lambda images: pa.concat_tables(by_bucket(images, size).values())
