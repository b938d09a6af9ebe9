"""Seconds of a worker for each kept image: stopping at the first survivor, against trying every prompt.

    python benchmarks/cost_per_kept.py --out cost.json

Both edit and judge the same images of the miniature under the same prompts, with its real acceptance by the
semantic filter, and must end with the same edits. Where one edit is added for each image, that is what a kept
image costs; where all that are accepted are added, trying all prompts wastes nothing, as the last column says.
The curve below says what other acceptances and numbers of prompts would give, counted in attempts: with p prompts
of which a share a survives, an image takes (1 - (1 - a)^p) / a attempts of p.
"""

import argparse
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from figures import write
from measuring import name_of
from trying import tries_of

from alia_ray.config import load_config
from alia_ray.edits.attempts import Attempt, Pending, next_batch
from alia_ray.edits.requests import plan_edits, requests_of
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature import dataset, world
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.clip import ClipJudge
from alia_ray.models.editor import Editor
from alia_ray.store.tables import DOMAINS

SEED = 0


def main() -> None:
    """Edit both ways, print the table and the curve, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--prompts", type=int, default=7)
    parser.add_argument("--method", default="instruct_pix2pix", choices=list(EDITING))
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    bench = Bench(options)
    bench.run("warm up", 1, images=8)
    rows = [bench.run("all prompts", None), bench.run("first accepted", 1)]
    if rows[0].pop("chosen") != rows[1].pop("chosen"):
        raise SystemExit("error: the two ways ended with different edits")
    ratios = {"vs_all_prompts": rows[0]["seconds_per_kept"] / rows[1]["seconds_per_kept"]}
    print(f"{name_of(bench.editor.device)}: {options.method}, {options.images} images, {options.prompts} prompts")
    print(
        "| way | attempts | accepted | images kept | seconds | seconds a kept image | seconds an accepted edit |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['way']} | {row['attempts']} | {100 * row['acceptance']:.1f} % | {row['kept']} | "
            f"{row['seconds']:.1f} | {row['seconds_per_kept']:.3f} | {row['seconds_per_accepted']:.3f} |"
        )
    print(f"vs_all_prompts {ratios['vs_all_prompts']:.2f}\n\n{curve()}")
    write(options.out, {"device": name_of(bench.editor.device), "rows": rows, "ratios": ratios})


class Bench:
    """The models, and the images' requests."""

    def __init__(self, options: argparse.Namespace) -> None:
        settings = load_config(DEMO, EDITING[options.method])
        self.edit, self.positives = settings.edit, settings.judge.positives
        self.editor = Editor(self.edit)
        self.clip = ClipJudge(settings.judge.model, self.positives, settings.judge.negatives)
        places = list(world.BACKGROUNDS.values())[: options.prompts]
        found = domain_rows(
            [f"a photo of a {{}} bird {place}" for place in places], [], settings.discover.prefix, 0
        )
        self.pictures = dataset.layout("train", options.images, bias=1.0)
        columns = {
            "image_id": [picture.origin for picture in self.pictures],
            "label": [picture.label for picture in self.pictures],
            "group": [picture.background for picture in self.pictures],
            "split": [picture.split for picture in self.pictures],
            "width": [self.edit.size] * len(self.pictures),
            "height": [self.edit.size] * len(self.pictures),
        }
        plan = plan_edits(pa.Table.from_pylist(found, schema=DOMAINS), self.edit, SEED)
        self.requests = requests_of(pa.table(columns), plan)
        self.of_id = {row["edit_id"]: row for row in self.requests.to_pylist()}

    def run(self, way: str, per_image: int | None, images: int | None = None) -> dict[str, Any]:
        """Edit and judge until nothing is missing. per_image: survivors that an image needs; None: try all."""
        todo = list(tries_of(self.requests, SEED).items())[:images]
        started = time.perf_counter()
        sources = dict(zip((image_id for image_id, _ in todo), self.encoded([i for i, _ in todo]), strict=True))
        pending = [
            Pending(place, deque(map(Attempt, tries)), per_image or len(tries))
            for place, (_, tries) in enumerate(todo)
        ]
        survived: dict[str, bool] = {}
        while batch := next_batch(pending, self.edit.batch_size):
            requests = [self.of_id[attempt.edit_id] for _, attempt in batch]
            edited = self.editor.edit(
                torch.stack([sources[request["image_id"]] for request in requests]),
                [request["prompt"] for request in requests],
                [request["seed"] for request in requests],
            )
            likeliest = self.clip.score(edited.nan_to_num()).argmax(dim=1).tolist()
            for (image, attempt), text in zip(batch, likeliest, strict=True):
                survived[attempt.edit_id] = text < len(self.positives)
                image.settle(survived[attempt.edit_id])
        seconds = time.perf_counter() - started
        kept = ([edit_id for edit_id in tries if survived.get(edit_id)] for _, tries in todo)
        chosen = [edits[0] for edits in kept if edits]
        return {
            "way": way,
            "attempts": len(survived),
            "acceptance": sum(survived.values()) / len(survived),
            "kept": len(chosen),
            "seconds": seconds,
            "seconds_per_kept": seconds / len(chosen),
            "seconds_per_accepted": seconds / sum(survived.values()),
            "chosen": chosen,
        }

    def encoded(self, image_ids: list[str]) -> torch.Tensor:
        """The images as the editor takes them."""
        of_id = {picture.origin: picture for picture in self.pictures}
        wanted = [of_id[image_id] for image_id in image_ids]
        painted = np.stack([dataset.paint(p.origin, p.label, p.background, SEED) for p in wanted])
        pixels = torch.from_numpy(painted).permute(0, 3, 1, 2).float() / 255
        return torch.cat([self.editor.encode(part) for part in pixels.split(self.edit.batch_size)])


def curve() -> str:
    """How many times fewer attempts the first survivor takes, by acceptance and number of prompts, as Markdown."""
    prompts = (3, 5, 7, 9)
    lines = [["acceptance", *(f"{number} prompts" for number in prompts)], ["---"] * (len(prompts) + 1)]
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        saved = [number * share / (1 - (1 - share) ** number) for number in prompts]
        lines.append([f"{100 * share:.0f} %", *(f"{times:.2f} ×" for times in saved)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
