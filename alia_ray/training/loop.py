"""What the workers of a lane do, when Ray Train has started them: train one job after the other.

Everything random in an epoch comes from a seed of (run seed, epoch, rank), and an epoch ends in a checkpoint, so
a training that was interrupted goes on as the uninterrupted one would have. A step's loss is the mean over the
whole batch, however many workers share it; docs/experiment.md says what their number does change.
"""

import logging
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import safetensors.torch
import torch
import torch.distributed
from torch.nn import functional
from torchmetrics.classification import MulticlassConfusionMatrix

from alia_ray import config
from alia_ray.cluster.devices import worker_device
from alia_ray.config.arms import Augment
from alia_ray.models.classifier import build_classifier, prepare, save_classifier
from alia_ray.progress import inform
from alia_ray.store.run_folder import HISTORY, METRICS, PREDICTIONS, RunFolder
from alia_ray.store.tables import seed_of
from alia_ray.store.writing import delete
from alia_ray.training.augmentation import augmentation
from alia_ray.training.checkpoints import best_epoch, drop_checkpoints, tensors_after
from alia_ray.training.evaluation import THRESHOLDS
from alia_ray.training.examples import Examples, class_indices, count, load, shard
from alia_ray.training.learner import (
    Learner,
    first_decides,
    is_first,
    model_weights,
    new_learner,
    over_workers,
    restore,
    save,
)
from alia_ray.training.placing import Images, placed
from alia_ray.training.trackers import tracking


@dataclass(frozen=True)
class Job:
    """One training, as every worker gets it."""

    name: str  # for the person
    out: str  # the training's folder
    train: tuple[Examples, ...]
    val: tuple[Examples, ...]
    classes: tuple[str, ...]
    settings: config.Train
    augment: Augment
    seed: int
    weights: ray.ObjectRef  # of the first weights, as safetensors
    images_on_gpu: bool = True  # where they fit
    stream: bool = False  # decoded images from the disk; else they lie in memory
    logs: str = ""  # the folder of what trackers write; an empty text: `out`

    @property
    def score(self) -> str:
        """What the record of an epoch calls the metric that chooses one."""
        return f"val_{self.settings.select_by}"


def run(arguments: dict[str, list[ray.ObjectRef]]) -> None:
    """Train under Ray Train: `arguments["jobs"]` refer to `Job`s. What is finished already is passed over."""
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every print once more
    for reference in arguments["jobs"]:
        job: Job = ray.get(reference)
        if not first_decides(lambda job=job: RunFolder(job.out).has_file(HISTORY), worker_device()):
            train(job)


def train(job: Job) -> None:
    """Train one job to its end, from its last checkpoint on."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(max(1, int(job.settings.cpus_per_worker)))
    torch.cuda.empty_cache()  # of the job before: `placed` looks at what is free
    folder, learner = RunFolder(job.out), new_learner(job.settings, len(job.classes), ray.get(job.weights))
    done, history = restore(learner, folder)
    began = time.perf_counter()
    images, val = (_load(job, shard(split, rank, world, job.seed)) for split in (job.train, job.val))
    load_seconds = time.perf_counter() - began
    of_class = torch.bincount(images.labels, minlength=len(job.classes)).to(learner.device)
    weights = class_weights(over_workers(of_class))
    padded = -(-count(job.train) // world)
    settings = job.settings.model_dump(mode="json", exclude={"arms", "trackers"})
    telling = (job.out, job.logs, job.name, settings, job.settings.trackers, history)
    with tracking(*telling) if is_first() else nullcontext() as tracked:
        for epoch in range(done, job.settings.epochs):
            torch.manual_seed(seed_of("train", str(job.seed), str(epoch), str(rank)))
            plan = _epoch_plan(len(images.labels), padded, job.settings.batch_size // world)
            record = {
                "epoch": epoch + 1,
                "workers": world,
                **_train_epoch(learner, images, plan, epoch, job, weights),
                **_validate(learner, val, job),
            }
            history.append(record)
            if tracked is not None:
                save(learner, folder, history, job.score)
                tracked.log(record)
                inform(_line(job, record))
            if epoch == done and job.images_on_gpu:
                images, val = placed((images, val), learner.device)
    if is_first():
        _finish(job, folder, history, load_seconds, tracked.failed)


def class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Inverse class frequencies, the largest 1 (paper, section 4). counts: (C,). Returns float32 (C,).

    A class without images, whose weight nothing uses, gets 0.
    """
    counts = counts.double()
    return torch.where(counts > 0, counts[counts > 0].min() / counts, 0).float()


def weighted_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, over: torch.Tensor | None = None
) -> torch.Tensor:
    """Class-weighted mean cross-entropy, as torch's for hard labels, but with the same scale for mixed ones.

    logits, targets: float (N, C), the targets' rows adding up to 1; weights: float (C,). over: what the sum is
    divided by, in place of this batch's own weight. Of a batch that is shared out it is the mean of its parts'
    `weight_of`: the mean of the parts' gradients, which is what workers take, is then that of the whole batch.
    """
    losses = -(targets * weights * functional.log_softmax(logits.float(), dim=1)).sum()
    return losses / (weight_of(targets, weights) if over is None else over)


def weight_of(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """How much a batch counts. targets: float (N, C); weights: float (C,). Returns a scalar."""
    return (targets * weights).sum()


def cosine(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: half a cosine from `peak` to 0 over `steps` steps."""
    return peak * 0.5 * (1 + math.cos(math.pi * step / steps))


def _load(job: Job, examples: list[Examples]) -> Images:
    """A worker's images, in main memory or on its node's disk."""
    threads = max(1, int(job.settings.cpus_per_worker))
    loaded = load(examples, job.settings.pixels, threads, on_disk=job.stream)
    labels = torch.from_numpy(class_indices(loaded.labels, job.classes))
    return Images(loaded.pixels, labels)


def _epoch_plan(count: int, padded: int, batch_size: int) -> tuple[torch.Tensor, ...]:
    """The batches of an epoch: a permutation of `count` indices, one repeated where a worker has one fewer than
    the others, in as few batches of at most `batch_size` as will do, their sizes differing by at most one.
    """
    order = torch.randperm(count)
    return torch.cat([order, order[: padded - count]]).tensor_split(-(-padded // batch_size))


def _train_epoch(
    learner: Learner,
    images: Images,
    plan: tuple[torch.Tensor, ...],
    epoch: int,
    job: Job,
    weights: torch.Tensor,
) -> dict[str, float]:
    """Train over the batches of `plan`. Returns the epoch's numbers, over all workers; seconds are wall time."""
    settings, num_classes = job.settings, len(job.classes)
    augment = augmentation(job.augment, num_classes, settings)
    learner.model.train()
    total = torch.zeros(2, dtype=torch.float64, device=learner.device)  # loss × images, images
    started, preparing = time.perf_counter(), 0.0
    batches = images.batches(plan)
    for number in range(len(plan)):
        learner.optimiser.param_groups[0]["lr"] = cosine(
            epoch * len(plan) + number, settings.epochs * len(plan), settings.learning_rate
        )
        began = time.perf_counter()
        pixels, labels = next(batches)
        pixels, targets = augment(pixels.to(learner.device), labels.to(learner.device))
        preparing += time.perf_counter() - began
        with learner.autocast():
            logits = learner.model(pixels)
        weight = over_workers(weight_of(targets, weights)) / torch.distributed.get_world_size()
        loss = weighted_cross_entropy(logits, targets, weights, over=weight)
        learner.optimiser.zero_grad(set_to_none=True)
        learner.scaler.scale(loss).backward()
        learner.scaler.step(learner.optimiser)
        learner.scaler.update()
        total += torch.stack([loss.detach().double() * len(labels), total.new_tensor(len(labels))])
    loss_sum, count = over_workers(total).tolist()
    seconds = time.perf_counter() - started
    state = learner.bare.state_dict().values()  # the running statistics too, which no loss sees
    if not math.isfinite(loss_sum) or not all(each.isfinite().all() for each in state):
        raise FloatingPointError(f"loss or weights of epoch {epoch + 1} are not finite; lower train.learning_rate")
    return {
        "loss": loss_sum / count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "input_share": preparing / seconds,  # of the host; on a GPU the most that the device can have waited
    }


@torch.inference_mode()
def _validate(learner: Learner, images: Images, job: Job) -> dict[str, float]:
    """The metrics that can choose an epoch, over the validation images of all workers; as `summarise` has them."""
    model = learner.bare.eval()  # bare: workers may have different numbers of batches here
    for buffer in model.buffers():  # the running statistics that the checkpoint will hold are those of rank 0
        torch.distributed.broadcast(buffer, src=0)
    confusion = MulticlassConfusionMatrix(len(job.classes)).to(learner.device)
    for pixels, labels in images.batches(torch.arange(len(images.labels)).split(256)):
        pixels, labels = pixels.to(learner.device), labels.to(learner.device)
        with learner.autocast():
            confusion.update(model(prepare(pixels.float() / 255, job.settings.pixels)), labels)
    counts = confusion.compute().double()  # of all workers; rows: labels, columns: predictions
    right, labelled, predicted = counts.diag(), counts.sum(dim=1), counts.sum(dim=0)
    present = labelled > 0
    return {
        "val_accuracy": (right.sum() / labelled.sum()).item(),
        "val_class_balanced_accuracy": (right[present] / labelled[present]).mean().item(),
        "val_macro_f1": (2 * right[present] / (labelled + predicted)[present]).mean().item(),
    }


def _finish(
    job: Job, folder: RunFolder, epochs: list[dict[str, Any]], load_seconds: float, untracked: dict[str, str]
) -> None:
    """Save the best epoch as the classifier, then the history, and drop the checkpoints.

    What a classifier that was here before had been measured to give is not this one's, and goes first.
    """
    for name in (PREDICTIONS, METRICS, THRESHOLDS):
        delete(folder.fs, folder.file(name))
    best = best_epoch(epochs, job.score)
    model = build_classifier(job.settings.architecture, "none", len(job.classes))
    model.load_state_dict(model_weights(tensors_after(folder, best)))
    save_classifier(job.out, model, list(job.classes), job.settings.architecture, job.settings.pixels)
    seconds = sum(record["seconds"] for record in epochs)
    images = sum(record["seconds"] * record["images_per_second"] for record in epochs)
    history = {
        "name": job.name,
        "architecture": job.settings.architecture,
        "augment": job.augment,
        "seed": job.seed,
        "workers": job.settings.workers,
        "loading": "stream" if job.stream else "memory",
        "train_images": count(job.train),
        "val_images": count(job.val),
        "best_epoch": best,
        "select_by": job.settings.select_by,
        "val_class_balanced_accuracy": epochs[best - 1]["val_class_balanced_accuracy"],
        "load_seconds": load_seconds,
        "seconds": seconds,
        "images_per_second": images / seconds,
        "epochs": epochs,
        **({"untracked": untracked} if untracked else {}),
    }
    folder.write_json(history, HISTORY)
    drop_checkpoints(folder)


def first_weights(settings: config.Train, num_classes: int, seed: int) -> bytes:
    """The weights that training starts from, as safetensors. Raises what `build_classifier` does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("weights", str(seed)))
        model = build_classifier(settings.architecture, settings.weights, num_classes)
    return safetensors.torch.save(model.state_dict())


def _line(job: Job, record: dict[str, Any]) -> str:
    left = (job.settings.epochs - record["epoch"]) * record["seconds"] / 60
    return (
        f"train {job.name}: epoch {record['epoch']}/{job.settings.epochs}  loss {record['loss']:.4f}  "
        f"val {record[job.score]:.3f}  {record['images_per_second']:.0f} images/s  {left:.1f} min left"
    )
