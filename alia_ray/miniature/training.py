"""What the training scripts of the small models share: the optimiser's schedule, averaging, and a log."""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

WARM_UP_STEPS = 100


def seed_everything(seed: int) -> np.random.Generator:
    """Seed torch and return the NumPy generator that every draw of the script comes from."""
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def fit(
    model: torch.nn.Module,
    loss_of_batch: Callable[[], torch.Tensor],
    steps: int,
    peak_lr: float,
    average: float = 0.999,
    weight_decay: float = 0.01,
    log_every: int = 200,
) -> torch.nn.Module:
    """Train `model` for a fixed number of steps: AdamW, linear warm-up, cosine to zero, averaged weights.

    `loss_of_batch` draws a batch and returns its loss. Returns the exponential moving average of the model.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(average), use_buffers=True)
    for step, report in _counted(steps, log_every):
        loss = loss_of_batch()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step >= WARM_UP_STEPS:
            averaged.update_parameters(model)
        report(loss.item())
    return averaged.module.eval()


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def _counted(steps: int, log_every: int) -> Iterator[tuple[int, Callable[[float], None]]]:
    started, losses = time.perf_counter(), []

    def report(loss: float) -> None:
        losses.append(loss)
        if len(losses) % log_every == 0 or len(losses) == steps:
            rate = len(losses) / (time.perf_counter() - started)
            recent = float(np.mean(losses[-log_every:]))
            left = (steps - len(losses)) / rate / 60
            print(
                f"step {len(losses)}/{steps}  loss {recent:.4f}  {rate:.2f} steps/s  {left:.1f} min left",
                flush=True,
            )

    for step in range(steps):
        yield step, report
