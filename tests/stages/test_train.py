"""Training on Ray Train: it learns, it resumes, it is the same again; and the arithmetic around it."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch.nn import functional

from alia_ray.cluster import Cluster
from alia_ray.config import ConfigError, Train
from alia_ray.errors import StageError
from alia_ray.images import encode
from alia_ray.miniature import dataset
from alia_ray.models.classifier import load_classifier, normalise
from alia_ray.stages import train_loop
from alia_ray.stages.examples import Examples, load, shard
from alia_ray.stages.train import check_trainable, train_classifier

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


def paint(folder: Path, split: str, count: int) -> Examples:
    """Pictures of the biased miniature, whose backgrounds give the classes away."""
    rows = [
        {
            "image_id": picture.origin,
            "image": encode(Image.fromarray(dataset.paint(picture.origin, picture.label, picture.background, 0))),
            "label": picture.label,
            "group": picture.background,
        }
        for picture in dataset.layout(split, count, bias=1.0)
    ]
    (folder / split).mkdir(parents=True)
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(rows[part::2]), folder / split / f"part-{part}.parquet")
    return Examples(str(folder / split), "image_id", tuple(row["image_id"] for row in rows))


def lose_a_worker_after(epoch: int, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every training logs the epochs that it reports, and is lost after `epoch`."""

    def run_and_fail(arguments):  # a closure: Ray sends it by value to the workers, which have the real `run`
        import ray.train

        from alia_ray.stages import train_loop

        report = ray.train.report

        def report_and_fail(metrics, **options):
            report(metrics, **options)
            if ray.train.get_context().get_world_rank() == 0:
                with log.open("a") as lines:
                    lines.write(f"{metrics['epoch']}\n")
                if metrics["epoch"] == epoch:
                    raise RuntimeError("a lost worker")

        ray.train.report = report_and_fail
        train_loop.run(arguments)

    monkeypatch.setattr(train_loop, "run", run_and_fail)


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(ray_cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # how soon Ray Train sees a change
    train, val = paint(tmp_path, "train", 62), paint(tmp_path, "val", 33)

    def fit(name: str) -> dict:
        out = str(tmp_path / "out" / name)
        return train_classifier([train], [val], dataset.CLASSES, SETTINGS, "none", 3, out, name)

    whole = fit("whole")
    log = tmp_path / "epochs.log"
    lose_a_worker_after(1, log, monkeypatch)
    with pytest.raises(StageError, match=r"train lost: .*a lost worker"):
        fit("lost")
    resumed = fit("lost")  # as a new driver does: same name, same folder

    assert log.read_text().split() == ["1", "2", "3"]
    weights = [
        safetensors.torch.load_file(tmp_path / "out" / name / "model.safetensors") for name in ("whole", "lost")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    for first, second in zip(whole["epochs"], resumed["epochs"], strict=True):
        assert first["loss"] == second["loss"]
        assert first["val_class_balanced_accuracy"] == second["val_class_balanced_accuracy"]

    assert whole["epochs"][-1]["loss"] < whole["epochs"][0]["loss"]
    scores = [record["val_class_balanced_accuracy"] for record in whole["epochs"]]
    assert max(scores) > 0.7
    assert whole["val_class_balanced_accuracy"] == max(scores)
    assert whole["best_epoch"] == max(e for e, score in enumerate(scores, 1) if score == max(scores))
    assert (whole["train_images"], whole["val_images"], whole["workers"]) == (62, 33, 2)
    assert not (tmp_path / "out" / "whole" / "checkpoints").exists()

    # what was saved is the epoch whose validation accuracy was reported
    classifier = load_classifier(str(tmp_path / "out" / "whole"), torch.device("cpu"))
    images = load([val], 32, threads=1)
    predicted = classifier.probabilities(images.pixels.float() / 255).argmax(dim=1)
    right = [classifier.classes[p] == label for p, label in zip(predicted.tolist(), images.labels, strict=True)]
    best = whole["epochs"][whole["best_epoch"] - 1]
    assert sum(right) / len(right) == pytest.approx(best["val_accuracy"])

    def never(arguments):
        raise AssertionError("a finished training ran again")

    monkeypatch.setattr(train_loop, "run", never)
    assert fit("whole") == whole


@pytest.mark.parametrize("name", ["none", "randaugment", "cutmix"])
def test_augmented_batches_depend_on_the_seed_alone(name):
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    augment = train_loop._augmentation(name, 3)
    batches = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        batches.append(augment(pixels, labels))
    (images, targets), (again, _), (other, _) = batches
    assert images.shape == (6, 3, 16, 16)
    assert images.dtype == torch.float32
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    is_hard = (targets.max(dim=1).values == 1).all()
    assert is_hard == (name != "cutmix")


def test_the_plain_recipe_flips_and_normalises_and_nothing_else():
    pixels = torch.randint(0, 256, (32, 3, 8, 8), dtype=torch.uint8)
    images, _ = train_loop._augmentation("none", 2)(pixels, torch.zeros(32, dtype=torch.int64))
    straight = normalise(pixels.float() / 255)
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(images, straight, strict=True)])
    flipped = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(images, straight, strict=True)])
    assert (kept ^ flipped).all()
    assert 4 < kept.sum() < 28


def examples(count: int) -> Examples:
    return Examples("table", "image_id", tuple(f"id{number}" for number in range(count)))


def test_what_cannot_be_trained_is_refused_before_anything_starts():
    for change, cluster, train, val, message in [
        ({"workers": 3}, Cluster(2, 0), 9, 9, r"train\.workers: 3 workers need 3 CPUs, but .* 2 CPUs"),
        ({"workers": 2}, Cluster(8, 1), 9, 9, r"train\.workers: 2 workers need 2 CPUs and 2 GPUs"),
        ({"workers": 2}, Cluster(8, 0), 1, 9, r"train\.workers: 1 training images for 2 workers"),
        ({"workers": 2}, Cluster(8, 0), 9, 0, "there is no validation image"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_trainable([examples(train)], [examples(val)], SETTINGS.model_copy(update=change), cluster)
    check_trainable([examples(9)], [examples(9)], SETTINGS, Cluster(2, 0))  # all CPUs may be the workers'


def test_shards_share_out_every_example_once_whatever_the_order():
    sources = [examples(7), Examples("edits", "edit_id", ("e2", "e1", "e0"))]
    shards = [shard(sources, rank, 3, seed=5) for rank in range(3)]
    sizes = [sum(len(part.ids) for part in parts) for parts in shards]
    assert sorted(sizes) == [3, 3, 4]
    for number, source in enumerate(sources):
        together = [key for parts in shards for key in parts[number].ids]
        assert sorted(together) == sorted(source.ids)
        assert shards[0][number].table == source.table
    backwards = [Examples(s.table, s.key, s.ids[::-1]) for s in sources]
    assert shard(backwards, 1, 3, seed=5) == shards[1]
    assert shard(sources, 1, 3, seed=6) != shards[1]


def test_examples_are_read_in_their_order_and_missing_ones_are_named(tmp_path):
    painted = paint(tmp_path, "val", 6)
    wanted = Examples(painted.table, "image_id", (painted.ids[4], painted.ids[1]))
    loaded = load([wanted], 48, threads=2)
    pictures = {picture.origin: picture for picture in dataset.layout("val", 6, bias=1.0)}
    for place, key in enumerate(wanted.ids):
        picture = pictures[key]
        original = dataset.paint(key, picture.label, picture.background, 0)
        assert torch.equal(loaded.pixels[place].permute(1, 2, 0), torch.from_numpy(original))
        assert (loaded.labels[place], loaded.groups[place]) == (picture.label, picture.background)
    with pytest.raises(ValueError, match=r"1 of 2 ids are not in .*; the first is nowhere"):
        load([Examples(painted.table, "image_id", ("nowhere", painted.ids[0]))], 48, threads=1)


def test_epoch_batches_cover_all_images_evenly():
    torch.manual_seed(0)
    plan = train_loop._epoch_plan(10, 11, 4)
    assert [len(batch) for batch in plan] == [4, 4, 3]
    indices = torch.cat(plan).tolist()
    assert sorted(set(indices)) == list(range(10))
    assert len(indices) == 11


def test_class_weights_are_inverse_frequencies_up_to_one():
    assert train_loop.class_weights(torch.tensor([10, 40, 20])).tolist() == pytest.approx([1, 0.25, 0.5])
    assert train_loop.class_weights(torch.tensor([0, 4, 2])).tolist() == pytest.approx([0, 0.5, 1])


def test_the_loss_is_torchs_for_hard_labels():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.tensor([1.0, 0.3, 0.6])
    ours = train_loop.weighted_cross_entropy(logits, functional.one_hot(labels, 3).float(), weights)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, labels, weight=weights))


def test_the_learning_rate_falls_along_half_a_cosine():
    assert [train_loop.cosine(step, 4, 0.1) for step in range(5)] == pytest.approx(
        [0.1, 0.05 * (1 + math.sqrt(0.5)), 0.05, 0.05 * (1 - math.sqrt(0.5)), 0.0]
    )
