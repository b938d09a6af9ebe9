"""What the workers of a lane do: train one job after the other. Ray Train starts them, and again if one is lost.

Everything random in an epoch comes from a seed of (run seed, epoch, rank), and an epoch ends in a checkpoint, so
a training that was interrupted goes on as the uninterrupted one would have.
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
from ray.train.torch import prepare_model
from torch.nn import functional
from torchmetrics.classification import MulticlassConfusionMatrix

from alia_ray import config
from alia_ray.cluster.devices import worker_device
from alia_ray.config.arms import Augment
from alia_ray.models.classifier import build_classifier, prepare, save_classifier
from alia_ray.progress import say
from alia_ray.store.run_folder import HISTORY, RunFolder
from alia_ray.store.tables import seed_of
from alia_ray.training.augmentation import augmentation
from alia_ray.training.checkpoints import (
    SCORE,
    best_epoch,
    drop_checkpoints,
    last_state,
    save_checkpoint,
    tensors_after,
)
from alia_ray.training.examples import Examples, class_indices, count, load, shard
from alia_ray.training.trackers import tracking

_MODEL, _MOMENTUM = "model.", "momentum."  # prefixes of the tensors' names
_SHARE_OF_GPU = 0.5  # how much of a GPU's free memory the decoded images may take


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


@dataclass(frozen=True)
class Images:
    """A worker's part of a split, in memory."""

    pixels: torch.Tensor  # uint8 (N, 3, S, S)
    labels: torch.Tensor  # int64 (N,), on the pixels' device


@dataclass(frozen=True)
class Learner:
    """What is trained, and what a checkpoint holds."""

    model: torch.nn.Module  # in DistributedDataParallel where there are several workers
    optimiser: torch.optim.SGD
    scaler: torch.amp.GradScaler
    device: torch.device

    @property
    def bare(self) -> torch.nn.Module:
        """The model itself."""
        return getattr(self.model, "module", self.model)

    def autocast(self) -> torch.autocast:
        """Half precision on a GPU, nothing on a CPU."""
        dtype = torch.float16 if self.scaler.is_enabled() else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.device.type == "cuda")


def run(arguments: dict[str, list[ray.ObjectRef]]) -> None:
    """Train under Ray Train: `arguments["jobs"]` refer to `Job`s. What is finished already is passed over."""
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train logs every print once more
    for reference in arguments["jobs"]:
        job: Job = ray.get(reference)
        if RunFolder(job.out).read_json(HISTORY) is None:
            train(job)


def train(job: Job) -> None:
    """Train one job to its end, from its last checkpoint on."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(max(1, int(job.settings.cpus_per_worker)))
    folder, learner = RunFolder(job.out), _learner(job)
    began = time.perf_counter()
    images = _load(job, shard(job.train, rank, world, job.seed), learner.device)
    val = _load(job, shard(job.val, rank, world, job.seed), learner.device)
    load_seconds = time.perf_counter() - began
    of_class = torch.bincount(images.labels, minlength=len(job.classes)).to(learner.device)
    weights = class_weights(_over_workers(of_class))
    padded = -(-count(job.train) // world)
    history = _restore(learner, folder)
    settings = job.settings.model_dump(exclude={"arms", "trackers"})
    first = tracking(job.out, job.name, settings, job.settings.trackers) if rank == 0 else nullcontext()
    with first as log:
        for epoch in range(len(history), job.settings.epochs):
            torch.manual_seed(seed_of("train", str(job.seed), str(epoch), str(rank)))
            plan = _epoch_plan(len(images.labels), padded, job.settings.batch_size // world)
            record = {
                "epoch": epoch + 1,
                **_train_epoch(learner, images, plan, epoch, job, weights),
                **_validate(learner, val, job),
            }
            history.append(record)
            if log is not None:
                _save(learner, folder, history)
                log(record)
                say(_line(job, record))
    if rank == 0:
        _finish(job, folder, history, load_seconds)


def class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Inverse class frequencies, the largest 1 (paper, section 4). counts: (C,). Returns float32 (C,).

    A class without images, whose weight nothing uses, gets 0.
    """
    counts = counts.double()
    return torch.where(counts > 0, counts[counts > 0].min() / counts, 0).float()


def weighted_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Class-weighted mean cross-entropy, as torch's for hard labels, but with the same scale for mixed ones.

    logits, targets: float (N, C), the targets' rows adding up to 1; weights: float (C,).
    """
    weighted = targets * weights
    return -(weighted * functional.log_softmax(logits.float(), dim=1)).sum() / weighted.sum()


def cosine(step: int, steps: int, peak: float) -> float:
    """The learning rate of a step: half a cosine from `peak` to 0 over `steps` steps."""
    return peak * 0.5 * (1 + math.cos(math.pi * step / steps))


def _learner(job: Job) -> Learner:
    device = worker_device()
    model = build_classifier(job.settings.architecture, "none", len(job.classes))
    model.load_state_dict(safetensors.torch.load(ray.get(job.weights)))
    model = prepare_model(model.to(memory_format=torch.channels_last))
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=job.settings.learning_rate,
        momentum=job.settings.momentum,
        weight_decay=job.settings.weight_decay,
    )
    needs_scaling = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return Learner(model, optimiser, torch.amp.GradScaler(device.type, enabled=needs_scaling), device)


def _load(job: Job, examples: list[Examples], device: torch.device) -> Images:
    """A worker's images: on its GPU where they fit well, else in main memory."""
    loaded = load(examples, job.settings.pixels, max(1, int(job.settings.cpus_per_worker)))
    labels = torch.tensor(class_indices(loaded.labels, job.classes), dtype=torch.int64)
    if device.type == "cuda" and loaded.pixels.nbytes < _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]:
        return Images(loaded.pixels.to(device), labels.to(device))
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
    augment = augmentation(job.augment, num_classes, settings.pixels)
    learner.model.train()
    total = torch.zeros(2, dtype=torch.float64, device=learner.device)  # loss × images, images
    started, preparing = time.perf_counter(), 0.0
    for number, indices in enumerate(plan):
        learner.optimiser.param_groups[0]["lr"] = cosine(
            epoch * len(plan) + number, settings.epochs * len(plan), settings.learning_rate
        )
        began = time.perf_counter()
        indices = indices.to(images.labels.device)
        pixels, targets = augment(
            images.pixels[indices].to(learner.device), images.labels[indices].to(learner.device)
        )
        preparing += time.perf_counter() - began
        with learner.autocast():
            logits = learner.model(pixels)
        loss = weighted_cross_entropy(logits, targets, weights)
        learner.optimiser.zero_grad(set_to_none=True)
        learner.scaler.scale(loss).backward()
        learner.scaler.step(learner.optimiser)
        learner.scaler.update()
        total += torch.stack([loss.detach().double() * len(indices), total.new_tensor(len(indices))])
    loss_sum, count = _over_workers(total).tolist()
    seconds = time.perf_counter() - started
    if not math.isfinite(loss_sum):
        raise FloatingPointError(f"train: the loss of epoch {epoch + 1} is not finite; lower train.learning_rate")
    return {
        "loss": loss_sum / count,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "input_share": preparing / seconds,  # of the host; on a GPU the most that the device can have waited
    }


@torch.inference_mode()
def _validate(learner: Learner, images: Images, job: Job) -> dict[str, float]:
    """Accuracy over the validation images of all workers."""
    model = learner.bare.eval()  # bare: workers may have different numbers of batches here
    for buffer in model.buffers():  # the running statistics that the checkpoint will hold are those of rank 0
        torch.distributed.broadcast(buffer, src=0)
    confusion = MulticlassConfusionMatrix(len(job.classes)).to(learner.device)
    for pixels, labels in zip(images.pixels.split(256), images.labels.split(256), strict=True):
        pixels, labels = pixels.to(learner.device), labels.to(learner.device)
        with learner.autocast():
            confusion.update(model(prepare(pixels.float() / 255, job.settings.pixels)), labels)
    counts = confusion.compute().double()  # of all workers; rows: labels, columns: predictions
    right, per_class = counts.diag(), counts.sum(dim=1)
    present = per_class > 0
    return {
        "val_accuracy": (right.sum() / per_class.sum()).item(),
        SCORE: (right[present] / per_class[present]).mean().item(),
    }


def _over_workers(values: torch.Tensor) -> torch.Tensor:
    """The sum of every worker's values, each on its worker's device."""
    torch.distributed.all_reduce(values)
    return values


def _save(learner: Learner, folder: RunFolder, history: list[dict[str, Any]]) -> None:
    """Checkpoint the state after the last epoch of `history`."""
    tensors = {_MODEL + name: value for name, value in learner.bare.state_dict().items()}
    for name, parameter in learner.bare.named_parameters():
        if learner.optimiser.state[parameter].get("momentum_buffer") is not None:
            tensors[_MOMENTUM + name] = learner.optimiser.state[parameter]["momentum_buffer"]
    save_checkpoint(folder, tensors, {"history": history, "scaler": learner.scaler.state_dict()})


def _restore(learner: Learner, folder: RunFolder) -> list[dict[str, Any]]:
    """Put the learner into the state of the last checkpoint, if any. Returns the history so far."""
    state = last_state(folder)
    if state is None:
        return []
    tensors = tensors_after(folder, len(state["history"]))
    learner.bare.load_state_dict(_model_weights(tensors))
    for name, parameter in learner.bare.named_parameters():
        if _MOMENTUM + name in tensors:
            momentum = torch.empty_like(parameter).copy_(tensors[_MOMENTUM + name])
            learner.optimiser.state[parameter]["momentum_buffer"] = momentum
    if learner.scaler.is_enabled():
        learner.scaler.load_state_dict(state["scaler"])
    return state["history"]


def _finish(job: Job, folder: RunFolder, epochs: list[dict[str, Any]], load_seconds: float) -> None:
    """Save the best epoch as the classifier, then the history, and drop the checkpoints."""
    best = best_epoch(epochs)
    model = build_classifier(job.settings.architecture, "none", len(job.classes))
    model.load_state_dict(_model_weights(tensors_after(folder, best)))
    save_classifier(job.out, model, list(job.classes), job.settings.architecture, job.settings.pixels)
    seconds = sum(record["seconds"] for record in epochs)
    images = sum(record["seconds"] * record["images_per_second"] for record in epochs)
    history = {
        "name": job.name,
        "architecture": job.settings.architecture,
        "augment": job.augment,
        "seed": job.seed,
        "workers": job.settings.workers,
        "train_images": count(job.train),
        "val_images": count(job.val),
        "best_epoch": best,
        SCORE: epochs[best - 1][SCORE],
        "load_seconds": load_seconds,
        "seconds": seconds,
        "images_per_second": images / seconds,
        "epochs": epochs,
    }
    folder.write_json(history, HISTORY)
    drop_checkpoints(folder)


def _model_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's part of a checkpoint's tensors, as its state dict."""
    return {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}


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
        f"val {record[SCORE]:.3f}  {record['images_per_second']:.0f} images/s  {left:.1f} min left"
    )
