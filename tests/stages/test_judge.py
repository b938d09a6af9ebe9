"""Scoring edits again, on the miniature's CLIP and a classifier of random weights."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Pixels, load_config
from alia_ray.images import encode
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import build_classifier, save_classifier
from alia_ray.stages import judge as stage
from alia_ray.stages.edit import edits_table
from alia_ray.stages.ingest import images_table
from alia_ray.stages.judge import describe_anew, judge, left_to_judge
from alia_ray.store.tables import EDITS, IMAGES

CLUSTER = Cluster(cpus=2, gpus=0)


@pytest.mark.parametrize("table", ["older", "own"])
def test_edits_have_the_label_and_group_that_their_image_has_now(without_ray, tmp_path, table):
    settings = load_config(DEMO, [f"run.folder={tmp_path}/run"])
    classes = ["blue bird", "red bird"]
    network = build_classifier("shufflenet_v2_x0_5", "none", len(classes))
    save_classifier(str(tmp_path / "base"), network, classes, "shufflenet_v2_x0_5", Pixels(image_size=48))
    picture = encode(Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)))
    edit = {"edit_id": "e", "image_id": "i", "image": picture, "image_bytes": len(picture)}
    images, target = images_table(settings), edits_table(settings, "base")
    now = {"image_id": "i", "label": "red bird", "group": "land", "split": "train"}
    images.commit(pa.Table.from_pylist([now], schema=IMAGES))
    made = edits_table(settings, "another base") if table == "older" else target
    made.commit(pa.Table.from_pylist([edit | {"label": "red_bird", "group": "sea"}], schema=EDITS))
    describe_anew(target, images)
    todo, thresholds = left_to_judge(target, ["e"]), dict.fromkeys(classes, 0.5)
    judge(settings, images, todo, ["e"], target, str(tmp_path / "base"), thresholds, CLUSTER)
    assert target.read(["label", "group", "image"]).to_pylist() == [
        {"label": "red bird", "group": "land", "image": picture}
    ]


class Labelling:
    """Scores an edit by calling it judged; needs its picture."""

    def __init__(self, *args: object) -> None:
        pass

    def __call__(self, edits: pa.Table) -> pa.Table:
        assert edits["image"].null_count == 0
        return pa.Table.from_pylist([{**row, "verdict": "kept"} for row in edits.to_pylist()], schema=EDITS)


@pytest.mark.parametrize("made_in", ["1", "2"])
def test_an_edit_that_failed_once_and_was_made_later_is_scored_once_as_it_was_made(
    without_ray, tmp_path, monkeypatch, made_in
):
    monkeypatch.setattr(stage, "_Judge", Labelling)
    settings = load_config(DEMO, [f"run.folder={tmp_path}/run"])
    images, target, older = images_table(settings), edits_table(settings, "b"), edits_table(settings, "a")
    of_image = {"image_id": "i", "label": "red bird", "group": "land"}
    images.commit(pa.Table.from_pylist([{**of_image, "split": "train"}], schema=IMAGES))
    made = {"edit_id": "e", **of_image, "image": b"png", "image_bytes": 3}
    failed = {"edit_id": "e", **of_image, "error": "one flat colour"}
    older.create()
    for name in "12":
        row = made if name == made_in else failed
        pq.write_table(pa.Table.from_pylist([row], schema=EDITS), f"{older.path}/part-{name}.parquet")
    judge(settings, images, left_to_judge(target, ["e"]), ["e"], target, "base", {}, CLUSTER)
    assert target.stored(["edit_id", "image", "error"]).to_pylist() == [
        {"edit_id": "e", "image": b"png", "error": None}
    ]
