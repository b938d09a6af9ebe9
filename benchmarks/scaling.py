"""How the edit stage scales: edits a second on 1 to 64 simulated GPUs, of a Ray cluster of several nodes here.

    python benchmarks/scaling.py --out scaling.json
    python benchmarks/scaling.py --pixels --gpus 1 2 4 8 16 --out scaling_pixels.json

Every training image, a JPEG of 512² pixels, is edited under two prompts, in batches of 16 that take two seconds;
every edit is kept, and written as a JPEG. GPUs are Ray's logical ones, and models are simulated. The rest is what
a run does: reading the pictures, the attempts of each image, rows and verdicts, blocks between processes, commits.

What a worker does with pixels, the CPUs of its node do on a real cluster, some for each GPU: with `--pixels` it is
done here too. It takes some 20 ms an edit, so that a few GPUs keep two cores busy. Without it a worker sleeps
through its batches, and hands on one picture that was encoded once: as many bytes, with the edit's id behind them.

Each worker writes down when each of its batches began and ended. The steady state lasts from when the last worker
has ended its first batch, in which it starts up, until the first one ends its last; a batch that lies partly in it
counts in part. Efficiency is the rate there against that of one GPU, times GPUs. Beside it stands where the CPU's
time went meanwhile, by kind of process: what limits the rate where the cores are all at work. A worker takes 130
MB of memory, and some seconds of a core until it is there: with many GPUs `--blocks` must outlast that.
"""

import argparse
import math
import os
import secrets
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from figures import write
from PIL import Image

from alia_ray.cluster.devices import LOGICAL_GPUS
from alia_ray.cluster.joining import joined
from alia_ray.config import Config, parse_config
from alia_ray.config.arms import BASE
from alia_ray.edits.shapes import Shape
from alia_ray.images import encode
from alia_ray.pipeline import run_discovery, run_edit, run_ingest
from alia_ray.stages import edit as edit_stage
from alia_ray.stages.streaming import ROWS_PER_BLOCK
from alia_ray.stages.trying import EditAndJudge, Outcomes, Row, Shown
from alia_ray.state import State
from alia_ray.training.evaluation import THRESHOLDS

SIZE, BATCH = 512, 16
PROMPTS = ("a photo of a {} by the sea", "a photo of a {} in the snow")
OTHERS = ("val", "test")  # splits that a run must have, of one image of each class
CLASSES = ("cat", "dog")
CPUS_A_WORKER = 0.125
NODE_MEMORY = 10**11  # that Ray counts, of which nothing is used: a simulated worker needs no room for a model
OBJECT_STORE = 500 * 2**20  # bytes of a node
LOOK_EVERY_S = 2.0
Batch = tuple[float, float, int]
"""When a batch began and ended, and how many edits it had."""


def main() -> None:
    """Start the nodes, measure each number of GPUs, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 16, 32, 64], help="the first is the measure")
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=5, help=f"of {ROWS_PER_BLOCK} images, for each GPU")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds of a batch")
    parser.add_argument("--pixels", action="store_true", help="decode, edit, judge and encode pixels too")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        paint(Path(folder) / "source", max(options.gpus) * options.blocks * ROWS_PER_BLOCK)
        prepare([configured(Path(folder), gpus, "local", options) for gpus in options.gpus])
        with nodes(options) as address:
            for gpus in options.gpus:
                rows.append(measured(Path(folder), gpus, address, options))
                print(as_text(figures(rows, options)["rows"]), flush=True)
                write(options.out, figures(rows, options))
    print(f"the object stores held {figures(rows, options)['object_store_peak_mb']:.0f} MB at their peak")


def figures(rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What is written: the rows with their efficiency, and what the object stores held at their peak."""
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    each = rows[0]["edits_per_second"] / rows[0]["gpus"]
    rows = [{**row, "efficiency": row["edits_per_second"] / row["gpus"] / each} for row in rows]
    peak = max(row["object_store_mb"] for row in rows)
    ratios = {"efficiency": rows[-1]["efficiency"]}
    return {"settings": settings, "rows": rows, "object_store_peak_mb": peak, "ratios": ratios}


# -------------------------------------------------------------------- a cluster and a run


@contextmanager
def nodes(options: argparse.Namespace) -> Iterator[str]:
    """The address of a cluster of so many nodes beside its head, which together have the most GPUs."""
    os.environ[LOGICAL_GPUS] = "1"
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from ray.cluster_utils import Cluster as RayCluster

    each = math.ceil(max(options.gpus) / options.nodes)
    node = {"memory": NODE_MEMORY, "object_store_memory": OBJECT_STORE}
    head = {**node, "num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
    cluster = RayCluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(options.nodes):
            cluster.add_node(num_cpus=1 + math.ceil(each * CPUS_A_WORKER), num_gpus=each, **node)
        yield cluster.address
    finally:
        cluster.shutdown()


def paint(folder: Path, images: int) -> None:
    """A Parquet dataset of so many training images, and of one of each class in the other splits."""
    folder.mkdir()
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    large = coarse.resize((3 * SIZE, 3 * SIZE), Image.Resampling.BICUBIC)
    splits = [split for split in OTHERS for _ in CLASSES] + ["train"] * images
    for start in range(0, len(splits), 1000):
        split = splits[start : start + 1000]
        corners = random.integers(0, 2 * SIZE, (len(split), 2)).tolist()
        rows = {
            "image": [encode(large.crop((x, y, x + SIZE, y + SIZE)), "jpeg") for x, y in corners],
            "label": [CLASSES[place % len(CLASSES)] for place in range(len(split))],
            "split": split,
        }
        pq.write_table(pa.table(rows), folder / f"{start:09d}.parquet", row_group_size=100)


def configured(folder: Path, gpus: int, address: str, options: argparse.Namespace) -> Config:
    """A run on some of the images, with as many workers as GPUs."""
    images = gpus * options.blocks * ROWS_PER_BLOCK
    return parse_config(
        {
            "run": {"folder": str(folder / f"run-{gpus}"), "address": address},
            "source": {
                "kind": "parquet",
                "path": str(folder / "source"),
                "limit": images + len(OTHERS) * len(CLASSES),
            },
            "discover": {"prompts": list(PROMPTS)},
            "edit": {
                "model": {"name": f"simulated:latency={options.latency}"},
                "size": SIZE,
                "format": "jpeg",
                "batch_size": BATCH,
                "edits_per_image": "all",
                "workers": gpus,
                "cpus_per_worker": CPUS_A_WORKER,
            },
            "judge": {"model": {"name": "simulated:acceptance=1"}, "filters": ["semantic"]},
            "train": {"arms": ["original", "alia"]},
        }
    )


def prepare(runs: list[Config]) -> None:
    """What comes before the edits; the base classifier has told its thresholds."""
    with joined(runs[0].run) as cluster:
        for settings in runs:
            state = State(settings)
            run_ingest(state, cluster)
            run_discovery(state, cluster)
            state.arm_folder(BASE).write_json(dict.fromkeys(state.classes, 0.5), THRESHOLDS)


def measured(folder: Path, gpus: int, address: str, options: argparse.Namespace) -> dict[str, Any]:
    """A row: the edit stage on so many GPUs."""
    state = State(configured(folder, gpus, address, options))
    worker = Timed if options.pixels else WithoutPixels
    worker.clock = folder / f"clock-{gpus}"
    worker.clock.mkdir()
    with joined(state.settings.run) as cluster, patch.object(edit_stage, "EditAndJudge", worker), Watch() as watch:
        run_edit(state, cluster)
    batches = [read_clock(file) for file in worker.clock.iterdir()]
    if len(batches) < gpus:
        sys.exit(f"{len(batches)} of {gpus} workers had something to do; raise --blocks")
    start, end, edits = steady(batches)
    return {
        "gpus": gpus,
        "edits_per_second": edits / (end - start),
        "seconds": end - start,
        "cores_at_work": watch.cores(start, end),
        "object_store_mb": watch.objects / 2**20,
    }


# -------------------------------------------------------------------- workers that keep time


class Timed(EditAndJudge):
    """A worker that writes down its batches."""

    clock: Path  # a folder, of a file for each worker

    def _tried(self, images: pa.Table, bucket: Shape) -> Iterator[tuple[pa.Table, list[Shown]]]:
        began = time.time()
        for rows, shown in super()._tried(images, bucket):
            with (self.clock / str(os.getpid())).open("a") as file:
                file.write(f"{began} {time.time()} {rows.num_rows}\n")
            yield rows, shown
            began = time.time()


class WithoutPixels(Timed):
    """The same without any work on pixels, which takes no torch either: as many processes fit a small machine."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        self.picture = Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        self.encoded = encode(self.picture, self.rules.format)

    def _sources(self, images: list[bytes], bucket: Shape) -> np.ndarray:
        return np.zeros(len(images))

    def _seen(self, pictures: list[Image.Image]) -> list[np.ndarray]:
        return [np.zeros((3, 8, 8), np.float32)] * len(pictures)

    def _edited(self, requests: list[Row], sources: np.ndarray, bucket: Shape, frames: list[Shape]) -> Outcomes:
        time.sleep(self.editor.simulation.latency)
        return {
            request["edit_id"]: (
                {"error": None, "node": self.node},
                Shown(self.picture, self.encoded + request["edit_id"].encode()),  # equal ones Parquet writes once
            )
            for request in requests
        }


def read_clock(file: Path) -> list[Batch]:
    """The batches of a worker, in their order."""
    lines = (line.split() for line in file.read_text().splitlines())
    return [(float(began), float(ended), int(edits)) for began, ended, edits in lines]


def steady(workers: list[list[Batch]]) -> tuple[float, float, float]:
    """When all workers of a pass began to be at work, when the first had no more, and the edits made meanwhile."""
    start = max(batches[0][1] for batches in workers)
    end = min(batches[-1][1] for batches in workers)
    if start >= end:
        sys.exit("no moment at which all workers were at work; raise --blocks")
    edits = 0.0
    for began, ended, number in (batch for batches in workers for batch in batches):
        edits += number * max(0.0, min(ended, end) - max(began, start)) / (ended - began)
    return start, end, edits


# -------------------------------------------------------------------- where the time goes


@dataclass
class Watch:
    """Looks at the processes of the cluster and at its object stores, from a thread, within a `with` block."""

    objects: float = 0.0  # bytes in the object stores, at their peak
    _seen: list[tuple[float, dict[int, tuple[str, float]]]] = field(default_factory=list)
    _ended: Event = field(default_factory=Event)

    def __enter__(self) -> "Watch":
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cores(self, start: float, end: float) -> dict[str, float]:
        """Cores that each kind of process kept busy between two moments; empty where too little lies between."""
        seen = [(at, found) for at, found in self._seen if start <= at <= end]
        taken: dict[str, float] = defaultdict(float)
        for (_, before), (_, after) in pairwise(seen):
            for pid, (kind, seconds) in after.items():
                taken[kind] += seconds - before.get(pid, (kind, 0.0))[1]
        return {kind: seconds / (seen[-1][0] - seen[0][0]) for kind, seconds in sorted(taken.items())}

    def _watch(self) -> None:
        import ray

        whole = ray.cluster_resources()["object_store_memory"]
        while not self._ended.wait(LOOK_EVERY_S):
            self._seen.append((time.time(), dict(cpu_seconds())))
            self.objects = max(self.objects, whole - ray.available_resources()["object_store_memory"])


def cpu_seconds() -> Iterator[tuple[int, tuple[str, float]]]:
    """Each process of this one and below: its id, its kind, and the seconds of CPU that it has taken."""
    me = psutil.Process()
    for each in (me, *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            yield each.pid, ("driver" if each.pid == me.pid else kind_of(each), times.user + times.system)


def kind_of(process: psutil.Process) -> str:
    """What a process of Ray's is."""
    title = " ".join(process.cmdline())
    if title.startswith("ray::"):
        return "workers" if "MapWorker" in title else "tasks"
    return next((kind for kind in ("raylet", "gcs_server") if kind in title.split(" ")[0]), "other")


def as_text(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = ["| GPUs | edits/s | efficiency | steady for | cores at work |\n|---|---|---|---|---|"]
    for row in rows:
        cores = ", ".join(f"{kind} {value:.2f}" for kind, value in row["cores_at_work"].items())
        lines.append(
            f"| {row['gpus']} | {row['edits_per_second']:.1f} | {100 * row['efficiency']:.1f} % | "
            f"{row['seconds']:.0f} s | {sum(row['cores_at_work'].values()):.2f}: {cores} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
