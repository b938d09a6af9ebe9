"""Images a second of our trainer against the loop that people write with a DataLoader, same images, same run.

    python benchmarks/train_throughput.py --out train.json
    python benchmarks/train_throughput.py --cold --out train_cold.json
    python benchmarks/train_throughput.py --architecture resnet50 --size 224 --batch 128 --images 4096   # a GPU

Ours runs under Ray Train with one worker, whose images lie in memory or are streamed from the disk, and streamed
once more with a tenth of them, for its memory. They are decoded once and augmented on the device. The loop opens,
crops and flips each picture anew in every epoch, in as many DataLoader workers as there are cores. Both train the
same model with the same optimiser and precision on as many threads as there are cores. Rates are of whole epochs
after the first one; what decoding once costs is said beside them, and the ratios "with decoding" contain it.

A machine's rate drifts, so the ways take turns: each ratio is of one round, and the median of the rounds counts.
Memory is what the processes of a way hold of their own at its peak, without pages of files.

With `--cold` the dataset is larger than any memory: what is streamed leaves the system's memory as soon as it has
been read, so that an epoch reads all of it from the disk. How much it read there is said. The loop's pictures stay
in memory, being smaller, and in its favour.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from figures import write
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from alia_ray.cluster.joining import joined
from alia_ray.config import Pixels, Run, Train
from alia_ray.images import encode
from alia_ray.miniature import dataset
from alia_ray.models.classifier import build_classifier, prepare
from alia_ray.models.loading import pick_device
from alia_ray.training.examples import Examples
from alia_ray.training.lanes import Training, train_classifiers

STORED = 256  # pixels of the pictures that are read
CORES = os.cpu_count() or 1
LOOK_EVERY_S = 0.5
os.environ.setdefault("RAY_worker_niceness", "0")  # by default Ray's workers let the loop's processes go first
Row = dict[str, Any]


def main() -> None:
    """Time all ways in turn, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="pixels that the classifier sees")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=4, help="the first one is not timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="nothing that is streamed stays in memory; Linux only")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), options.images)
        rounds = [one_round(Path(folder), paths, options) for _ in range(options.rounds)]
        tenth = ours(Path(folder), options, "stream", options.images // 10)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {CORES} cores"
    ratios = {
        f"{prefix}vs_dataloader_loop{and_decoding}": statistics.median(
            rate(ways[way]) / rate(ways["loop"]) for ways in rounds
        )
        for prefix, way in (("", "memory"), ("stream_", "stream"))
        for and_decoding, rate in (("", itemgetter("images_per_second")), ("_with_decoding", whole_rate))
    }
    largest = statistics.median(ways["stream"]["peak_gb"] for ways in rounds)
    ratios["stream_memory_at_ten_times"] = largest / tenth["peak_gb"]
    rows = [row for ways in rounds for row in ways.values()] + [tenth]
    print(f"{device}: {options.architecture}, {options.size} pixels, batches of {options.batch}")
    print(as_text(rows, options.epochs - 1))
    print(", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    write(options.out, {"device": device, "settings": settings, "rows": rows, "ratios": ratios})


def one_round(folder: Path, paths: list[tuple[Path, int]], options: argparse.Namespace) -> dict[str, Row]:
    """The rows of all ways, one after the other."""
    return {
        "stream": ours(folder, options, "stream", options.images),
        "loop": dataloader_loop(paths, options),
        "memory": ours(folder, options, "memory", options.images),
    }


def as_text(rows: list[Row], epochs: int) -> str:
    """The rows as a table."""
    lines = [
        "| loop | images | images/s | preparing or awaiting input | decoding once, s | memory, GB | read, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            row["loop"],
            str(row["images"] // epochs),
            f"{row['images_per_second']:.1f}",
            f"{100 * row['input_share']:.1f} %",
            f"{row['load_seconds']:.2f}",
            f"{row['peak_gb']:.2f}",
            f"{row['read_mb']:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_pictures(folder: Path, count: int) -> list[tuple[Path, int]]:
    """The same JPEGs as files, for the loop, and as an images table, for us; (path, class) of each."""
    rows, paths = [], []
    for picture in dataset.layout("train", count, bias=1.0):
        pixels = dataset.paint(picture.origin, picture.label, picture.background, seed=0)
        encoded = encode(Image.fromarray(pixels).resize((STORED, STORED), Image.Resampling.BICUBIC), "jpeg")
        path = folder / f"{picture.origin.replace('/', '-')}.jpg"
        path.write_bytes(encoded)
        paths.append((path, dataset.CLASSES.index(picture.label)))
        rows.append({"image_id": path.name, "image": encoded, "label": picture.label, "group": picture.label})
    (folder / "table").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "table" / "part-0.parquet")
    return paths


def ours(folder: Path, options: argparse.Namespace, loading: str, images: int) -> Row:
    """The product's trainer on some of the images, its last epochs."""
    ids = sorted(path.name for path in folder.glob("*.jpg"))[:images]
    settings = Train(
        architecture=options.architecture,
        weights="none",
        image_size=options.size,
        epochs=options.epochs,
        batch_size=options.batch,
        cpus_per_worker=CORES,
        loading=loading,
    )
    examples = Examples(str(folder / "table"), "image_id", tuple(ids))
    validation = Examples(str(folder / "table"), "image_id", tuple(ids[:8]))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        training = Training("ours", out, (examples,), (validation,), dataset.CLASSES, settings, "none", 0)
        with joined(Run(folder=str(folder))) as cluster, Watch(trainers, options.cold) as watch:
            train_classifiers([training], cluster)
        history = json.loads(Path(out, "history.json").read_text())
    timed = history["epochs"][1:]
    seconds = sum(epoch["seconds"] for epoch in timed)
    return {
        "loop": f"alia_ray, {loading}",
        "images_per_second": images * len(timed) / seconds,
        "input_share": sum(epoch["input_share"] * epoch["seconds"] for epoch in timed) / seconds,
        "load_seconds": history["load_seconds"],
        "images": images * len(timed),
        **watch.figures(),
    }


class Watch:
    """Looks at some processes from a thread, within a `with` block."""

    def __init__(self, processes: Callable[[], Iterable[int]], cold: bool = False) -> None:
        """processes: gives their ids. cold: what is in their files without names leaves the system's memory."""
        self.processes, self.cold = processes, cold
        self.peak, self.read = 0, {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def figures(self) -> Row:
        """The memory that they held of their own at the peak, and what they had from the disk itself."""
        return {"peak_gb": self.peak / 1e9, "read_mb": sum(self.read.values()) / 1e6}

    def _watch(self) -> None:
        while not self.ended.wait(LOOK_EVERY_S):
            held = 0
            for pid in self.processes():
                with suppress(OSError):  # it has ended
                    held += 1024 * number(Path(f"/proc/{pid}/smaps_rollup"), "Pss_Anon:")
                    self.read[pid] = number(Path(f"/proc/{pid}/io"), "\nread_bytes:")
                    if self.cold:
                        forget(pid)
            self.peak = max(self.peak, held)


def number(file: Path, name: str) -> int:
    """What a file of /proc says behind a name."""
    return int(file.read_text().partition(name)[2].split()[0])


def trainers() -> list[int]:
    """The workers of Ray Train."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in " ".join(each.cmdline()):
                found.append(each.pid)
    return found


def ourselves() -> list[int]:
    """This process and the workers of its DataLoader."""
    return [os.getpid(), *(each.pid for each in multiprocessing.active_children())]


def forget(pid: int) -> None:
    """Write the files without names of a process to the disk, and drop what the system's memory has of them."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it is closed, or is no file
            if os.readlink(link).startswith("/dev/") or not os.readlink(link).endswith(" (deleted)"):
                continue
            with link.open("rb") as file:
                os.fdatasync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Pictures(Dataset):
    """Files, opened, cropped and flipped whenever one is asked for."""

    def __init__(self, paths: list[tuple[Path, int]], size: int) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [v2.Resize(size), v2.CenterCrop(size), v2.RandomHorizontalFlip(), v2.PILToTensor()]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        path, label = self.paths[place]
        with Image.open(path) as picture:
            return self.transform(picture.convert("RGB")), label


def dataloader_loop(paths: list[tuple[Path, int]], options: argparse.Namespace) -> Row:
    """The plain loop, its last epochs."""
    with Watch(ourselves) as watch:
        return {**plain_loop(paths, options), **watch.figures()}


def plain_loop(paths: list[tuple[Path, int]], options: argparse.Namespace) -> Row:
    """The same, without what it takes."""
    torch.set_num_threads(CORES)
    device, seen = pick_device(), Pixels(image_size=options.size)
    loader = DataLoader(
        Pictures(paths, options.size),
        options.batch,
        shuffle=True,
        num_workers=CORES,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    model = build_classifier(options.architecture, "none", len(dataset.CLASSES))
    model = model.to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    seconds = waiting = 0.0
    for epoch in range(options.epochs):
        started = asked = time.perf_counter()
        waited = 0.0
        for pixels, labels in loader:
            waited += time.perf_counter() - asked
            pixels = prepare(pixels.to(device, non_blocking=True).float() / 255, seen)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(pixels)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels.to(device, non_blocking=True))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            asked = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if epoch:
            seconds, waiting = seconds + time.perf_counter() - started, waiting + waited
    images = options.images * (options.epochs - 1)
    return {
        "loop": "DataLoader",
        "images_per_second": images / seconds,
        "input_share": waiting / seconds,
        "load_seconds": 0.0,
        "images": images,
    }


def whole_rate(row: Row) -> float:
    """Images a second if the timed epochs had to pay for the decoding before them."""
    return row["images"] / (row["images"] / row["images_per_second"] + row["load_seconds"])


if __name__ == "__main__":
    main()
