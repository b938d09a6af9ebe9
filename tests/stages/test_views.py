"""An original and its edits show the classifier the same view, whatever their shape and the training crop."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from trying import with_tries

from alia_ray.config import Config, Edit, Pixels, load_config
from alia_ray.edits.requests import Plan, plan_edits, requests_of
from alia_ray.edits.shapes import bucket_of, frame_of
from alia_ray.images import decode_rgb, encode
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature import dataset
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.classifier import build_classifier, pixels_for_training, save_classifier
from alia_ray.stages.edit import _by_bucket
from alia_ray.stages.trying import EditAndJudge, by_bucket, rules_of
from alia_ray.store.tables import DOMAINS

pytestmark = pytest.mark.slow
RECIPES = Path(__file__).parents[2] / "alia_ray" / "recipes"
CLASSES = list(dataset.CLASSES)[:2]
SHAPES = {
    "4:3": (2048, 1536),
    "16:9": (1920, 1080),
    "3:4": (1536, 2048),
    "panorama": (1600, 200),
    "odd": (501, 380),
}
MARKS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (30, 30, 230), "yellow": (230, 230, 20)}
VIEWS = {
    "the recipe's crop": load_config(RECIPES / "iwildcam.yaml").train.pixels,
    "the middle": Pixels(image_size=224),
    "all of it, squeezed": load_config(RECIPES / "cub.yaml").train.pixels,
    "a corner": Pixels(
        image_size=224, crop={"square": 256, "top": 8, "left": 100, "height": 120, "width": 150}, normalise=False
    ),
}


class Identity:
    """An editor whose edits are its sources."""

    said = None

    def __init__(self, settings: Edit, device: torch.device) -> None:
        self.shapes: list[tuple[int, int]] = []

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def edit(
        self, sources: torch.Tensor, prompts: list[str], seeds: list[int], shape: tuple[int, int]
    ) -> torch.Tensor:
        assert sources.shape[2:] == (shape[1], shape[0])
        self.shapes.append(shape)
        return sources.clone()


def settings_of(size: int, *changes: str) -> Config:
    edit = [f"edit.size={size}", "edit.steps=2", "edit.edits_per_image=1", "edit.keep_rejected=true"]
    return load_config(DEMO, [*edit, "judge.filters=[]", *changes])


def plan_of(settings: Config) -> Plan:
    found = domain_rows(["a photo of a {} bird at night"], [], settings.discover.prefix, 0)
    return plan_edits(pa.Table.from_pylist(found, schema=DOMAINS), settings.edit, settings.run.seed)


def worker_of(settings: Config, folder: str) -> EditAndJudge:
    save_classifier(
        folder, build_classifier("shufflenet_v2_x0_5", "none", 2), CLASSES, "shufflenet_v2_x0_5", Pixels()
    )
    rules = rules_of(settings.edit, plan_of(settings), folder, dict.fromkeys(CLASSES, 0.9))
    return EditAndJudge(settings.edit, settings.judge, rules)


def images_of(settings: Config, pictures: list[Image.Image]) -> pa.Table:
    rows = [
        {
            "image_id": f"image-{number}",
            "image": encode(picture),
            "label": CLASSES[number % 2],
            "group": "forest",
            "split": "train",
            "width": picture.width,
            "height": picture.height,
        }
        for number, picture in enumerate(pictures)
    ]
    table = pa.Table.from_pylist(rows)
    return with_tries(table, requests_of(table.drop_columns("image"), plan_of(settings)), 0)


def seen_box(shape: tuple[int, int], view: Pixels) -> tuple[float, float, float, float]:
    """What training sees of a picture, as left, top, right and bottom in its pixels."""
    width, height = shape
    if view.crop is None and view.resize == "squash":
        return 0, 0, width, height
    if view.crop is None:
        side = min(shape)
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side
    crop = view.crop
    x, y = width / crop.square, height / crop.square
    return crop.left * x, crop.top * y, (crop.left + crop.width) * x, (crop.top + crop.height) * y


def marked(shape: tuple[int, int], view: Pixels) -> Image.Image:
    """A grey picture with a coloured patch in each corner of what training sees."""
    left, top, right, bottom = seen_box(shape, view)
    wide, high = (right - left) / 10, (bottom - top) / 10
    pixels = np.full((shape[1], shape[0], 3), 128, np.uint8)
    corners = [(left, top), (right - wide, top), (left, bottom - high), (right - wide, bottom - high)]
    for colour, (x, y) in zip(MARKS.values(), corners, strict=True):
        pixels[round(y) : round(y + high), round(x) : round(x + wide)] = colour
    return Image.fromarray(pixels)


def places_of_marks(pixels: torch.Tensor) -> np.ndarray:
    """The extent of each colour in training pixels, uint8 (3, S, S): (4, left, top, right, bottom)."""
    found = []
    for colour in MARKS.values():
        near = (pixels.float() - torch.tensor(colour)[:, None, None]).abs().amax(0) < 60
        rows, columns = torch.nonzero(near.any(1)).flatten(), torch.nonzero(near.any(0)).flatten()
        found.append([columns.min(), rows.min(), columns.max(), rows.max()])
    return np.array(found, dtype=float)


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_marks_in_the_corners_of_the_training_crop_are_at_the_same_places_in_original_and_edit(
    shape, view, tmp_path, monkeypatch
):
    monkeypatch.setattr("alia_ray.models.editor.Editor", Identity)
    settings = settings_of(512, "edit.format=jpeg")
    picture = marked(shape, view)
    [edit] = worker_of(settings, str(tmp_path))(images_of(settings, [picture])).to_pylist()
    original = places_of_marks(pixels_for_training(encode(picture), view))
    assert decode_rgb(edit["image"]).size == frame_of(shape, 512)
    edited = places_of_marks(pixels_for_training(edit["image"], view))
    assert np.abs(original - edited).max() <= 2
    assert original[0, :2].max() <= 1  # the first mark begins in the very corner,
    assert original[3, 2:].min() >= 222  # and the last one ends in the other


@pytest.mark.parametrize("method", ["img2img", "instruct_pix2pix", "controlnet", "text_to_image"])
def test_every_method_s_edits_have_their_source_s_shape_in_batches_of_many_shapes(method, tmp_path, monkeypatch):
    settings = settings_of(48, *EDITING[method])
    worker = worker_of(settings, str(tmp_path))
    edit, made = worker.editor.edit, []

    def watched(*args: object) -> torch.Tensor:
        made.append((args[-1], edit(*args)))
        return made[-1][1]

    monkeypatch.setattr(worker.editor, "edit", watched)
    birds = [dataset.paint(f"v/{number}", CLASSES[number % 2], "forest", 1) for number in range(5)]
    shapes = [(96, 72), (48, 48), (72, 96), (96, 72), (160, 90)]
    pictures = [Image.fromarray(bird).resize(shape) for bird, shape in zip(birds, shapes, strict=True)]
    rows = sorted(worker(images_of(settings, pictures)).to_pylist(), key=lambda row: row["image_id"])
    assert [decode_rgb(row["image"]).size for row in rows] == [frame_of(shape, 48) for shape in shapes]
    assert [row["error"] for row in rows] == [None] * 5
    assert [edits.shape[2:] for _, edits in made] == [bucket[::-1] for bucket, _ in made]  # none drawn as a square
    alone = worker(images_of(settings, pictures).slice(4)).to_pylist()
    assert (alone[0]["edit_id"], alone[0]["seed"]) == (rows[4]["edit_id"], rows[4]["seed"])
    together, by_itself = (np.asarray(decode_rgb(row["image"]), int) for row in (rows[4], alone[0]))
    assert np.abs(together - by_itself).max() <= 1  # kernels sum in another order for another batch


def test_images_are_sorted_by_bucket_and_keep_their_order_within_one(tmp_path):
    shapes = [(40, 30), (30, 40), (30, 30), (80, 60), (31, 31)]
    images = pa.table({"width": [w for w, _ in shapes], "height": [h for _, h in shapes], "at": range(5)})
    found = by_bucket(images, 512)
    assert {bucket: table["at"].to_pylist() for bucket, table in found.items()} == {
        (512, 512): [2, 4],
        bucket_of((4, 3), 512): [0, 3],
        bucket_of((3, 4), 512): [1],
    }


def test_workers_are_handed_pictures_of_one_bucket_side_by_side(without_ray):
    settings = settings_of(48)
    pictures = [Image.new("RGB", shape) for shape in [(96, 72), (48, 48), (72, 96)] * 3]
    handed = _by_bucket(48)(images_of(settings, pictures))
    assert handed["width"].to_pylist() == [48] * 3 + [96] * 3 + [72] * 3
