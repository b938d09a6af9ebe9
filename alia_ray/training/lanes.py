"""train: examples -> classifiers, data-parallel on Ray Train (paper, section 4).

    OUT/
      model.safetensors, classifier.json   the weights of the best epoch by validation, and what they are
      history.json                         one record per epoch; written last, so it marks a finished training
      checkpoints/                         the last and the best epoch, while training is under way
      tensorboard/                         the same records as TensorBoard's event files, unless they go elsewhere

Trainings are shared out among *lanes*, as many as the cluster has room for. A lane is one run of Ray Train whose
workers train one job after the other: starting a worker group costs half a minute of imports, and more than a
small training itself.

A training that fails is tried again, then passed over, so that it holds up no other; all are told at the end.

The test split never comes here: the epoch is chosen by `train.select_by` on validation examples.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs
import ray
import ray.train

from alia_ray.cluster.memory import loading_text, streams, train_needs
from alia_ray.cluster.placement import Cluster, Needs, check_trainers, trainings_at_once
from alia_ray.config import ConfigError, Train
from alia_ray.config.arms import Augment
from alia_ray.errors import StageError
from alia_ray.progress import Progress, duration, inform, number_of, say
from alia_ray.store.run_folder import HISTORY, RunFolder
from alia_ray.store.writing import is_stale
from alia_ray.training.examples import Examples, count
from alia_ray.training.failures import Failure, failure_of
from alia_ray.training.trackers import prepare

if TYPE_CHECKING:
    from alia_ray.training.loop import Job

_NOTES = ".lane-"  # how the folders are called in which Ray Train keeps its own
_LOOK_EVERY_S = 2.0
_PLACEMENT_MINUTES = 30  # Ray Train waits a minute at a time for other work to free what the workers need


@dataclass(frozen=True)
class Training:
    """One classifier to train into the folder `out`, which must stand for everything else that is said here.

    A training into the same `out` that was interrupted goes on after its last whole epoch; a finished one is not
    repeated. `name` is for the person.
    """

    name: str
    out: str
    train: tuple[Examples, ...]
    val: tuple[Examples, ...]
    classes: tuple[str, ...]
    settings: Train
    augment: Augment
    seed: int
    logs: str = ""  # the folder of what trackers write (`trackers.py`); an empty text: `out`


def train_classifiers(
    trainings: Sequence[Training], cluster: Cluster, at_once: int | None = None, stop: Event | None = None
) -> None:
    """Train what is not finished, side by side where the cluster has room. All take the same workers.

    at_once: how many side by side; None: as many as the whole cluster has room for. Who sets `stop`, from another
    thread, gets a StageError soon: nothing is waited for nor tried any more.

    `history.json` of each: {"name", "architecture", "augment", "seed", "workers", "loading", "train_images",
    "val_images", "best_epoch", "select_by", "val_class_balanced_accuracy", "load_seconds", "seconds",
    "images_per_second", "epochs": [{"epoch", "workers", "loss", "seconds", "images_per_second", "input_share",
    "val_accuracy", "val_class_balanced_accuracy", "val_macro_f1"}]}.
    "loading" is "memory" or "stream": of all trainings alike, by what the largest of them needs.
    "untracked" is there where a tracker failed: {TRACKER: reason}.
    `load_seconds` are those of reading and decoding, which is done once; `seconds` those of training alone, and
    `input_share` is the part of them that went into preparing batches.

    Raises ConfigError for what cannot be trained or scheduled, before anything starts, and StageError after all
    others are done, which names each training that failed and says why. The next call tries those again.
    """
    for training in trainings:
        check_trainable(training, cluster)
    todo = [each for each in trainings if not _is_finished(each.out)]
    if not todo:
        return
    most = at_once or trainings_at_once(todo[0].settings, cluster, _most_needs(todo, cluster))
    lanes = _lanes(todo, most)
    stream = streams(todo[0].settings, _most_images(todo), cluster)
    inform(f"train: {loading_text(todo[0].settings, _most_images(todo), cluster)}")
    jobs = _jobs(todo, stream)
    for logs in sorted({each.logs or each.out for each in todo}):
        prepare(RunFolder(logs), todo[0].settings.trackers)
    _sweep(RunFolder(todo[0].out).parent)
    pool, stop = ThreadPoolExecutor(len(lanes)), stop or Event()
    try:
        futures = [
            pool.submit(_run_lane, lane, [jobs[each.out] for each in lane], cluster, stop) for lane in lanes
        ]
        _follow(todo, futures, stop)
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupt waits for nothing


def _is_finished(out: str) -> bool:
    """Whether the training into a folder is."""
    return RunFolder(out).has_file(HISTORY)


def is_begun(out: str) -> bool:
    """Whether the training into a folder goes on with something that it left when it was interrupted."""
    from alia_ray.training.checkpoints import resumable_state  # not above: torch takes seconds to import

    return resumable_state(RunFolder(out)) is not None


def _follow(trainings: Sequence[Training], lanes: Sequence[Future[dict[str, str]]], stop: Event) -> None:
    """Say how the trainings come on, by what they leave in the run folder, until the lanes have ended.

    Raises StageError with what became of those that failed, and after `stop`.
    """
    done, todo = {each.out: 0 for each in trainings}, list(trainings)
    epochs = sum(each.settings.epochs for each in trainings)
    untold: set[tuple[str, str]] = set()
    starting = f"starting {number_of(len(trainings), 'trainings')}"
    with Progress("train", epochs, unit="epochs", at_first=starting) as progress:
        running: set[Future[None]] = set(lanes)
        while running:
            running = wait(running, timeout=_LOOK_EVERY_S).not_done
            if stop.is_set():
                raise StageError("train: stopped; run it again to go on")
            for each in list(todo):
                history = RunFolder(each.out).read_json(HISTORY)
                now = max(done[each.out], _epochs_done(each, history))
                progress.advance(now - done[each.out])
                done[each.out] = now
                if history:
                    todo.remove(each)
                    inform(_line(history))
                    for tracker, reason in history.get("untracked", {}).items():
                        if (tracker, reason) not in untold:
                            untold.add((tracker, reason))
                            say(f"train: {tracker} has not got all of {each.name} ({reason}); training goes on")
        failed = {out: reason for lane in lanes for out, reason in lane.result().items()}
        if reasons := [(each.name, failed[each.out]) for each in trainings if each.out in failed]:
            raise StageError(_failures(reasons))


def _failures(failed: Sequence[tuple[str, str]]) -> str:
    """Every training that failed, by name, beside its reason."""
    names: dict[str, list[str]] = {}
    for name, reason in failed:
        names.setdefault(reason, []).append(name)
    told = "; ".join(f"{' and '.join(of_one)}: {reason}" for reason, of_one in names.items())
    return f"train {told}; run it again once that is mended, what is trained stays"


def _epochs_done(training: Training, history: dict[str, Any] | None) -> int:
    from alia_ray.training.checkpoints import last_state  # not above: torch takes seconds to import

    if history is not None:
        return len(history["epochs"])
    with suppress(FileNotFoundError):  # it has just ended, and its checkpoints are gone
        return len((last_state(RunFolder(training.out)) or {"history": []})["history"])
    return 0


def _line(history: dict[str, Any]) -> str:
    epochs, best = history["epochs"], history["best_epoch"]
    return (
        f"train {history['name']}: {history['train_images']} images, {number_of(len(epochs), 'epochs')} in "
        f"{duration(history['seconds'])}; {epochs[best - 1]['val_accuracy']:.0%} of val right after epoch {best}"
    )


def check_trainable(training: Training, cluster: Cluster) -> None:
    """Raise ConfigError for a training that could never start, instead of waiting for ever."""
    check_trainers(training.settings, cluster, _most_needs([training], cluster))
    images, workers = count(training.train), training.settings.workers
    if images < workers:
        raise ConfigError(f"train.workers: {images} training images for {workers} workers; lower it")
    if not count(training.val):
        raise ConfigError("source: there is no validation image to choose an epoch by; set a val_fraction")


def _most_needs(trainings: Sequence[Training], cluster: Cluster) -> Needs:
    """What a worker of the largest of some trainings needs."""
    return train_needs(trainings[0].settings, _most_images(trainings), cluster)


def _most_images(trainings: Sequence[Training]) -> int:
    return max(count(each.train) + count(each.val) for each in trainings)


def _lanes(trainings: Sequence[Training], most: int) -> list[list[Training]]:
    """Share trainings out so that lanes end at about the same time: the longest first, to the emptiest lane."""
    lanes: list[list[Training]] = [[] for _ in range(min(most, len(trainings)))]
    for training in sorted(trainings, key=_work, reverse=True):
        min(lanes, key=lambda lane: sum(map(_work, lane))).append(training)
    return lanes


def _work(training: Training) -> int:
    """Images seen in all."""
    return count(training.train) * training.settings.epochs


def _jobs(trainings: Sequence[Training], stream: bool) -> dict[str, "Job"]:
    """The trainings as the workers get them, by folder; those of one seed share their first weights."""
    from alia_ray.training.loop import Job, first_weights  # not above: torch takes seconds to import

    weights: dict[tuple[int, int], ray.ObjectRef] = {}
    jobs = {}
    for each in trainings:
        start = (each.seed, len(each.classes))
        if start not in weights:
            weights[start] = ray.put(first_weights(each.settings, len(each.classes), each.seed))
        jobs[each.out] = Job(
            name=each.name,
            out=RunFolder(each.out).uri(),
            train=tuple(source.for_workers() for source in each.train),
            val=tuple(source.for_workers() for source in each.val),
            classes=each.classes,
            settings=each.settings,
            augment=each.augment,
            seed=each.seed,
            weights=weights[start],
            stream=stream,
            logs=each.logs,
        )
    return jobs


def _sweep(folder: RunFolder) -> None:
    """Delete what killed runs left: the notes of lanes, and checkpoints of trainings that were finished.

    Not notes that are new, which another run may need at this moment.
    """
    from alia_ray.training.checkpoints import drop_checkpoints  # not above: torch takes seconds to import

    for info in folder.fs.get_file_info(pafs.FileSelector(folder.file(), allow_not_found=True)):
        if info.base_name.startswith(_NOTES):
            if is_stale(info):
                _delete(folder, info.path)
        elif folder.has_file(info.base_name, HISTORY):
            drop_checkpoints(RunFolder(folder.uri(info.base_name)))


def _run_lane(lane: Sequence[Training], jobs: Sequence["Job"], cluster: Cluster, stop: Event) -> dict[str, str]:
    """Train the jobs of a lane, each until it is finished or has failed too often, and try none after `stop`.

    Returns the reasons of those that failed, by their folders; the others are trained.
    """
    todo, tries, failed = list(zip(lane, jobs, strict=True)), Counter[tuple[str, bool]](), {}
    while todo and not stop.is_set():
        failure = _try(todo[0][0], [job for _, job in todo], cluster)
        if failure is None:
            break
        todo = [pair for pair in todo if not _is_finished(pair[0].out)]
        if failure.of_group:
            failed.update({training.out: failure.reason for training, _ in todo})
            break
        if not todo:
            break
        training, job = todo[0]  # workers take them in their order, so this is the one that failed
        tries[training.out, failure.is_lost] += 1
        if tries[training.out, failure.is_lost] > failure.retries(training.settings.max_failures):
            failed[training.out] = failure.reason
            todo.pop(0)
        elif failure.of_gpu_memory:
            todo[0] = training, replace(job, images_on_gpu=False)
    return {out: reason for out, reason in failed.items() if not _is_finished(out)}


def _try(first: Training, jobs: Sequence["Job"], cluster: Cluster) -> Failure | None:
    """Run workers under Ray Train until all jobs are trained or something ends them."""
    from alia_ray.training import loop
    from alia_ray.training.trainer import Trainer

    settings, folder = first.settings, RunFolder(first.out).parent
    notes = f"{_NOTES}{uuid.uuid4().hex}"  # where Ray Train keeps its own; nothing that we need again
    trainer = Trainer(
        loop.run,
        train_loop_config={"jobs": [ray.put(job) for job in jobs]},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=bool(cluster.gpus),
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1} if cluster.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name=notes,
            storage_path=folder.file(),
            storage_filesystem=folder.fs,
            # no failure here: which job is to blame, and whether to try it again, is not Ray Train's to know
            failure_config=ray.train.FailureConfig(controller_failure_limit=_PLACEMENT_MINUTES),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        return failure_of(error)
    finally:
        _delete(folder, folder.file(notes))
    return None


def _delete(folder: RunFolder, path: str) -> None:
    """Delete a folder, there or not. What cannot be deleted now is left to a later run, and hides no error."""
    with suppress(OSError):
        folder.fs.delete_dir(path)
