"""Images a second of our trainer against the loop that people write with a DataLoader, same images, same run.

    python benchmarks/train_throughput.py --out train.json
    python benchmarks/train_throughput.py --architecture resnet50 --size 224 --batch 128 --images 4096   # a GPU

Ours runs under Ray Train with one worker, whose images lie in memory or are streamed from the disk, and streamed
once more with a tenth of them, for its memory. They are decoded once and augmented on the device. The loop opens,
crops and flips each picture anew in every epoch, in as many DataLoader workers as there are cores. Both train the
same model with the same optimiser and precision on as many threads as there are cores. Rates are of whole epochs
after the first one; what decoding once costs is said beside them, and the ratios "with decoding" contain it.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
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


def main() -> None:
    """Time both, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="pixels that the classifier sees")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=4, help="the first one is not timed")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), options.images)
        rows = [
            ours(Path(folder), options, "memory", options.images),
            ours(Path(folder), options, "stream", options.images),
            dataloader_loop(paths, options),
            ours(Path(folder), options, "stream", options.images // 10),
        ]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {CORES} cores"
    ratios = {
        f"{way}vs_dataloader_loop{and_decoding}": rate(row) / rate(rows[2])
        for way, row in (("", rows[0]), ("stream_", rows[1]))
        for and_decoding, rate in (("", itemgetter("images_per_second")), ("_with_decoding", whole_rate))
    }
    ratios["stream_memory_at_ten_times"] = rows[1]["peak_gb"] / rows[3]["peak_gb"]
    print(f"{device}: {options.architecture}, {options.size} pixels, batches of {options.batch}")
    print("| loop | images | images/s | time preparing or awaiting input | decoding once, s | peak memory, GB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        count = row["images"] // (options.epochs - 1)
        cells = (row["loop"], str(count), f"{row['images_per_second']:.1f}", f"{100 * row['input_share']:.1f} %")
        peak = f"{row['peak_gb']:.2f}" if "peak_gb" in row else "–"
        print(f"| {' | '.join(cells)} | {row['load_seconds']:.2f} | {peak} |")
    print(", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))
    if options.out:
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        result = {"device": device, "settings": settings, "rows": rows, "ratios": ratios}
        options.out.write_text(json.dumps(result, indent=2) + "\n")


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


def ours(folder: Path, options: argparse.Namespace, loading: str, images: int) -> dict[str, Any]:
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
    out = str(folder / f"classifier-{loading}-{images}")
    training = Training("ours", out, (examples,), (validation,), dataset.CLASSES, settings, "none", 0)
    with joined(Run(folder=str(folder))) as cluster, watched() as peak:
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
        "peak_gb": max(peak) / 1e9,
    }


@contextmanager
def watched() -> Iterator[list[int]]:
    """The bytes of a trainer's own memory meanwhile, without files' pages, which the system takes back at will."""
    found, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for each in psutil.Process().children(recursive=True):
                with suppress(psutil.Error, OSError):
                    if "RayTrainWorker" in " ".join(each.cmdline()):
                        status = Path(f"/proc/{each.pid}/status").read_text()
                        found.append(int(status.partition("RssAnon:")[2].split()[0]) * 1024)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


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


def dataloader_loop(paths: list[tuple[Path, int]], options: argparse.Namespace) -> dict[str, Any]:
    """The plain loop, its last epochs."""
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


def whole_rate(row: dict[str, Any]) -> float:
    """Images a second if the timed epochs had to pay for the decoding before them."""
    return row["images"] / (row["images"] / row["images_per_second"] + row["load_seconds"])


if __name__ == "__main__":
    main()
