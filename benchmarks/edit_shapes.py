"""What pictures of many shapes cost the edit stage's worker, against as many squares: same weights, same run.

    python benchmarks/edit_shapes.py --out shapes.json                           # the miniature, on a CPU
    python benchmarks/edit_shapes.py --model random:sd15 --size 512 --steps 50   # real size, on a GPU

The mix is an assumption, MIX below: photographs, mostly wide, some upright, few square. It comes as the stage
hands it out: images that follow each other in a file are sorted by bucket, and cut into calls. How full the
batches were is counted, and how many pixels an edit of the mix has for each of a square's, since buckets hold
about as many and not just as many.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from figures import write
from measuring import name_of
from PIL import Image
from trying import with_tries

from alia_ray.config import Config, Pixels, load_config
from alia_ray.edits.requests import OF_IMAGES, Plan, plan_edits, requests_of
from alia_ray.images import encode
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature import dataset, world
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.classifier import build_classifier, save_classifier
from alia_ray.stages.edit import IMAGES_PER_PLACE
from alia_ray.stages.trying import EditAndJudge, by_bucket, rules_of
from alia_ray.store.tables import DOMAINS

MIX = {(4, 3): 0.4, (3, 2): 0.25, (5, 4): 0.05, (3, 4): 0.1, (2, 3): 0.1, (1, 1): 0.1}
"""Share of each aspect ratio; the assumption that the figure rests on."""
CLASSES = list(dataset.CLASSES)[:2]


def main() -> None:
    """Edit squares and the mix in turn, print the ratio, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="instruct_pix2pix", choices=list(EDITING))
    parser.add_argument("--model", help="as edit.model.name; none: the miniature's")
    parser.add_argument("--size", type=int, default=48, help="as edit.size")
    parser.add_argument("--steps", type=int, default=8, help="as edit.steps")
    parser.add_argument("--batch", type=int, default=16, help="as edit.batch_size")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    settings = configured(options)
    plan = plan_of(settings)
    with tempfile.TemporaryDirectory() as folder:
        network = build_classifier("shufflenet_v2_x0_5", "none", len(CLASSES))
        save_classifier(folder, network, CLASSES, "shufflenet_v2_x0_5", Pixels(image_size=options.size))
        rules = rules_of(settings.edit, plan, folder, dict.fromkeys(CLASSES, 0.9))
        worker = EditAndJudge(settings.edit, settings.judge, rules)
    mixes = {"squares": {(1, 1): 1.0}, "mix": MIX}
    tables = {name: images_of(options, plan, shares) for name, shares in mixes.items()}
    for table in tables.values():
        edited(worker, table.slice(0, 2 * options.batch))
    rounds = [{name: edited(worker, table) for name, table in tables.items()} for _ in range(options.rounds)]
    ratios = [each["mix"]["seconds"] / each["squares"]["seconds"] for each in rounds]
    last = rounds[-1]
    pixels = last["mix"]["pixels"] / last["squares"]["pixels"]
    result = {"time_against_squares": statistics.median(ratios), "pixels_against_squares": pixels}
    print(
        f"{name_of(worker.editor.device)}: {settings.edit.method}, {options.size} pixels, {options.images} images"
    )
    for name, row in last.items():
        print(f"{name}: batches {100 * row['full']:.0f} % full, {options.images / row['seconds']:.1f} edits/s")
    print(
        f"an edit of the mix takes {result['time_against_squares']:.2f} times as long, with {pixels:.2f} times as "
        "many pixels"
    )
    write(options.out, {"device": name_of(worker.editor.device), "rounds": rounds, "ratios": result})


def configured(options: argparse.Namespace) -> Config:
    """The demo's editor, or another model; every edit survives, so that each image is edited once."""
    changes = [*EDITING[options.method], f"edit.size={options.size}", f"edit.steps={options.steps}"]
    changes += [f"edit.batch_size={options.batch}", "edit.edits_per_image=1", "judge.filters=[]"]
    if options.model:
        changes.append(f"edit.model.name={options.model}")
    return load_config(DEMO, changes)


def plan_of(settings: Config) -> Plan:
    """One prompt."""
    prompts = [f"a photo of a {{}} bird {next(iter(world.BACKGROUNDS.values()))}"]
    found = domain_rows(prompts, [], settings.discover.prefix, 0)
    return plan_edits(pa.Table.from_pylist(found, schema=DOMAINS), settings.edit, settings.run.seed)


def images_of(options: argparse.Namespace, plan: Plan, shares: dict[tuple[int, int], float]) -> pa.Table:
    """Training images whose shapes alternate by their shares, each to be edited once."""
    rows, taken = [], dict.fromkeys(shares, 0)
    for number in range(options.images):
        aspect = max(shares, key=lambda each: shares[each] * (number + 1) - taken[each])
        taken[aspect] += 1
        label = CLASSES[number % 2]
        shape = (options.size * aspect[0] // min(aspect), options.size * aspect[1] // min(aspect))
        picture = Image.fromarray(dataset.paint(f"shapes/{number}", label, "forest", 0)).resize(shape)
        ids = {"image_id": f"{number:032x}", "label": label, "group": "forest", "split": "train"}
        rows.append({**ids, "width": shape[0], "height": shape[1], "image": encode(picture)})
    table = pa.Table.from_pylist(rows)
    table = with_tries(table, requests_of(table.select(list(OF_IMAGES)), plan), 0)
    return pa.concat_tables(by_bucket(table, options.size).values())


def edited(worker: EditAndJudge, images: pa.Table) -> dict[str, Any]:
    """Edit all images in the stage's calls: seconds, pixels, and the mean share of a batch that was filled."""
    batches, pixels, edit = [], [], worker.editor.edit

    def counting(sources: torch.Tensor, prompts: list[str], *others: Any) -> torch.Tensor:
        made = edit(sources, prompts, *others)
        batches.append(len(prompts) / worker.rules.at_once)
        pixels.append(made[:, 0].numel())
        return made

    worker.editor.edit = counting
    size = IMAGES_PER_PLACE * worker.rules.at_once
    started = time.perf_counter()
    for start in range(0, images.num_rows, size):
        worker(images.slice(start, size))
    seconds = time.perf_counter() - started
    worker.editor.edit = edit
    return {"seconds": seconds, "pixels": sum(pixels), "full": statistics.mean(batches)}


if __name__ == "__main__":
    main()
