"""What the benchmarks of models share: time and the device's peak."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from alia_ray.models.loading import pick_dtype

Batch = Callable[[], object]
"""Runs one batch."""
WARM_UPS = 2  # the first compiles and picks kernels, the second allocates what it will keep


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


@dataclass(frozen=True)
class Loop:
    """A way to get `images` images done, so many in a batch."""

    name: str
    batch: int
    run: Batch
    images: int


def compare(loops: list[Loop], device: torch.device, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Time the loops, of which the first is the one of one image a call, and print them as a table.

    Returns {"device", "peak_tflops", "rows", "ratios": {"vs_one_image_loop"}}, the ratio being that of the best
    other loop. The arithmetic of an image is counted by torch, and set against the matrix products that the device
    did in `dtype` in the same run: the floor under any tuning.
    """
    peak = matmul_flops(device, dtype)
    print(f"{name_of(device)}: {peak / 1e12:.3g} TFLOP/s in matrix products of {dtype}")
    print("| loop | batch | images/s | TFLOP an image | share of matrix products |\n|---|---|---|---|---|")
    rows = [_measured(loop, device, peak, repeats) for loop in loops]
    best = max(row["images_per_second"] for row in rows[1:])
    ratios = {"vs_one_image_loop": best / rows[0]["images_per_second"]}
    print(f"vs_one_image_loop {ratios['vs_one_image_loop']:.2f}")
    return {"device": name_of(device), "peak_tflops": peak / 1e12, "rows": rows, "ratios": ratios}


def _measured(loop: Loop, device: torch.device, peak: float, repeats: int) -> dict[str, Any]:
    """A row, and its line of the table."""
    time_of(loop.run, device, WARM_UPS)
    seconds = time_of(loop.run, device, repeats)
    flops = flops_of(loop.run)
    row = {
        "loop": loop.name,
        "batch": loop.batch,
        "images_per_second": loop.images / seconds,
        "tflop_per_image": flops / loop.images / 1e12,
        "share_of_peak": flops / seconds / peak,
    }
    print(
        f"| {loop.name} | {loop.batch} | {row['images_per_second']:.3g} | {row['tflop_per_image']:.3g} | "
        f"{100 * row['share_of_peak']:.0f} % |",
        flush=True,
    )
    return row


def flops_of(run: Batch) -> int:
    """The floating-point operations of matrix products, convolutions and attention, as torch counts them.

    Counted last: what is first called under the counter is never compiled. Attention is done in matrix products
    meanwhile, for torch counts none in its fused kernels on a CPU; what was compiled runs as it is written.
    """
    counter = FlopCounterMode(display=False)
    with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return counter.get_total_flops()


def graphs_compiled() -> int:
    """How many graphs `torch.compile` has compiled in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def name_of(device: torch.device) -> str:
    """What the figures were measured on."""
    return torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
