"""What a run of N images costs beside its models: the driver's memory, the time of each stage, files.

    python benchmarks/scale.py --images 10000 --out scale.json

Small JPEGs in a Parquet dataset go through ingest, caption, discover, edit, select, export and report; captioner,
language model, editor and judge are simulated without any latency, and half of the edits survive. The base
classifier's thresholds are given: training is measured by train_throughput.py. Each size runs in a process of its
own, once more with everything done, and once more with one file of the edits table missing. The driver's memory
for each image is the slope between a tenth of the images and all of them: a process takes much before the first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import write
from PIL import Image

from alia_ray.cluster.joining import joined
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, parse_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.export.plan import plan_export, write_export
from alia_ray.images import encode
from alia_ray.llm.simulated import PLACES
from alia_ray.pipeline import run_caption, run_discovery, run_edit, run_ingest
from alia_ray.reporting import run_report
from alia_ray.results import made_before
from alia_ray.state import State
from alia_ray.training.evaluation import THRESHOLDS

PIXELS = 16  # of a side
ROWS_A_SHARD = 10_000
FIGURES = "figures.json"
TABLES = ("images", "captions", "edits", "errors")
GB = 2**30


def main() -> None:
    """Measure a tenth of the images and all of them; print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=8, help=f"at most {len(PLACES)}")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--once", type=Path, help="a folder to run this many images in, in this process")
    options = parser.parse_args()
    if options.once:
        write(options.once / FIGURES, measured(options.once, options.images, options.prompts))
        return
    few, whole = (in_processes(images, options.prompts) for images in (options.images // 10, options.images))
    more = whole["images"] - few["images"]
    figures = {
        **whole,
        "driver_rss_bytes_per_image": (whole["driver_peak_rss_gb"] - few["driver_peak_rss_gb"]) * GB / more,
        "ratios": {name: whole["seconds"][name] / few["seconds"][name] for name in whole["seconds"]},
    }
    print(as_text(figures))
    write(options.out, figures)


def in_processes(images: int, prompts: int) -> dict[str, Any]:
    """The figures of so many images: a run, one that finds everything done, and one that lacks a file of edits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--once", folder, "--images", str(images), "--prompts", str(prompts)]
        first, again = (read_after(command, Path(folder) / FIGURES) for _ in range(2))
        lost = lose_a_file(Path(folder))
        mended = read_after(command, Path(folder) / FIGURES)
    return {
        **first,
        "driver_peak_rss_gb": max(run["driver_peak_rss_gb"] for run in (first, again, mended)),
        "resume_seconds": sum(again["seconds"].values()),
        "one_file_missing": {"edits": lost, "made": mended["made"], "seconds": sum(mended["seconds"].values())},
    }


def lose_a_file(folder: Path) -> int:
    """Delete one file of the edits table; how many edits it held."""
    lost = min((folder / "run" / "edits").rglob("*.parquet"))
    rows = pq.read_metadata(lost).num_rows
    lost.unlink()
    return rows


def read_after(command: list[str], path: Path) -> dict[str, Any]:
    """The figures in a file that a command writes."""
    subprocess.run(command, check=True)
    return json.loads(path.read_text())


def measured(folder: Path, images: int, prompts: int) -> dict[str, Any]:
    """The figures of a run in `folder`, in this process."""
    if not (folder / "source").exists():
        paint(folder / "source", images)
    state = State(settings_of(folder / "source", str(folder / "run"), prompts))
    before = made_before(state, "edit")
    with joined(state.settings.run) as cluster:
        steps = steps_of(state, cluster, str(folder / "export"))
        seconds, peaks = {}, {}
        for name, step in steps.items():
            seconds[name], peaks[name] = time_of(step), peak_gb()
    files = {name: len(list((folder / "run" / name).rglob("*.parquet"))) for name in TABLES}
    made = made_before(state, "edit") - before
    return {
        "images": images,
        "driver_peak_rss_gb": peak_gb(),
        "peak_gb_by_stage": peaks,
        "seconds": seconds,
        "files": files,
        "made": made,
    }


def peak_gb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def steps_of(state: State, cluster: Cluster, out: str) -> dict[str, Callable[[], object]]:
    """The steps of a run, and an export to the path or URI `out`."""
    return {
        "ingest": lambda: run_ingest(state, cluster),
        "caption": lambda: run_caption(state, cluster),
        "discover": lambda: run_discovery(state, cluster),
        "edit": lambda: run_edit(with_thresholds(state), cluster),
        "select": lambda: state.selected(ARMS["alia"]),
        "export": lambda: write_export(plan_export(state, out, "parquet", "alia", False), cluster),
        "report": lambda: run_report(state),
    }


def time_of(step: Callable[[], object]) -> float:
    """Seconds that a step takes."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def paint(folder: Path, images: int, side: int = PIXELS) -> None:
    """A Parquet dataset of that many JPEGs of noise in two classes: one in ten is for validation, one for test."""
    folder.mkdir()
    random, coarse = np.random.default_rng(0), max(PIXELS, side // 8)
    for start in range(0, images, ROWS_A_SHARD):
        places = range(start, min(start + ROWS_A_SHARD, images))
        pixels = random.integers(0, 255, (len(places), coarse, coarse, 3), dtype=np.uint8)
        rows = {
            "image": [encode(Image.fromarray(each).resize((side, side)), "jpeg") for each in pixels],
            "label": [f"class {place % 2}" for place in places],
            "split": [("val", "test")[place % 10] if place % 10 < 2 else "train" for place in places],
        }
        pq.write_table(pa.table(rows), folder / f"{start:09d}.parquet", row_group_size=1000)


def settings_of(source: Path, run: str, prompts: int, side: int = PIXELS) -> Config:
    """A configuration whose models are simulated. run: the path or URI of the run folder; side: of the edits."""
    return parse_config(
        {
            "run": {"folder": run},
            "source": {"kind": "parquet", "path": str(source)},
            "caption": {"model": {"name": "simulated"}, "batch_size": 64},
            "llm": {"model": {"name": "simulated"}},
            "discover": {"max_domains": prompts},
            "edit": {"model": {"name": "simulated"}, "size": side, "format": "jpeg", "batch_size": 64},
            "judge": {"model": {"name": "simulated:acceptance=0.5"}, "filters": ["semantic"]},
            "train": {"arms": ["original", "alia"]},
        }
    )


def with_thresholds(state: State) -> State:
    """The state, whose base classifier has told its thresholds."""
    state.arm_folder(BASE).write_json(dict.fromkeys(state.classes, 0.5), THRESHOLDS)
    return state


def as_text(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [
        f"| {name} | {seconds:.1f} | {figures['ratios'][name]:.2f} |"
        for name, seconds in figures["seconds"].items()
    ]
    return "\n".join(
        [
            f"{figures['images']} images: the driver took {figures['driver_peak_rss_gb']:.2f} GB at its peak, "
            f"{figures['driver_rss_bytes_per_image']:.0f} bytes for each image more",
            f"everything done, run again: {figures['resume_seconds']:.1f} s",
            f"one file of edits missing: {figures['one_file_missing']}",
            f"files: {figures['files']}",
            "| stage | seconds | times those of a tenth |\n|---|---|---|",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
