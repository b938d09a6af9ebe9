"""A run with 200 classes, 15 domains and 40 groups, with names as people have them, as a report's inputs."""

import numpy as np
import pyarrow as pa
from PIL import Image

from alia_ray.config import Judge
from alia_ray.images import encode
from alia_ray.report.inputs import ReportInputs
from alia_ray.store.run_folder import RunFolder

NAMES = [
    "Ramphastos toco albogularis subspecies of the upper Rio Negro and its tributaries",
    "W" * 120,
    "الطائر الأزرق الصغير",
    "ציפור שיר קטנה",
    "🦜🦜 parrot 👩‍👩‍👧",
    "黑腳信天翁",
    "<b>bold</b> & co",
]
CLASSES = NAMES + [f"{n:03d}.Western_Meadow_Lark_{n}" for n in range(len(NAMES), 200)]
GROUPS = [
    f"{name} / {place}" for name in (*NAMES, "ordinary") for place in ("lake", "snow", "desert", "city", "night")
]
PLACES = "on a lake,in the snow,in a desert at dusk,over the open sea in heavy rain with waves,in a city"
PLACES += (
    ",at night,on a wire,in tall grass,in fog,on a roof,at a feeder,in a cage,on the ice,in a reed bed,in a hand"
)
DOMAINS = [f"a photo of a {{}} bird {place}" for place in PLACES.split(",")]
FILTERS = ["semantic", "too_similar", "mislabelled"]


def picture(number: int, size: int = 120) -> bytes:
    """Smooth, as photographs are, and all different."""
    across, down = np.meshgrid(np.linspace(0, 3, size), np.linspace(0, 3, size))
    shades = [np.sin(across * (1 + number % 5) + down * k + number) for k in (1, 2, 3)]
    return encode(Image.fromarray((127 + 100 * np.stack(shades, axis=-1)).astype(np.uint8)))


PICTURES = [picture(number) for number in range(6)]


def _predictions(draws: np.random.Generator, share: float) -> pa.Table:
    ids = [f"t{n:06d}" for n in range(200 * 24)]
    labels = [CLASSES[n % 200] for n in range(len(ids))]
    is_right = draws.random(len(ids)) < share
    predicted = [
        name if ok else CLASSES[(n % 200 + 1 + n % 3) % 200]
        for n, (name, ok) in enumerate(zip(labels, is_right, strict=True))
    ]
    groups = [GROUPS[n % len(GROUPS)] for n in range(len(ids))]
    return pa.table({"id": ids, "label": labels, "group": groups, "predicted": predicted})


def _metrics(table: pa.Table) -> dict[str, object]:
    rows = table.to_pylist()

    def shares(column: str) -> dict[str, float]:
        right: dict[str, list[bool]] = {}
        for row in rows:
            right.setdefault(row[column], []).append(row["label"] == row["predicted"])
        return {name: sum(found) / len(found) for name, found in right.items()}

    of_classes, of_groups = shares("label"), shares("group")
    accuracy = sum(row["label"] == row["predicted"] for row in rows) / len(rows)
    return {
        "accuracy": accuracy,
        "class_balanced_accuracy": sum(of_classes.values()) / len(of_classes),
        "worst_group_accuracy": min(of_groups.values()),
        "macro_f1": accuracy,
        "per_class": of_classes,
        "per_group": of_groups,
        "count": len(rows),
    }


def _image(number: int, row: dict[str, str]) -> dict[str, object]:
    shown = {"image": PICTURES[number % 6], "width": 120, "height": 120}
    named = {"image_id": row["id"], "label": row["label"], "group": row["group"], "origin": row["id"]}
    return {**named, **shown, "split": "test"}


def _edit(number: int) -> dict[str, object]:
    """Of five, two are kept, two too similar, and one is mislabelled."""
    verdict = ("kept", "kept", "too_similar", "too_similar", "mislabelled")[number % 5]
    source, is_wrong = number // len(DOMAINS), verdict == "mislabelled"
    return {
        "edit_id": f"e{number:06d}",
        "image_id": f"t{source:06d}",
        "domain_id": f"d{number % len(DOMAINS)}",
        "label": CLASSES[source % 200],
        "prompt": DOMAINS[number % len(DOMAINS)],
        "image": PICTURES[number % 6],
        "verdict": verdict,
        "semantic_score": 0.7,
        "semantic_text": "a photo",
        "predicted_label": CLASSES[(source + is_wrong) % 200],
        "confidence": 0.5 if verdict == "kept" else 0.8,
        "label_rank": 1 + is_wrong,
        "edit_seconds": 0.5,
        "judge_seconds": 0.1,
    }


def inputs(folder: RunFolder) -> ReportInputs:
    draws = np.random.default_rng(0)
    predictions = {name: _predictions(draws, share) for name, share in (("original", 0.6), ("alia", 0.8))}
    arms = {name: _metrics(table) for name, table in predictions.items()}
    ends = {"accuracy": [0.18, 0.22], "class_balanced_accuracy": [0.18, 0.22], "worst_group_accuracy": None}
    arms["original"] |= {"difference": None, "interval": {"accuracy": [0.58, 0.61]}}
    mean = {key: arms["alia"][key] - arms["original"][key] for key in (*ends, "macro_f1")}
    arms["alia"] |= {
        "difference": {"to": "original", "mean": mean, "interval": ends},
        "interval": {"accuracy": [0.79, 0.81]},
    }
    tables = {name: folder.table(name, "wide") for name in ("images", "domains", "edits", "captions")}
    test = predictions["original"].to_pylist()
    domains = [
        {"domain_id": f"d{n}", "prompt": prompt, "support": 90 - n, "captions_read": 200}
        for n, prompt in enumerate(DOMAINS)
    ]
    edits = [_edit(n) for n in range(3600)]
    rows = {
        "images": [_image(n, row) for n, row in enumerate(test)],
        "domains": domains,
        "captions": [{"image_id": row["id"], "caption": f"a {row['label']} on a lake"} for row in test[:40]],
        "edits": edits,
    }
    for name, table in tables.items():
        table.commit(pa.Table.from_pylist(rows[name], schema=table.schema))
    return ReportInputs(
        **tables,
        judge=Judge(filters=FILTERS, confidence_rule="code"),
        selected=pa.array([row["edit_id"] for row in edits if row["verdict"] == "kept"]),
        metrics={
            "arms": arms,
            "stages": {"edit": {"rows": 3600, "made": 1200, "reused": 2400, "errors": 0, "seconds": 812.0}},
        },
        predictions=predictions,
        thresholds=dict.fromkeys(CLASSES, 0.7),
        about={
            "version": "0.1.0",
            "date": "2026-11-27T18:20:00+00:00",
            "command": "alia-ray run mine.yaml --set edit.steps=50",
            "configuration": "1a2b3c4d5e6f",
            "devices": ["NVIDIA H100 80GB HBM3"],
        },
        history={name: [{"epoch": n, "loss": 1 / n} for n in range(1, 9)] for name in predictions},
        made_with={"edits": ["3,600 rows: alia-ray 0.1.0, diffusers 0.36.0, NVIDIA H100 80GB HBM3, bfloat16"]},
        config_yaml="run:\n  folder: runs/wide\n",
    )
