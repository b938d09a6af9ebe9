"""What a run asks of an object store: requests per thousand images, by stage and kind, and bytes of an image.

    python benchmarks/object_store.py --images 2000 --out store.json
    python benchmarks/object_store.py --images 2000 --side 256 --out store_256.json

The run of scale.py, with its run folder and an export in a bucket of a local S3 server, which counts; the source
lies on the disk. Once from nothing, and again with everything done. Nothing can be said of time: the server shares
this machine, and answers one request after the other.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from counted_store import KINDS, Store, counted_store
from figures import write
from scale import PIXELS, paint, settings_of, steps_of

from alia_ray.cluster.joining import joined
from alia_ray.config import Config
from alia_ray.state import State

RUNS = ("from nothing", "everything done")


def main() -> None:
    """Count the requests of both runs; print and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--side", type=int, default=PIXELS, help="of the pictures, in pixels")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, counted_store() as store:
        source = Path(folder) / "source"
        paint(source, options.images, options.side)
        settings = settings_of(source, store.uri("run"), options.prompts, options.side)
        runs = {run: counted(store, settings) for run in RUNS}
        picture = sum(file.stat().st_size for file in source.iterdir()) / options.images
    requests = {run: {stage: dict(count) for stage, (count, _) in stages.items()} for run, stages in runs.items()}
    figures = {
        "images": options.images,
        "prompts": options.prompts,
        "picture_bytes": picture,
        "bytes_an_image": {run: of_an_image(stages, options.images) for run, stages in runs.items()},
        "requests": requests,
        "per_thousand_images": {
            run: 1000 * sum(map(sum_of, stages.values())) / options.images for run, stages in requests.items()
        },
    }
    print(as_text(figures))
    write(options.out, figures)


def counted(store: Store, settings: Config) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Stage -> the requests of a run by kind, and the bytes that it read and wrote."""
    state, found = State(settings), {}
    with joined(settings.run) as cluster:
        for name, step in steps_of(state, cluster, store.uri("export")).items():
            requests, sizes = store.count(), Counter(store.bytes)
            step()
            found[name] = (store.count() - requests, store.bytes - sizes)
    return found


def of_an_image(stages: dict[str, tuple[Counter[str], Counter[str]]], images: int) -> dict[str, dict[str, float]]:
    """Stage -> the bytes that it read and wrote, by the images that there are."""
    return {stage: {way: size / images for way, size in sizes.items()} for stage, (_, sizes) in stages.items()}


def sum_of(kinds: dict[str, int]) -> int:
    """Requests of all kinds."""
    return sum(kinds.values())


def as_text(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    images, lines = figures["images"], [f"a picture of the source has {figures['picture_bytes']:.0f} bytes"]
    for run, stages in figures["requests"].items():
        sizes = figures["bytes_an_image"][run]
        lines += [
            f"{run}: {figures['per_thousand_images'][run]:.0f} requests per thousand images ({images} images)",
            f"| stage | {' | '.join(KINDS)} | all | bytes read, of an image | written |",
            "|---" * (len(KINDS) + 4) + "|",
            *(row_of(name, kinds, sizes[name], images) for name, kinds in stages.items()),
            row_of("all", total(stages), total(sizes), images),
        ]
    return "\n".join(lines)


def total(stages: dict[str, dict[str, float]]) -> Counter[str]:
    """What all stages have together."""
    return sum(map(Counter, stages.values()), Counter())


def row_of(name: str, kinds: dict[str, int], sizes: dict[str, float], images: int) -> str:
    """A stage's requests per thousand images, and its bytes of an image."""
    each = [kinds.get(kind, 0) for kind in KINDS]
    requests = (f"{1000 * count / images:.0f}" for count in (*each, sum(each)))
    return f"| {name} | {' | '.join((*requests, *(f'{sizes.get(way, 0):.0f}' for way in ('read', 'written'))))} |"


if __name__ == "__main__":
    main()
