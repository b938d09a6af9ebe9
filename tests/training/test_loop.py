"""The arithmetic of training: batches, weights, losses, learning rates, and the validation metrics."""

import math

import pytest
import torch
from torch.nn import functional

from alia_ray.models.classifier import build_classifier
from alia_ray.store.run_folder import RunFolder
from alia_ray.training import loop
from alia_ray.training.checkpoints import best_epoch, save_checkpoint
from alia_ray.training.evaluation import summarise
from alia_ray.training.placing import Images


def test_epoch_batches_cover_all_images_evenly():
    torch.manual_seed(0)
    plan = loop._epoch_plan(10, 11, 4)
    assert [len(batch) for batch in plan] == [4, 4, 3]
    indices = torch.cat(plan).tolist()
    assert sorted(set(indices)) == list(range(10))
    assert len(indices) == 11


def test_class_weights_are_inverse_frequencies_up_to_one():
    assert loop.class_weights(torch.tensor([10, 40, 20])).tolist() == pytest.approx([1, 0.25, 0.5])
    assert loop.class_weights(torch.tensor([0, 4, 2])).tolist() == pytest.approx([0, 0.5, 1])


def test_the_loss_is_torchs_for_hard_labels():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(8, 3), torch.randint(0, 3, (8,)), torch.tensor([1.0, 0.3, 0.6])
    ours = loop.weighted_cross_entropy(logits, functional.one_hot(labels, 3).float(), weights)
    torch.testing.assert_close(ours, functional.cross_entropy(logits, labels, weight=weights))


def test_the_learning_rate_falls_along_half_a_cosine():
    assert [loop.cosine(step, 4, 0.1) for step in range(5)] == pytest.approx(
        [0.1, 0.05 * (1 + math.sqrt(0.5)), 0.05, 0.05 * (1 - math.sqrt(0.5)), 0.0]
    )


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_gradient_of_a_batch_s_parts_is_that_of_the_batch(parts):
    """Nine images of a common class for each of a rare one, whose parts hold more or less of the rare one."""
    torch.manual_seed(0)
    images, labels = torch.randn(32, 10), (torch.arange(32) % 10 == 0).long()
    targets, weights = functional.one_hot(labels, 2).float(), loop.class_weights(torch.tensor([9, 1]))
    model = torch.nn.Linear(10, 2)

    def gradient(part: slice, over: torch.Tensor | None) -> torch.Tensor:
        loss = loop.weighted_cross_entropy(model(images[part]), targets[part], weights, over)
        return torch.autograd.grad(loss, model.weight)[0]

    shares = [slice(rank, None, parts) for rank in range(parts)]
    of_all = sum(loop.weight_of(targets[part], weights) for part in shares)
    whole = gradient(slice(None), None)
    torch.testing.assert_close(sum(gradient(part, of_all / parts) for part in shares) / parts, whole)
    own = sum(gradient(part, None) for part in shares) / parts  # what each worker's own mean would give
    assert (own - whole).norm() > 0.05 * whole.norm()


def test_the_epoch_that_is_kept_is_the_best_by_the_metric_that_is_asked_for():
    history = [
        {"epoch": 1, "val_accuracy": 0.9, "val_macro_f1": 0.2},
        {"epoch": 2, "val_accuracy": 0.8, "val_macro_f1": 0.6},
        {"epoch": 3, "val_accuracy": 0.7, "val_macro_f1": 0.6},
    ]
    assert best_epoch(history, "val_accuracy") == 1
    assert best_epoch(history, "val_macro_f1") == 3


class Says(torch.nn.Module):
    """Says the class that is painted into each image."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 4).float()


def test_validation_measures_as_the_evaluation_does(monkeypatch):
    """Of four classes one has no image, and one is never said."""
    monkeypatch.setattr(loop.torch.distributed, "broadcast", lambda *args, **kwargs: None)
    labels, said = torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 3, 0, 1, 0])
    pixels = said.to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    model = torch.nn.parallel.DataParallel(Says())
    model.module.train()
    job = loop.Job(
        *("t", "t", (), (), tuple("abcd"), loop.config.Train(image_size=8, normalise=False), "none", 0, None)
    )
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    learner = loop.Learner(model, None, scaler, torch.device("cpu"))
    found = loop._validate(learner, Images(pixels, labels), job)
    names = [["abcd"[number] for number in numbers.tolist()] for numbers in (said, labels)]
    wanted = summarise(*names, [None] * 7, "abcd")
    assert found["val_accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["val_class_balanced_accuracy"] == pytest.approx(wanted["class_balanced_accuracy"])
    assert found["val_macro_f1"] == pytest.approx(wanted["macro_f1"])


def test_what_a_damaged_classifier_was_measured_to_give_is_not_that_of_the_next_in_its_folder(tmp_path):
    settings = loop.config.Train(architecture="shufflenet_v2_x0_5", image_size=32)
    job = loop.Job("t", str(tmp_path), (), (), ("a", "b"), settings, "none", 0, None)
    folder, model = RunFolder(str(tmp_path)), build_classifier(settings.architecture, "none", 2)
    record = {"epoch": 1, "seconds": 1.0, "images_per_second": 1.0, "val_class_balanced_accuracy": 0.5}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    save_checkpoint(folder, tensors, {"history": [record]}, job.score)
    for name in ("predictions.parquet", "metrics.json", "thresholds.json"):
        folder.write_json({}, name)
    loop._finish(job, folder, [record], 0.0, {})
    assert {path.name for path in tmp_path.iterdir()} == {"classifier.json", "model.safetensors", "history.json"}


@pytest.fixture
def alone(tmp_path):
    """A group of this process alone, as a single worker has it."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("rate", [0.1, 1e38])
def test_an_epoch_whose_last_step_ruins_the_weights_fails_although_its_loss_is_finite(alone, rate):
    settings = loop.config.Train(image_size=8, learning_rate=rate)
    job = loop.Job("t", "t", (), (), ("a", "b"), settings, "none", 0, None)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    with torch.no_grad():
        model[1].weight.mul_(1e3)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=10.0)
    learner = loop.Learner(model, optimiser, torch.amp.GradScaler("cpu", enabled=False), torch.device("cpu"))
    images = Images(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))

    def train_epoch() -> dict[str, float]:
        return loop._train_epoch(learner, images, (torch.arange(4),), 0, job, torch.ones(2))

    if rate < 1:
        assert math.isfinite(train_epoch()["loss"])
        return
    with pytest.raises(FloatingPointError, match="loss or weights of epoch 1 are not finite; lower"):
        train_epoch()


def test_an_epoch_that_ruins_only_running_statistics_fails(alone):
    """Activations whose variance no float holds: by the batch's own they become zeros, and the loss is fair."""
    settings = loop.config.Train(image_size=8, learning_rate=0.1)
    job = loop.Job("t", "t", (), (), ("a", "b"), settings, "none", 0, None)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(192, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    )
    with torch.no_grad():
        model[1].weight.mul_(1e25)
    optimiser = torch.optim.SGD(model[3].parameters(), lr=0.1)
    learner = loop.Learner(model, optimiser, torch.amp.GradScaler("cpu", enabled=False), torch.device("cpu"))
    images = Images(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(FloatingPointError, match="loss or weights of epoch 1 are not finite; lower"):
        loop._train_epoch(learner, images, (torch.arange(4),), 0, job, torch.ones(2))
    assert all(weights.isfinite().all() for weights in model.parameters())
    assert model(images.pixels.float()).isfinite().all()  # as in training
    assert not model[2].running_var.isfinite().all()
