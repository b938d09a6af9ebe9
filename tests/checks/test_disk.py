"""What a run takes of a disk, against what is free there."""

from collections import namedtuple

import pyarrow as pa
import pytest
from PIL import Image

from alia_ray.checks import disk
from alia_ray.checks.plan import check_fits
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, ConfigError, load_config
from alia_ray.images import encode
from alia_ray.miniature.recipes import DEMO
from alia_ray.sources import list_images
from alia_ray.stages.ingest import images_table
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import IMAGES

HERE = Cluster(cpus=3, gpus=0)
LISTING = pa.table({"split": ["train"] * 1000 + ["val"] * 100 + ["test"] * 100})
Usage = namedtuple("Usage", ["total", "used", "free"])


def settings(tmp_path, *overrides: str) -> Config:
    return load_config(DEMO, [f"run.folder={tmp_path / 'run'}", "edit.edits_per_image=null", *overrides])


@pytest.fixture
def photos(tmp_path) -> str:
    """Six pictures, noise, of which each takes some 30 kB."""
    noise = Image.effect_noise((100, 100), 90).convert("RGB")
    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(encode(noise))
    return f"source={{kind: imagefolder, path: {tmp_path / 'photos'}}}"


def small_disk(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(2 * int(free), int(free), int(free)))


@pytest.mark.parametrize(
    ("overrides", "most", "kept"),
    [
        ([], 9000, 1000),  # one for each image, of nine prompts
        (["select.num_extra=50"], 9000, 50),
        (["discover.prompts=['a {} here', 'a {} there']", "edit.edits_per_image=all"], 2000, 2000),
        (["discover.prompts=['a {} here', 'a {} there']", "select.edits_per_image=3"], 2000, 2000),
        (["train.arms=[original, alia, alia_user_prompts]"], 10_000, 2000),
        (["train.arms=[original, alia, alia_unfiltered]"], 9000, 9000),  # which draws from all
    ],
)
def test_edits_are_counted_as_the_arms_and_the_draw_need_them(tmp_path, overrides, most, kept):
    chosen = settings(tmp_path, "train.arms=[original, alia]", *overrides)
    assert (disk.most_edits(chosen, 1000), disk.kept_edits(chosen, LISTING)) == (most, kept)


def test_pictures_edits_and_trainings_are_counted_and_what_is_there_is_not(tmp_path, photos):
    chosen = settings(tmp_path, photos, "train.architecture=resnet18", "train.arms=[original, alia]")
    listing = list_images(chosen.source)
    needed = disk.parts(chosen, HERE, listing)
    size = (tmp_path / "photos" / "train" / "cat" / "a.png").stat().st_size
    assert needed["images"] == 6 * size
    assert needed["edits"] == pytest.approx(2 * 48**2 * disk.BYTES_PER_PIXEL["png"])
    assert needed["trainings"] > 11_689_512 * (2 * 4 + 3 * 8 - 1)
    row = {"image_id": "1", "image": b"x" * 20_000, "label": "cat", "split": "train"}
    images_table(chosen).commit(pa.Table.from_pylist([row], schema=IMAGES))
    for name in ("one", "two"):
        RunFolder(chosen.run.folder).write_json({}, "classifiers", name, "history.json")
    left = disk.parts(chosen, HERE, listing)
    assert left["images"] < 6 * size - 1000
    assert left["trainings"] == 0


def test_a_disk_that_cannot_hold_the_run_is_refused_before_it_starts_with_the_parts(tmp_path, photos, monkeypatch):
    chosen = settings(tmp_path, photos, "train.architecture=resnet50")
    listing = list_images(chosen.source)
    needed = sum(disk.parts(chosen, HERE, listing).values())
    small_disk(monkeypatch, 0.4 * needed)
    with pytest.raises(ConfigError) as refused:
        check_fits(chosen, HERE, listing)
    assert str(refused.value).startswith(
        f"run.folder: the run takes about {needed / 1e9:.2f} GB (images 0.00, edits"
    )
    assert "trainings" in str(refused.value)
    assert "name a folder on a larger disk" in str(refused.value)
    small_disk(monkeypatch, 0.7 * needed)
    check_fits(chosen, HERE, listing)
    assert len(list(disk.doubtful_things(chosen, HERE, listing))) == 1
    small_disk(monkeypatch, 1.1 * needed)
    assert not list(disk.doubtful_things(chosen, HERE, listing))


def test_an_object_store_has_no_end():
    assert disk.free_bytes(RunFolder("s3://bucket/run?region=eu-west-1")) is None
