"""What Ray costs: the edit stage through Ray Data against its worker called in a plain loop, on the same images.

    python benchmarks/pipeline_overhead.py --out overhead.json

Both decode, edit, judge and encode every image under every prompt, in the same batches, on one worker. Timed is
the steady state: through Ray the time between the first block that was committed and the last one, by the clock of
the run folder; in the loop every batch but the first. What starting Ray's workers and loading the models costs is
paid once, and shown beside it. A worker that is called here has its images in memory and throws its rows away;
through Ray they are read from and committed to the run folder.

A machine's rate drifts, so every pass through Ray stands between two loops and is compared with their mean; the
median of the rounds counts. Beside it: the share of the steady state in which Ray's worker was at work, which
needs no loop to compare with.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from figures import write
from measuring import name_of
from trying import with_tries

from alia_ray.cluster.joining import joined
from alia_ray.cluster.placement import Cluster
from alia_ray.config import load_config
from alia_ray.config.arms import BASE
from alia_ray.edits.requests import OF_IMAGES, plan_edits, requests_of
from alia_ray.miniature import world
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.loading import pick_device
from alia_ray.pipeline import run_discovery, run_edit, run_ingest, run_train_base
from alia_ray.stages import streaming
from alia_ray.stages.streaming import ROWS_PER_BLOCK
from alia_ray.stages.trying import EditAndJudge, rules_of
from alia_ray.state import State


def main() -> None:
    """Time both in turn, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--blocks", type=int, default=4, help=f"of {ROWS_PER_BLOCK} images; the first is not timed"
    )
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="override of the demo's configuration")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = configured(folder, options)
        with joined(state.settings.run) as cluster:
            for stage in (run_ingest, run_discovery, run_train_base):
                stage(state, cluster)
            print("| round | ms an edit through Ray | in a loop | ratio | worker at work | until it runs |")
            print("|---|---|---|---|---|---|")
            rounds = measured(state, cluster, options.rounds)
    ratios = {"ray_over_bare": statistics.median(each["ratio"] for each in rounds)}
    print(f"{name_of(pick_device())}: ray_over_bare {ratios['ray_over_bare']:.3f}, the median of {len(rounds)}")
    write(options.out, {"device": name_of(pick_device()), "rows": rounds, "ratios": ratios})


def configured(folder: str, options: argparse.Namespace) -> State:
    """A run of so many training images, one worker and prompts that are given."""
    prompts = [f"a photo of a {{}} bird {place}" for place in list(world.BACKGROUNDS.values())[: options.prompts]]
    overrides = [
        f"run.folder={folder}",
        f"source.train={options.blocks * ROWS_PER_BLOCK}",
        "source.val=16",
        "source.test=16",
        f"discover.prompts={json.dumps(prompts)}",
        "edit.workers=1",
        "edit.edits_per_image=all",
        "train.arms=[original]",
        "train.epochs=1",
    ]
    return State(load_config(DEMO, [*overrides, *options.set]))


def measured(state: State, cluster: Cluster, rounds: int) -> list[dict[str, float]]:
    """A row for each pass through Ray, between two loops."""
    loop = BareLoop(state)
    before, rows = loop.seconds_per_edit(), []
    for number in range(1, rounds + 1):
        through_ray = pass_through_ray(state, cluster)
        after = loop.seconds_per_edit()
        bare = (before + after) / 2
        row = {**through_ray, "bare": bare, "ratio": through_ray["ray"] / bare}
        print(
            f"| {number} | {1e3 * row['ray']:.1f} | {1e3 * bare:.1f} | {row['ratio']:.3f} | "
            f"{100 * row['at_work']:.1f} % | {row['started']:.1f} s |",
            flush=True,
        )
        rows.append(row)
        before = after
    return rows


def pass_through_ray(state: State, cluster: Cluster) -> dict[str, float]:
    """Make all edits anew: seconds an edit, the worker's own share of them, and seconds until it was running."""
    state.edits.discard(state.edits.ids())
    began = time.time()
    with patch.object(streaming, "merge_files"):  # each file is to tell when it was committed
        run_edit(state, cluster)
    first, *blocks = sorted((commit(state, path) for path in state.edits.files()), key=lambda block: block["at"])
    seconds, edits = blocks[-1]["at"] - first["at"], sum(block["edits"] for block in blocks)
    per_edit = seconds / edits
    return {
        "ray": per_edit,
        "at_work": sum(block["at_work"] for block in blocks) / seconds,
        "started": first["at"] - began - first["edits"] * per_edit,
    }


def commit(state: State, path: str) -> dict[str, Any]:
    """When a file of the edits table was committed, how many edits it holds, and the worker's seconds for them."""
    fs = state.folder.fs
    rows = pq.read_table(path, filesystem=fs, columns=["edit_seconds", "judge_seconds"])
    at_work = sum(pc.sum(column).as_py() for column in rows.columns)
    return {"at": fs.get_file_info(path).mtime_ns / 1e9, "edits": rows.num_rows, "at_work": at_work}


class BareLoop:
    """The stage's worker, and all its batches in memory."""

    def __init__(self, state: State) -> None:
        settings = state.edit_settings("discovered")
        plan = plan_edits(state.domains(), settings.edit, settings.run.seed)
        images = state.images.read([*OF_IMAGES, "image"])
        images = with_tries(images, requests_of(images.select(list(OF_IMAGES)), plan), settings.seed)
        size = settings.edit.batch_size
        self.batches = [images.slice(start, size) for start in range(0, images.num_rows, size)]
        torch.set_num_threads(max(1, int(settings.edit.cpus_per_worker)))  # as Ray gives it
        base = state.folder.uri(*state.arm_path(BASE))
        rules = rules_of(settings.edit, plan, base, state.thresholds())
        self.worker = EditAndJudge(settings.edit, settings.judge, rules)

    def seconds_per_edit(self) -> float:
        """Of every batch but the first."""
        first, *others = self.batches
        self.worker(first)
        started = time.perf_counter()
        made: list[pa.Table] = [self.worker(batch) for batch in others]
        return (time.perf_counter() - started) / sum(rows.num_rows for rows in made)


if __name__ == "__main__":
    main()
