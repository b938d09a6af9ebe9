"""What does each filter drop: edits that lost their class, or edits that training needs? On the miniature.

    python benchmarks/filter_truth.py --out docs/filter_truth.json
    python benchmarks/filter_truth.py --worlds bias-0.95 places --editors instruct_pix2pix

A world is a dataset with a base classifier trained on its originals; in each, every training image is edited under
four prompts by each editor. A held-out judge, which no part of the method uses, then says of each edit whether it
still shows its class (`alia_ray/miniature/judges.py`). *Seen* are edits onto a place of the class's own, *new* the
others, from which the base has learnt little, and at bias 1 nothing; in the unbiased world none is really new. The
last columns say how the base does on the new ones. Nothing is trained on the edits here.
"""

import argparse
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image

from alia_ray.cluster.joining import joined
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, load_config
from alia_ray.config.arms import BASE
from alia_ray.config.filters import VARIANTS
from alia_ray.edits.verdicts import verdicts
from alia_ray.miniature import dataset, judges, world
from alia_ray.miniature.recipes import IMG2IMG
from alia_ray.pipeline import evaluate_arms, run_discovery, run_edit, run_ingest, run_judge, run_train_base
from alia_ray.state import State

PLACES = {"biased": ("forest", "meadow", "lake", "beach"), "places": ("forest", "lake", "snow", "desert")}
RECIPE = Path(__file__).parent.parent / "alia_ray" / "recipes" / "miniature.yaml"
WORLDS = {
    "unbiased": ["source.bias=0.5"],
    "bias-0.8": ["source.bias=0.8"],
    "bias-0.95": ["source.bias=0.95"],
    "bias-1": ["source.bias=1"],
    "places": ["source.task=places", "judge.top_k=2"],
}
EDITORS = {
    "instruct_pix2pix": [],
    "img2img": IMG2IMG,
    "img2img, strong": [*IMG2IMG, "edit.strength=0.6"],  # loses the class more often
}
Row = dict[str, Any]


def main() -> None:
    """Make the edits of every world, judge them, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--editors", nargs="+", default=list(EDITORS), choices=list(EDITORS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="runs/filters", help="where the runs lie")
    parser.add_argument("--set", action="append", default=[], help="override of the recipe")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.worlds:
        for editor in options.editors:
            settings = configured(name, editor, options)
            with joined(settings.run) as cluster:
                make_edits(State(settings), cluster)
            rows += [{"world": name, "editor": editor, **row} for row in measure(State(settings))]
            print(f"{table(rows)}\n", flush=True)
            if options.out:
                options.out.write_text(json.dumps({"rows": rows}, indent=2) + "\n")


def configured(name: str, editor: str, options: argparse.Namespace) -> Config:
    """The configuration of a world and an editor; all editors of a world share its folder."""
    places = PLACES["places" if name == "places" else "biased"]
    prompts = [f"a photo of a {{}} bird {world.BACKGROUNDS[place]}" for place in places]
    overrides = [
        f"run.folder={options.folder}/{name}-seed-{options.seed}",
        f"run.seed={options.seed}",
        f"source.seed={options.seed}",
        f"discover.prompts={json.dumps(prompts)}",
        "train.arms=[original]",
        "edit.edits_per_image=all",
        "edit.keep_rejected=true",
    ]
    return load_config(RECIPE, [*overrides, *WORLDS[name], *EDITORS[editor], *options.set])


def make_edits(state: State, cluster: Cluster) -> None:
    """Everything that the measurement reads."""
    for stage in (run_ingest, run_discovery, run_train_base, run_judge, run_edit):
        stage(state, cluster)
    evaluate_arms([(state, BASE)], cluster)


def measure(state: State) -> list[Row]:
    """A row for each filter: the share that it keeps of edits that kept their class, and of those that lost it."""
    edits, judge = state.scored("discovered", "prompt", "image"), state.settings.judge
    edits = edits.filter(pc.is_null(edits.column("error")))
    has_class, is_seen = keeps_class(edits, state.classes), on_seen_place(edits, state)
    base = about_base(state, edits, has_class, is_seen)
    rows = []
    for name, variant in VARIANTS.items():
        found = verdicts(edits, state.thresholds(), judge.positives, variant.filters, variant.rule, judge.top_k)
        kept = np.array(found) == "kept"
        parts = {"good_seen": has_class & is_seen, "good_new": has_class & ~is_seen, "lost": ~has_class}
        shares = {part: share(kept, chosen) for part, chosen in parts.items()}
        rows.append({"filter": name, **shares, "lost_before": 1 - has_class.mean().item(), **base})
    return rows


def keeps_class(edits: pa.Table, classes: list[str]) -> np.ndarray:
    """Whether a held-out judge still sees the class of each edit."""
    pixels = [np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in edits.column("image").to_pylist()]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    network = class_judge(tuple(classes))
    with torch.inference_mode():
        seen = torch.cat([network(part).argmax(dim=1) for part in images.split(256)]).tolist()
    return np.array([classes[s] == label for s, label in zip(seen, edits["label"].to_pylist(), strict=True)])


@cache
def class_judge(classes: tuple[str, ...]) -> torch.nn.Module:
    """The held-out judge of some classes, trained on the first call."""
    return judges.train_class_judge(classes).eval()


def on_seen_place(edits: pa.Table, state: State) -> np.ndarray:
    """Whether the prompt names a place on which the class (mostly) stands in training."""
    source = state.settings.source
    homes = {
        label: dataset.PLACES["train"] if source.task == "places" else dataset.HOME[label]
        for label in state.classes
    }
    pairs = zip(edits["label"].to_pylist(), edits["prompt"].to_pylist(), strict=True)
    return np.array([any(p.endswith(world.BACKGROUNDS[place]) for place in homes[label]) for label, p in pairs])


def about_base(state: State, edits: pa.Table, has_class: np.ndarray, is_seen: np.ndarray) -> Row:
    """How good the base classifier is, and how sure of itself on good edits onto new places."""
    metrics = state.measured(BASE)
    right = np.array(edits["label"].to_pylist()) == np.array(edits["predicted_label"].to_pylist())
    confidence = np.array(edits["confidence"].to_pylist(), dtype=float)
    new = has_class & ~is_seen
    return {
        "base_accuracy": metrics["accuracy"],
        "base_worst_group": metrics["worst_group_accuracy"],
        "base_right_on_new": share(right, new),
        "base_confidence_on_new": float(confidence[new].mean()),
    }


def share(kept: np.ndarray, chosen: np.ndarray) -> float | None:
    """The share of `kept` among `chosen`; None where there are none."""
    return float(kept[chosen].mean()) if chosen.any() else None


def table(rows: list[Row]) -> str:
    """The rows as Markdown, in percent."""
    columns = {
        "world": "world",
        "editor": "editor",
        "filter": "filter",
        "good_seen": "keeps of good edits, seen",
        "good_new": "good, new",
        "lost": "class lost",
        "lost_before": "lost in all",
        "base_right_on_new": "base right on new",
        "base_confidence_on_new": "its confidence there",
    }
    lines = [list(columns.values()), ["---"] * len(columns)]
    lines += [[row[key] if isinstance(row[key], str) else percent(row[key]) for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float | None) -> str:
    """0.873 -> "87.3"."""
    return "–" if value is None else f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
