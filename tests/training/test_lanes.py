"""Training on Ray Train: it learns, it resumes, it is the same again."""

import json
import os
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.train
import safetensors.torch
import torch
from in_process import trainings_here
from painted_examples import paint

from alia_ray.cluster.placement import Cluster, Node
from alia_ray.config import ConfigError, Train
from alia_ray.errors import StageError
from alia_ray.miniature import dataset
from alia_ray.models.classifier import load_classifier
from alia_ray.models.naming import resolve
from alia_ray.store.run_folder import RunFolder
from alia_ray.training import lanes, loop
from alia_ray.training.examples import Examples, load
from alia_ray.training.lanes import Training, _lanes, check_trainable, train_classifiers

SETTINGS = Train(
    architecture="resnet18",
    weights="none",
    epochs=3,
    batch_size=16,
    learning_rate=0.003,
    image_size=32,
    workers=2,
    max_failures=0,
)


def lose_a_worker(rank: int, epoch: int, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on trainings log their checkpoints, and worker `rank` is killed in `epoch`, the first time.

    All workers but the first see a run folder without checkpoints, as NFS shows it to another node for a while.
    """

    def run_and_die(arguments):  # a closure: Ray sends it by value to the workers, which have the real `run`
        import os
        import signal
        import time

        import ray.train

        from alia_ray.training import learner, loop

        if ray.train.get_context().get_world_rank():
            learner.resumable_state = lambda folder: None
        save, train_epoch = loop.save, loop._train_epoch

        def save_and_log(trained, folder, history, score):
            save(trained, folder, history, score)
            with log.open("a") as lines:
                lines.write(f"{len(history)}\n")

        def train_epoch_and_die(trained, images, plan, number, job, weights):
            marker = log.with_suffix(f".died-{epoch}")
            is_due = number + 1 == epoch and ray.train.get_context().get_world_rank() == rank
            if is_due and not marker.exists():
                while not (log.exists() and str(epoch - 1) in log.read_text().split()):
                    time.sleep(0.05)  # until the first worker has saved the epoch before
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return train_epoch(trained, images, plan, number, job, weights)

        loop.save, loop._train_epoch = save_and_log, train_epoch_and_die
        loop.run(arguments)

    monkeypatch.setattr(loop, "run", run_and_die)


def fit(out: Path, splits: tuple[Examples, Examples], *names: str, **changes: object) -> None:
    """Train some classifiers, alike but for their folders, with 2 workers unless told otherwise."""
    trainings = [
        Training(
            name=name,
            out=str(out / name),
            train=splits[:1],
            val=splits[1:],
            classes=dataset.CLASSES,
            settings=SETTINGS.model_copy(update=changes),
            augment="none",
            seed=3,
        )
        for name in names
    ]
    train_classifiers(trainings, Cluster(3, 0))


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def history_of(folder: Path) -> dict:
    return json.loads((folder / "history.json").read_text())


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> tuple[Examples, Examples]:
    folder = tmp_path_factory.mktemp("splits")
    return paint(folder, "train", 62), paint(folder, "val", 33)


@pytest.fixture(scope="module")
def whole(ray_cluster, splits, tmp_path_factory) -> Path:
    """Two trainings in one lane; the second must not depend on the first."""
    out = tmp_path_factory.mktemp("whole")
    fit(out, splits, "first", "second")
    return out


def assert_same_training(one: Path, other: Path) -> None:
    for name, value in weights_of(one).items():
        assert torch.equal(value, weights_of(other)[name]), name
    for first, second in zip(history_of(one)["epochs"], history_of(other)["epochs"], strict=True):
        assert first["loss"] == second["loss"]
        assert first["val_class_balanced_accuracy"] == second["val_class_balanced_accuracy"]


@pytest.mark.slow
def test_a_training_learns_and_keeps_the_best_epoch_by_validation(whole, splits):
    history = history_of(whole / "first")
    assert history["epochs"][-1]["loss"] < history["epochs"][0]["loss"]
    scores = [record["val_class_balanced_accuracy"] for record in history["epochs"]]
    assert max(scores) > 0.7
    assert history["val_class_balanced_accuracy"] == max(scores)
    assert history["best_epoch"] == max(e for e, score in enumerate(scores, 1) if score == max(scores))
    assert (history["train_images"], history["val_images"], history["workers"]) == (62, 33, 2)

    # what was saved is the epoch whose validation accuracy was recorded
    classifier = load_classifier(str(whole / "first"), torch.device("cpu"))
    images = load([splits[1]], SETTINGS.pixels, threads=1)
    predicted = classifier.probabilities(images.pixels.float() / 255).argmax(dim=1)
    right = [classifier.classes[p] == label for p, label in zip(predicted.tolist(), images.labels, strict=True)]
    assert sum(right) / len(right) == pytest.approx(history["epochs"][history["best_epoch"] - 1]["val_accuracy"])


@pytest.mark.slow
def test_trainings_of_one_lane_do_not_depend_on_each_other(whole):
    assert_same_training(whole / "first", whole / "second")


@pytest.mark.slow
def test_a_finished_training_leaves_its_curves_and_no_checkpoints(whole):
    names = {path.name for path in (whole / "first").iterdir()}
    assert names == {"model.safetensors", "classifier.json", "history.json", "tensorboard"}
    assert len(list((whole / "first" / "tensorboard").rglob("*tfevents*"))) == SETTINGS.epochs
    assert {path.name for path in whole.iterdir()} == {"first", "second"}


@pytest.mark.slow
def test_lost_workers_and_a_lost_driver_change_nothing(whole, splits, tmp_path, monkeypatch):
    """Worker 1 is killed in epoch 2 and no other may take its place; then in epoch 3, when one may.

    What went on in memory goes on from the disk.
    """
    log = tmp_path / "epochs.log"
    with monkeypatch.context() as first:
        lose_a_worker(rank=1, epoch=2, log=log, monkeypatch=first)
        with pytest.raises(StageError, match=r"^train lost: "):
            fit(tmp_path, splits, "lost", max_failures=0)
    assert log.read_text().split() == ["1"]
    assert (tmp_path / "lost" / "checkpoints" / "state.json").exists()

    with monkeypatch.context() as second:
        lose_a_worker(rank=1, epoch=3, log=log, monkeypatch=second)
        fit(tmp_path, splits, "lost", max_failures=1, loading="stream")  # as a new driver does: the same folder
    assert log.read_text().split() == ["1", "2", "3"]
    assert_same_training(tmp_path / "lost", whole / "first")
    written = (tmp_path / "lost" / "history.json").stat().st_mtime_ns
    fit(tmp_path, splits, "lost")
    assert (tmp_path / "lost" / "history.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_what_is_streamed_gives_the_weights_of_memory_under_every_augmentation(ray_cluster, splits, tmp_path):
    for augment in ("cutmix", "randaugment"):
        for loading in ("memory", "stream"):
            settings = SETTINGS.model_copy(update={"workers": 1, "epochs": 2, "loading": loading})
            out = str(tmp_path / augment / loading)
            training = Training(loading, out, splits[:1], splits[1:], dataset.CLASSES, settings, augment, 3)
            with trainings_here():
                train_classifiers([training], Cluster(3, 0))
            assert history_of(Path(out))["loading"] == loading
        assert_same_training(tmp_path / augment / "memory", tmp_path / augment / "stream")


@pytest.mark.slow
def test_two_workers_take_the_steps_of_one_where_classes_are_nine_to_one(
    ray_cluster, splits, tmp_path, monkeypatch
):
    """A batch is all there is, so that both see the same batches; the network has no BatchNorm."""

    def plain(architecture: str, weights: str, num_classes: int) -> torch.nn.Module:
        from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, ReLU, Sequential

        return Sequential(Conv2d(3, 8, 3), ReLU(), AdaptiveAvgPool2d(2), Flatten(), Linear(32, num_classes))

    def run_plain(arguments):  # a closure: Ray sends it by value
        from alia_ray.training import learner, loop

        learner.build_classifier = loop.build_classifier = plain
        loop.run(arguments)

    monkeypatch.setattr(loop, "build_classifier", plain)
    monkeypatch.setattr(loop, "run", run_plain)
    of_class = {name: [] for name in dataset.CLASSES[:2]}
    for picture in dataset.layout("train", 62, bias=1.0):
        of_class[picture.label].append(picture.origin)
    common, rare = (sorted(ids) for ids in of_class.values())
    uneven = replace(splits[0], ids=(*common[:27], *rare[:3]))
    for workers in (1, 2):
        same = {"flip": False, "batch_size": 30, "learning_rate": 0.5, "workers": workers}
        fit(tmp_path, (uneven, splits[1]), f"by {workers}", **same)
    alone, both = weights_of(tmp_path / "by 1"), weights_of(tmp_path / "by 2")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, rtol=1e-4, atol=1e-5)
    losses = ([record["loss"] for record in history_of(tmp_path / f"by {n}")["epochs"]] for n in (1, 2))
    assert next(losses) == pytest.approx(next(losses), rel=1e-4)
    assert [record["workers"] for record in history_of(tmp_path / "by 2")["epochs"]] == [2, 2, 2]


@pytest.mark.slow
def test_trainings_that_fail_are_told_and_hold_up_no_other_of_their_lane(ray_cluster, splits, tmp_path):
    rows = pq.read_table(splits[1].table).to_pylist()
    rows[0]["image"] = b"no picture"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "broken.parquet")
    broken = replace(splits[1], table=str(tmp_path / "broken.parquet"))
    settings = SETTINGS.model_copy(update={"workers": 1, "epochs": 2})
    trainings = [
        Training(name, str(tmp_path / "out" / name), splits[:1], (val,), dataset.CLASSES, how, "none", 3)
        for name, val, how in [
            ("diverges", splits[1], settings.model_copy(update={"learning_rate": 1e30})),
            ("reads", broken, settings),
            ("is fine", splits[1], settings),
        ]
    ]
    with pytest.raises(StageError) as raised:
        train_classifiers(trainings, Cluster(1, 0))  # one lane
    assert "diverges: FloatingPointError: loss or weights of epoch 1 are not finite; lower" in str(raised.value)
    assert "reads: DecodeError: " in str(raised.value)
    assert "is fine" not in str(raised.value)
    assert len(history_of(tmp_path / "out" / "is fine")["epochs"]) == 2


@pytest.mark.slow
def test_a_training_starts_from_the_classifier_that_weights_names(ray_cluster, splits, tmp_path):
    known = {"architecture": "shufflenet_v2_x0_5", "weights": "miniature:classifier"}
    with trainings_here():
        fit(tmp_path, splits, "known", **known, epochs=1, learning_rate=1e-9, workers=1)
    shipped, trained = weights_of(Path(resolve("miniature:classifier"))), weights_of(tmp_path / "known")
    kernels = [name for name, value in shipped.items() if value.ndim == 4]
    assert kernels
    assert all(torch.allclose(trained[name], shipped[name].float(), atol=1e-6) for name in kernels)


def test_lanes_end_at_about_the_same_time():
    def training(name: str, images: int) -> Training:
        return Training(name, name, (examples(images),), (), (), SETTINGS, "none", 0)

    trainings = [training(str(images), images) for images in (10, 20, 30, 60)]
    lanes = _lanes(trainings, 2)
    assert sorted(sorted(int(each.name) for each in lane) for lane in lanes) == [[10, 20, 30], [60]]
    assert len(_lanes(trainings, 9)) == 4


def examples(count: int) -> Examples:
    return Examples("table", "image_id", tuple(f"id{number}" for number in range(count)))


def training(out: Path, **changes: object) -> Training:
    examples = (Examples("t", "image_id", ("a", "b")),)
    settings = SETTINGS.model_copy(update=changes)
    return Training(out.name, str(out), examples, examples, ("a", "b"), settings, "none", 0)


def test_a_training_whose_workers_never_came_up_says_why(tmp_path, monkeypatch):
    class NoRoom:
        def __init__(self, *args: object, **kwargs: object) -> None:
            pass

        def fit(self) -> None:  # before Ray Train has made its folder
            raise ray.train.TrainingFailedError("no node has room for a worker")

    monkeypatch.setattr("alia_ray.training.trainer.Trainer", NoRoom)
    monkeypatch.setattr(lanes.ray, "put", lambda job: job)
    lane = [training(tmp_path / "alia")]
    assert lanes._run_lane(lane, [None], Cluster(3, 0), Event()) == {lane[0].out: "no node has room for a worker"}


def test_what_the_lanes_of_a_killed_run_left_is_deleted(tmp_path):
    for name in (".lane-old", ".lane-of-today", "abc/checkpoints", "under-way/checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".lane-old" / "snapshot.json").write_text("{}")
    (tmp_path / "abc" / "history.json").write_text("{}")  # killed just before it dropped its checkpoints
    for name in (".lane-old", "abc", "under-way"):
        os.utime(tmp_path / name, (1e9, 1e9))
    lanes._sweep(RunFolder(str(tmp_path)))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {".lane-of-today", "abc", "abc/history.json", "under-way", "under-way/checkpoints"}
    lanes._sweep(RunFolder(str(tmp_path / "nowhere")))


def test_notes_that_cannot_be_deleted_hide_no_reason(tmp_path, monkeypatch):
    class Loses:
        def __init__(self, *args: object, **kwargs: object) -> None:
            pass

        def fit(self) -> None:
            raise ray.train.TrainingFailedError("the workers are gone")

    def refuse(*_: object) -> None:
        raise PermissionError("the notes are not yours")

    monkeypatch.setattr("alia_ray.training.trainer.Trainer", Loses)
    monkeypatch.setattr(lanes.ray, "put", lambda job: job)
    monkeypatch.setattr(RunFolder, "fs", SimpleNamespace(delete_dir=refuse))
    assert lanes._try(training(tmp_path / "alia"), [None], Cluster(3, 0)).reason == "the workers are gone"


def test_the_person_reads_how_trainings_come_on_and_what_became_of_each(tmp_path, monkeypatch, capsys):
    epochs = [{"epoch": number + 1, "val_accuracy": number / 4} for number in range(3)]
    done = {"name": "alia, seed 0", "train_images": 48, "best_epoch": 3, "seconds": 4.2, "epochs": epochs}
    folder, lane, looks = RunFolder(str(tmp_path / "alia")), Future(), []

    def wait(lanes: set[Future], timeout: float) -> SimpleNamespace:
        looks.append(timeout)
        if len(looks) == 1:
            folder.write_json({"history": epochs[:2]}, "checkpoints", "state.json")
            return SimpleNamespace(not_done=lanes)
        folder.write_json(done, "history.json")
        lane.set_result({})
        return SimpleNamespace(not_done=set())

    monkeypatch.setattr(lanes, "wait", wait)
    lanes._follow([training(tmp_path / "alia")], [lane], Event())
    first, line, last = capsys.readouterr().err.splitlines()
    assert first == "train: 0/3  starting 1 training"
    assert line == "train alia, seed 0: 48 images, 3 epochs in 4.2 s; 50% of val right after epoch 3"
    assert last.startswith("train: 3 epochs in ")


def test_a_training_that_failed_is_not_called_nothing_to_do(tmp_path, capsys):
    lane: Future = Future()
    lane.set_result({str(tmp_path / "alia"): "the loss is not finite"})
    with pytest.raises(StageError, match="the loss is not finite; run it again once that is mended"):
        lanes._follow([training(tmp_path / "alia")], [lane], Event())
    assert capsys.readouterr().err == "train: 0/3  starting 1 training\n"


def test_what_cannot_be_trained_is_refused_before_anything_starts():
    def training(train: int, val: int, **change: object) -> Training:
        settings = SETTINGS.model_copy(update=change)
        return Training("t", "t", (examples(train),), (examples(val),), ("a",), settings, "none", 0)

    for change, cluster, train, val, message in [
        ({"workers": 3}, Cluster(2, 0), 9, 9, r"train\.workers: 3 workers .* do not fit; there are 2 CPUs"),
        (
            {"workers": 2},
            Cluster(8, 1),
            9,
            9,
            r"train\.workers: 2 workers .* do not fit; .* 8 CPUs, 1 GPUs",
        ),
        ({}, Cluster.of((Node(8, memory=1e9),)), 9, 9, r"train: a worker needs about \d\.\d GB of memory"),
        ({"workers": 2}, Cluster(8, 0), 1, 9, r"train\.workers: 1 training images for 2 workers"),
        ({"workers": 2}, Cluster(8, 0), 9, 0, "there is no validation image"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_trainable(training(train, val, **change), cluster)
    check_trainable(training(9, 9), Cluster(2, 0))  # all CPUs may be the workers'
