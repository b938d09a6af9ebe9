"""What Ray costs: the edit stage through Ray Data against its worker called in a plain loop, on the same images.

    python benchmarks/pipeline_overhead.py --out overhead.json

Both decode, edit, judge and encode every image under every prompt, in the same batches, on one worker. The stage
is timed on few images and on many, and the difference is its steady state: what starting Ray's workers and loading
the models costs is paid once, and shown beside it. A worker that is called here reads its images from memory and
throws its rows away; through Ray they are read from and committed to the run folder. Rounds alternate, and the
median counts.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import torch
from measuring import name_of, write

from alia_ray.arms import BASE
from alia_ray.cluster import Cluster, joined
from alia_ray.config import load_config
from alia_ray.miniature import world
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.loading import pick_device
from alia_ray.pipeline import run_discovery, run_edit, run_ingest, run_train_base
from alia_ray.stages.attempts import as_table, in_order, still_to_try, with_attempts
from alia_ray.stages.edit import EditAndJudge
from alia_ray.stages.requests import plan_edits, requests_of
from alia_ray.state import State


def main() -> None:
    """Time both in turn, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs=2, type=int, default=[64, 256], metavar=("FEW", "MANY"))
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="override of the demo's configuration")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    few, many = options.images
    edits = (many - few) * options.prompts
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            states = [prepared(f"{folder}/{number}-{images}", images, options) for images in options.images]
            with joined(states[0].settings.run) as cluster:
                short, long = (through_ray(state, cluster) for state in states)
            bare = bare_loop(states[1], many - few)
            rounds.append(
                {"ray": long - short, "bare": bare, "started": short - few / (many - few) * (long - short)}
            )
            print(
                f"round {number + 1}: {edits} edits, {long - short:.1f} s through Ray and {bare:.1f} s in a loop; "
                f"{rounds[-1]['started']:.1f} s until the workers run",
                flush=True,
            )
    ratios = {"ray_over_bare": statistics.median(each["ray"] / each["bare"] for each in rounds)}
    print(f"{name_of(pick_device())}: ray_over_bare {ratios['ray_over_bare']:.3f}, the median of {len(rounds)}")
    write(options.out, {"device": name_of(pick_device()), "edits": edits, "rows": rounds, "ratios": ratios})


def prepared(folder: str, images: int, options: argparse.Namespace) -> State:
    """A run of so many training images, one worker and prompts that are given."""
    prompts = [f"a photo of a {{}} bird {place}" for place in list(world.BACKGROUNDS.values())[: options.prompts]]
    overrides = [
        f"run.folder={folder}",
        f"source.train={images}",
        "source.val=16",
        "source.test=16",
        f"discover.prompts={json.dumps(prompts)}",
        "edit.workers=1",
        "edit.edits_per_image=all",
        "train.arms=[original]",
        "train.epochs=1",
    ]
    return State(load_config(DEMO, [*overrides, *options.set]))


def through_ray(state: State, cluster: Cluster) -> float:
    """Seconds of the edit stage."""
    for stage in (run_ingest, run_discovery, run_train_base):
        stage(state, cluster)
    started = time.perf_counter()
    run_edit(state, cluster)
    return time.perf_counter() - started


def bare_loop(state: State, count: int) -> float:
    """Seconds of the stage's worker over the first `count` images, after one batch that is not timed."""
    settings = state.edit_settings("discovered")
    plan = plan_edits(state.domains(), settings.edit, settings.run.seed)
    images = state.images.read(["image_id", "image", "label", "group", "split"])
    requests = in_order(requests_of(images.drop_columns("image"), plan), settings.seed)
    images = with_attempts(images, as_table(still_to_try(requests, {}, None))).slice(0, count)
    worker = EditAndJudge(
        settings.edit, settings.judge, plan, state.folder.uri(*state.arm_path(BASE)), state.thresholds()
    )
    torch.set_num_threads(max(1, int(settings.edit.cpus_per_worker)))  # as Ray gives it
    size = settings.edit.batch_size
    batches = [images.slice(start, size) for start in range(0, count, size)]
    worker(batches[0])
    started = time.perf_counter()
    made: list[pa.Table] = [worker(batch) for batch in batches]
    seconds = time.perf_counter() - started
    assert sum(rows.num_rows for rows in made) == count * len(plan.domains)
    return seconds


if __name__ == "__main__":
    main()
