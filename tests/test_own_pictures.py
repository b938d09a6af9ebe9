"""A whole run on a folder as people have it: wide and upright pictures, odd files, numbers for class names."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from in_process import passes_here, trainings_here
from PIL import Image

from alia_ray.cluster.joining import available
from alia_ray.config import Config, load_config
from alia_ray.edits.shapes import bucket_of, frame_of
from alia_ray.export.plan import plan_export, write_export
from alia_ray.images import decode_rgb
from alia_ray.miniature import dataset
from alia_ray.miniature.recipes import DEMO
from alia_ray.pipeline import run_all
from alia_ray.state import State

pytestmark = pytest.mark.slow
SHAPES = [(96, 72), (72, 96), (96, 64), (64, 64), (160, 90), (200, 40), (97, 71)]
CLASSES = {"737-200": "tarrel", "737-300": "mirrol"}
SPLITS = {"train": 14, "val": 4, "test": 4}


def picture(label: str, number: int) -> Image.Image:
    pixels = dataset.paint(f"own/{label}/{number}", CLASSES[label], "forest", 3)
    return Image.fromarray(pixels).resize(SHAPES[number % len(SHAPES)], Image.Resampling.BICUBIC)


def write_photos(folder: Path) -> int:
    """How many good pictures there are; beside them three files that are none, and one hidden."""
    count = 0
    for split, amount in SPLITS.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for number in range(amount):
                picture(label, count).save(folder / split / label / f"{number}.{('jpg', 'png')[number % 2]}")
                count += 1
    buffer = io.BytesIO()
    picture("737-200", 0).save(buffer, "jpeg")
    bad = folder / "train" / "737-200"
    (bad / "cut.jpg").write_bytes(buffer.getvalue()[:200])
    (bad / "page.jpg").write_text("<html>404</html>")
    (bad / "empty.png").write_bytes(b"")
    (bad / "._0.jpg").write_bytes(b"\x00\x05\x16\x07")
    return count


def settings_of(folder: Path) -> Config:
    changes = [
        f"run.folder={folder / 'run'}",
        "run.max_error_rate=0.2",
        "edit.steps=2",
        "edit.batch_size=4",
        "judge.filters=[]",
        "train.arms=[original, alia]",
        "train.epochs=1",
        "train.batch_size=8",
        'discover.prompts=["a photo of a {} bird at night", "a photo of a {} bird in the snow"]',
    ]
    source = f"source={{kind: imagefolder, path: {folder / 'photos'}}}"
    return load_config(DEMO, [*changes, source])


@pytest.fixture(scope="module")
def finished(ray_cluster, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_photos(folder / "photos")
    with passes_here(), trainings_here():
        run_all(settings_of(folder), available("auto"))
    return folder


def test_every_file_is_an_image_or_an_error_and_a_hidden_one_is_neither(finished):
    images = pq.read_table(finished / "run" / "images").to_pylist()
    errors = pq.read_table(finished / "run" / "errors").to_pylist()
    assert Counter(row["split"] for row in images) == {split: 2 * amount for split, amount in SPLITS.items()}
    assert {row["key"].rpartition("/")[2] for row in errors} == {"cut.jpg", "page.jpg", "empty.png"}


def test_edits_are_as_wide_as_their_sources_and_say_at_which_shape_they_were_made(finished):
    sources = {row["image_id"]: row for row in pq.read_table(finished / "run" / "images").to_pylist()}
    edits = pq.read_table(finished / "run" / "edits").to_pylist()
    made = [row for row in edits if row["error"] is None]
    assert len(made) > len(sources) / 2
    for row in made:
        source = sources[row["image_id"]]
        shape = (source["width"], source["height"])
        assert decode_rgb(row["image"]).size == frame_of(shape, 48)
        how = json.loads(row["parameters"])
        assert (how.get("width", 48), how.get("height", 48)) == bucket_of(shape, 48)


def test_an_export_holds_whole_pictures(finished, tmp_path):
    state = State(settings_of(finished))
    write_export(plan_export(state, str(tmp_path / "out"), "imagefolder"), available("auto"))
    shapes = {frame_of(shape, 48) for shape in SHAPES} | set(SHAPES)
    paths = [path for path in (tmp_path / "out" / "train").rglob("*.*") if path.suffix in (".png", ".jpg")]
    found = {Image.open(path).size for path in paths}
    assert found <= shapes
    assert len(found) > len(SHAPES)


def test_what_is_stored_of_a_good_file_is_the_file(finished):
    first = finished / "photos" / "train" / "737-200" / "1.png"
    rows = pq.read_table(
        finished / "run" / "images", filters=[("origin", "==", "train/737-200/1.png")]
    ).to_pylist()
    assert rows[0]["image"] == first.read_bytes()
    assert np.array_equal(np.asarray(decode_rgb(rows[0]["image"])), np.asarray(Image.open(first)))
