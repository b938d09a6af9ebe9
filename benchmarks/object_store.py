"""What a run asks of an object store: requests per thousand images, by stage and kind.

    python benchmarks/object_store.py --images 2000 --out store.json

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
from scale import paint, settings_of, steps_of

from alia_ray.cluster.joining import joined
from alia_ray.config import Config
from alia_ray.state import State

RUNS = ("from nothing", "everything done")


def main() -> None:
    """Count the requests of both runs; print and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, counted_store() as store:
        source = Path(folder) / "source"
        paint(source, options.images)
        requests = {run: counted(store, settings_of(source, store.uri("run"), options.prompts)) for run in RUNS}
    figures = {
        "images": options.images,
        "prompts": options.prompts,
        "requests": requests,
        "per_thousand_images": {
            run: 1000 * sum(map(sum_of, stages.values())) / options.images for run, stages in requests.items()
        },
    }
    print(as_text(figures))
    write(options.out, figures)


def counted(store: Store, settings: Config) -> dict[str, dict[str, int]]:
    """Stage -> kind -> requests of a run."""
    state, found = State(settings), {}
    with joined(settings.run) as cluster:
        for name, step in steps_of(state, cluster, store.uri("export")).items():
            before = store.count()
            step()
            found[name] = dict(store.count() - before)
    return found


def sum_of(kinds: dict[str, int]) -> int:
    """Requests of all kinds."""
    return sum(kinds.values())


def as_text(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    images, lines = figures["images"], []
    for run, stages in figures["requests"].items():
        lines += [
            f"{run}: {figures['per_thousand_images'][run]:.0f} requests per thousand images ({images} images)",
            f"| stage | {' | '.join(KINDS)} | all |",
            "|---" * (len(KINDS) + 2) + "|",
            *(row_of(name, kinds, images) for name, kinds in stages.items()),
            row_of("all", sum(map(Counter, stages.values()), Counter()), images),
        ]
    return "\n".join(lines)


def row_of(name: str, kinds: dict[str, int], images: int) -> str:
    """A stage's requests per thousand images."""
    each = [kinds.get(kind, 0) for kind in KINDS]
    return f"| {name} | {' | '.join(f'{1000 * count / images:.0f}' for count in (*each, sum(each)))} |"


if __name__ == "__main__":
    main()
