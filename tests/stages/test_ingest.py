from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alia_ray.cluster.joining import available
from alia_ray.config import Config, parse_config
from alia_ray.images import decode_rgb
from alia_ray.stages.ingest import images_table, ingest
from alia_ray.store.run_folder import Table


def settings(tmp_path, **run) -> Config:
    return parse_config(
        {
            "run": {"folder": str(tmp_path / "run"), "max_error_rate": 0.3, **run},
            "source": {"kind": "imagefolder", "path": str(tmp_path / "photos")},
        }
    )


@pytest.fixture(scope="module")
def folder(ray_cluster, tmp_path_factory) -> Path:
    """A folder of twelve good pictures, two odd ones, two broken files and one beside the classes, ingested."""
    folder = tmp_path_factory.mktemp("ingest")
    photos = folder / "photos"
    for label in ("cat", "dog"):
        (photos / label).mkdir(parents=True)
        for number in range(6):
            seed = [number, len(label), ord(label[0])]
            noise = np.random.default_rng(seed).integers(0, 255, (10, 12, 3), np.uint8)
            Image.fromarray(noise).save(photos / label / f"{number}.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(photos / "cat" / "deep.png")
    Image.new("RGBA", (5, 5), (255, 0, 0, 0)).save(photos / "cat" / "clear.png")
    (photos / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    (photos / "dog" / "empty.png").write_bytes(b"")
    Image.new("RGB", (3, 3)).save(photos / "stray.png")
    ingest(settings(folder), available("cpu"))
    return folder


def test_every_picture_becomes_an_upright_rgb_row(folder):
    rows = images_table(settings(folder)).read().to_pylist()
    assert len(rows) == 14
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    for row in rows:
        picture = decode_rgb(row["image"])
        assert (picture.mode, picture.size) == ("RGB", (row["width"], row["height"]))
    clear = next(row for row in rows if row["origin"] == "cat/clear.png")
    assert np.asarray(decode_rgb(clear["image"])).min() == 255


def test_what_is_no_labelled_picture_is_a_row_of_errors_with_its_reason(folder):
    errors = images_table(settings(folder)).errors("ingest").read().to_pylist()
    reasons = {row["key"]: row["reason"] for row in errors}
    assert set(reasons) == {"dog/broken.jpg", "dog/empty.png", "stray.png"}
    assert all(row["stage"] == "ingest" for row in errors)
    assert reasons.pop("stray.png") == "has no label"
    assert all("cannot be decoded" in reason for reason in reasons.values())


def test_new_pictures_are_added_and_known_ones_not_read_again(folder):
    config = settings(folder)
    before = images_table(config).files()
    Image.new("RGB", (3, 3)).save(folder / "photos" / "cat" / "new.png")
    table = ingest(config, available("cpu"))
    assert len(table.ids()) == 15
    assert set(before) < set(table.files())
    assert images_table(config).files() == table.files()


def with_twins(tmp_path) -> Config:
    """Named splits; b.png of train is also in val, and c.png of train and of val in test, under other names."""
    held = {"train": "abcd", "val": "BCe", "test": "Cf"}
    for split, names in held.items():
        folder = tmp_path / "photos" / split / "cat"
        folder.mkdir(parents=True)
        for name in names:
            noise = np.random.default_rng(ord(name.lower())).integers(0, 255, (4, 6, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{name}.png")
    return settings(tmp_path, max_error_rate=0)


LEFT_OUT = [
    {"key": "train/cat/b.png", "reason": "the same picture as 'val/cat/B.png' in the split val"},
    {"key": "train/cat/c.png", "reason": "the same picture as 'test/cat/C.png' in the split test"},
    {"key": "val/cat/C.png", "reason": "the same picture as 'test/cat/C.png' in the split test"},
]


def origins(table) -> dict[str, list[str]]:
    rows = table.read(["split", "origin"]).to_pylist()
    return {
        split: sorted(row["origin"][-5] for row in rows if row["split"] == split)
        for split in ("train", "val", "test")
    }


def test_a_picture_that_another_split_holds_is_left_out_even_by_a_killed_run(ray_cluster, tmp_path, monkeypatch):
    config = with_twins(tmp_path)
    discard = Table.discard

    def killed(table: Table, ids: set[str]) -> None:
        discard(table, {min(ids)})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Table, "discard", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(config, available("cpu"))
    table = ingest(config, available("cpu"))
    assert origins(table) == {"train": ["a", "d"], "val": ["B", "e"], "test": ["C", "f"]}
    assert table.errors("ingest").read(["key", "reason"]).to_pylist() == LEFT_OUT
    files = table.files()
    ingest(config, available("cpu"))
    assert table.files() == files  # and are not read again
