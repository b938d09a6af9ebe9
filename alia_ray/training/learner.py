"""What is trained: a model, its optimiser and its scaler; how its state is kept, and is the same in every worker.

Only the first worker reads the run folder. Another may see it as it was a minute ago (NFS trusts a directory it
has listed for up to a minute), go on from another epoch, and nothing would fail: the shapes agree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
import torch.distributed
from ray.train.torch import prepare_model

from alia_ray.cluster.devices import worker_device
from alia_ray.config import Train
from alia_ray.models.classifier import build_classifier
from alia_ray.store.run_folder import RunFolder
from alia_ray.training.checkpoints import resumable_state, save_checkpoint, tensors_after

_MODEL, _MOMENTUM = "model.", "momentum."  # prefixes of the tensors' names
_BUFFER = "momentum_buffer"  # what torch's SGD calls it

History = list[dict[str, Any]]
"""The records of a training's epochs."""


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


def new_learner(settings: Train, num_classes: int, weights: bytes) -> Learner:
    """A learner on this worker's device that starts from `weights`, as safetensors."""
    device = worker_device()
    model = build_classifier(settings.architecture, "none", num_classes)
    model.load_state_dict(safetensors.torch.load(weights))
    model = prepare_model(model.to(memory_format=torch.channels_last))
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    needs_scaling = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return Learner(model, optimiser, torch.amp.GradScaler(device.type, enabled=needs_scaling), device)


def save(learner: Learner, folder: RunFolder, history: History, score: str) -> None:
    """Checkpoint the state after the last epoch of `history`, of which `score` tells the best."""
    tensors = {_MODEL + name: value for name, value in learner.bare.state_dict().items()}
    for name, parameter in learner.bare.named_parameters():
        if learner.optimiser.state[parameter].get(_BUFFER) is not None:
            tensors[_MOMENTUM + name] = learner.optimiser.state[parameter][_BUFFER]
    save_checkpoint(folder, tensors, {"history": history, "scaler": learner.scaler.state_dict()}, score)


def restore(learner: Learner, folder: RunFolder) -> tuple[int, History]:
    """Put the learners of all workers into the state of the last checkpoint that the first worker sees.

    Returns how many epochs are done, and their records, which only the first worker needs and gets.
    """
    history = _read(learner, folder) if is_first() else []
    done = first_decides(lambda: len(history), learner.device)
    if done:
        _copy_from_first(learner)
    return done, history


def model_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's part of a checkpoint's tensors, as its state dict."""
    return {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}


def is_first() -> bool:
    """Whether this worker is the one that decides, and writes."""
    return torch.distributed.get_rank() == 0


def first_decides(read: Callable[[], int], device: torch.device) -> int:
    """What the first worker reads, told to all; the others do not look."""
    value = torch.tensor(read() if is_first() else 0, dtype=torch.int64, device=device)
    torch.distributed.broadcast(value, src=0)
    return int(value)


def over_workers(values: torch.Tensor) -> torch.Tensor:
    """The sum of every worker's values, each on its worker's device."""
    torch.distributed.all_reduce(values)
    return values


def _read(learner: Learner, folder: RunFolder) -> History:
    """Load the last checkpoint, if any. Returns the history so far."""
    state = resumable_state(folder)
    if state is None:
        return []
    tensors = tensors_after(folder, len(state["history"]))
    learner.bare.load_state_dict(model_weights(tensors))
    for name, parameter in learner.bare.named_parameters():
        if _MOMENTUM + name in tensors:
            momentum = torch.empty_like(parameter).copy_(tensors[_MOMENTUM + name])
            learner.optimiser.state[parameter][_BUFFER] = momentum
    if learner.scaler.is_enabled() and state["scaler"]:  # none was needed on the card that it was saved on
        learner.scaler.load_state_dict(state["scaler"])
    return state["history"]


@torch.no_grad()
def _copy_from_first(learner: Learner) -> None:
    """Give every worker the first one's weights, momentum and scale."""
    for value in learner.bare.state_dict().values():
        _take_from_first(value)
    parameters, state = list(learner.bare.parameters()), learner.optimiser.state
    has_momentum = torch.tensor([_BUFFER in state[each] for each in parameters], device=learner.device).int()
    torch.distributed.broadcast(has_momentum, src=0)
    for parameter, is_there in zip(parameters, has_momentum.tolist(), strict=True):
        if is_there:
            _take_from_first(state[parameter].setdefault(_BUFFER, torch.zeros_like(parameter)))
    if learner.scaler.is_enabled():
        known = learner.scaler.state_dict()  # of which only these two change
        values = [known["scale"], known["_growth_tracker"]]
        changing = torch.tensor(values, dtype=torch.float64, device=learner.device)
        torch.distributed.broadcast(changing, src=0)
        scale, tracker = changing.tolist()
        learner.scaler.load_state_dict({**known, "scale": scale, "_growth_tracker": int(tracker)})


def _take_from_first(value: torch.Tensor) -> None:
    """Put the first worker's values into a tensor, however it lies in memory."""
    values = value.contiguous()
    torch.distributed.broadcast(values, src=0)
    value.copy_(values)
