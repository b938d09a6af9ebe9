"""What the benchmarks of models share: time, the device's peak, where figures go."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alia_ray.models.loading import pick_dtype

Batch = Callable[[], object]
"""Runs one batch."""


def time_of(batch: Batch, device: torch.device, repeats: int) -> float:
    """Mean seconds of a batch."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        batch()
    wait()
    return (time.perf_counter() - started) / repeats


def matmul_flops(device: torch.device, dtype: torch.dtype | None = None) -> float:
    """FLOP/s of a large matrix product, by default in the dtype that models get here: what tuning can reach."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device).to(dtype or pick_dtype("auto", device))
    time_of(lambda: a @ a, device, 3)
    return 2 * side**3 / time_of(lambda: a @ a, device, 20)


def name_of(device: torch.device) -> str:
    """What the figures were measured on."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def write(out: Path | None, result: dict[str, Any]) -> None:
    """The figures as JSON, where that was asked for."""
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n")
