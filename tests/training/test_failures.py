"""Trainings that fail: how often each is tried, what becomes of the others, and what is said."""

import errno
from pathlib import Path
from threading import Event

import pytest
import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Train
from alia_ray.images import DecodeError
from alia_ray.store.run_folder import RunFolder
from alia_ray.training import lanes
from alia_ray.training.examples import Examples
from alia_ray.training.failures import Failure, failure_of
from alia_ray.training.lanes import Training
from alia_ray.training.loop import Job

GONE = WorkerHealthCheckFailedError("worker 1 is dead", RayActorError())


def failed(*errors: Exception) -> Failure:
    return failure_of(ray.train.WorkerGroupError("a long text", dict(enumerate(errors))))


def misfit() -> RuntimeError:
    """What torch raises for tensors that do not fit."""
    with pytest.raises(RuntimeError) as raised:
        torch.nn.Linear(3, 4)(torch.rand(2, 5))
    return raised.value


def test_what_would_come_again_is_not_tried_again():
    missing = FileNotFoundError(errno.ENOENT, "No such file", "/run/images/part-1.parquet")
    for error in (FloatingPointError("loss"), DecodeError("broken"), ValueError("no id"), KeyError("x"), missing):
        assert failed(error).retries(2) == 0
        assert type(error).__name__ in failed(error).reason
    assert failed(misfit()).retries(2) == 0


def test_what_may_pass_is_tried_once_more_and_a_lost_worker_as_often_as_configured():
    unknown = RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    assert [failed(unknown).retries(tries) for tries in (0, 1, 2)] == [0, 1, 1]
    for error in (GONE, OSError(errno.EIO, "storage"), torch.distributed.DistBackendError("a peer is gone")):
        assert failed(error).retries(2) == 2


def test_of_an_error_and_the_complaints_of_those_that_lost_the_worker_by_it_the_error_counts():
    found = failed(RuntimeError("Connection closed by peer"), ValueError("'crow' is no class"))
    assert found == Failure("ValueError: 'crow' is no class", comes_again=True)


def test_a_batch_that_is_too_small_for_its_layers_is_said_with_what_to_change():
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="per channel") as raised:
        model(torch.rand(1, 3, 8, 8))
    assert failed(raised.value).reason.endswith(
        "raise train.batch_size or train.image_size, or lower train.workers"
    )
    assert failed(raised.value).retries(2) == 0


def test_of_a_lost_worker_and_the_errors_of_those_that_talked_to_it_the_loss_counts():
    found = failed(RuntimeError("Connection closed by peer"), GONE)
    assert found.is_lost
    assert "worker 1 is dead" in found.reason


def test_a_node_or_a_gpu_whose_memory_does_not_do_is_no_lost_worker():
    killed = "Task was killed due to the node running low on memory. Memory was 15.2GB / 16GB used / 16GB limit"
    found = failed(WorkerHealthCheckFailedError("dead", RuntimeError(killed)))
    assert (found.is_lost, found.of_gpu_memory) == (False, False)
    assert "a node ran out of memory" in found.reason
    found = failed(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB"))
    assert (found.is_lost, found.of_gpu_memory) == (False, True)
    assert found.reason.endswith("lower train.batch_size or train.image_size")


class Workers:
    """Ray Train's workers, by what becomes of each job: the failures of its tries, in their order."""

    def __init__(self, failures: dict[str, list[Failure]]) -> None:
        self.failures = failures
        self.tried: list[tuple[str, bool]] = []  # the job, and whether its images may lie on the GPU

    def __call__(self, first: Training, jobs: list[Job], cluster: Cluster) -> Failure | None:
        for job in jobs:
            self.tried.append((job.name, job.images_on_gpu))
            if self.failures.get(job.name):
                return self.failures[job.name].pop(0)
            RunFolder(job.out).write_json({}, "history.json")
        return None


def about(tmp_path: Path, **changes: object) -> list[tuple]:
    """Three trainings, as `Training` and `Job` take them."""
    settings, examples = Train(**changes), (Examples("t", "image_id", ("a",)),)
    return [(name, str(tmp_path / name), examples, examples, ("a",), settings, "none", 0) for name in "abc"]


def run_lane(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: dict[str, list[Failure]],
    stop: Event | None = None,
    **changes: object,
) -> tuple[list[tuple[str, bool]], dict[str, str]]:
    """What is tried, and the reasons of the trainings that failed."""
    workers = Workers(failures)
    monkeypatch.setattr(lanes, "_try", workers)
    trainings = about(tmp_path, **changes)
    lane = [Training(*each) for each in trainings]
    reasons = lanes._run_lane(lane, [Job(*each, None) for each in trainings], Cluster(1, 0), stop or Event())
    return workers.tried, {Path(out).name: reason for out, reason in reasons.items()}


ERROR, LOST = Failure("it is not finite"), Failure("gone", is_lost=True)


def test_a_training_that_always_fails_is_passed_over_after_its_second_try(tmp_path, monkeypatch):
    tried, reasons = run_lane(tmp_path, monkeypatch, {"a": [ERROR] * 9}, max_failures=5)
    assert [name for name, _ in tried] == ["a", "a", "b", "c"]
    assert reasons == {"a": "it is not finite"}


def test_the_next_run_tries_again_what_failed_and_nothing_else(tmp_path, monkeypatch):
    run_lane(tmp_path, monkeypatch, {"b": [ERROR] * 2})
    monkeypatch.setattr(lanes, "_follow", lambda todo, futures, stop: [future.result() for future in futures])
    monkeypatch.setattr(
        lanes, "_jobs", lambda todo, stream: {each.out: Job(**vars(each), weights=None) for each in todo}
    )
    monkeypatch.setattr(lanes, "_try", workers := Workers({}))
    trainings = [Training(*each) for each in about(tmp_path)]
    lanes.train_classifiers(trainings, Cluster(1, 0))
    assert workers.tried == [("b", True)]


def test_lost_workers_are_counted_for_each_training(tmp_path, monkeypatch):
    tried, reasons = run_lane(tmp_path, monkeypatch, {"a": [LOST] * 2, "b": [LOST] * 2, "c": [LOST] * 3})
    assert [name for name, _ in tried] == [*"aaabbbccc"]
    assert reasons == {"c": "gone"}


def test_losses_and_errors_of_one_training_are_counted_apart(tmp_path, monkeypatch):
    _, reasons = run_lane(tmp_path, monkeypatch, {"a": [LOST, ERROR, LOST]})
    assert reasons == {}


def test_after_a_gpu_was_full_the_images_of_that_training_stay_in_main_memory(tmp_path, monkeypatch):
    full = Failure("a GPU's memory did not do", of_gpu_memory=True)
    tried, reasons = run_lane(tmp_path, monkeypatch, {"b": [full]})
    assert tried == [("a", True), ("b", True), ("b", False), ("c", True)]
    assert reasons == {}


def test_after_an_interrupt_no_group_of_workers_is_started(tmp_path, monkeypatch):
    stop = Event()
    stop.set()
    assert run_lane(tmp_path, monkeypatch, {}, stop) == ([], {})


def test_where_no_worker_ever_came_up_all_the_rest_of_a_lane_failed_for_it(tmp_path, monkeypatch):
    no_room = failure_of(ray.train.TrainingFailedError("no node has room for a worker"))
    tried, reasons = run_lane(tmp_path, monkeypatch, {"b": [no_room]})
    assert [name for name, _ in tried] == ["a", "b"]
    assert reasons == dict.fromkeys("bc", "no node has room for a worker")


def test_every_failed_training_is_named_with_its_reason():
    told = lanes._failures([("a, seed 0", "broken"), ("b, seed 0", "lost"), ("a, seed 1", "broken")])
    assert told.startswith("train a, seed 0 and a, seed 1: broken; b, seed 0: lost; ")
