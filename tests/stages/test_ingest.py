import numpy as np
import pytest
from PIL import Image

from alia_ray.cluster import available
from alia_ray.config import Config, parse_config
from alia_ray.errors import StageError
from alia_ray.images import decode_rgb
from alia_ray.run_folder import Table
from alia_ray.stages.ingest import images_table, ingest


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng([number, len(label), ord(label[0])]).integers(
                0, 255, (10, 12, 3), np.uint8
            )
            Image.fromarray(noise).save(folder / label / f"{number}.png")
    return folder


def settings(tmp_path, **run) -> Config:
    return parse_config(
        {
            "run": {"folder": str(tmp_path / "run"), "max_error_rate": 0.3, **run},
            "source": {"kind": "imagefolder", "path": str(tmp_path / "photos")},
        }
    )


def test_every_picture_becomes_an_upright_rgb_row(ray_cluster, photos, tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(photos / "cat" / "deep.png")
    Image.new("RGBA", (5, 5), (255, 0, 0, 0)).save(photos / "cat" / "clear.png")
    rows = ingest(settings(tmp_path), available("cpu")).read().to_pylist()
    assert len(rows) == 14
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    for row in rows:
        picture = decode_rgb(row["image"])
        assert (picture.mode, picture.size) == ("RGB", (row["width"], row["height"]))
    clear = next(row for row in rows if row["origin"] == "cat/clear.png")
    assert np.asarray(decode_rgb(clear["image"])).min() == 255


def test_a_broken_file_is_a_row_of_errors_with_its_reason(ray_cluster, photos, tmp_path):
    (photos / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    (photos / "dog" / "empty.png").write_bytes(b"")
    config = settings(tmp_path)
    table = ingest(config, available("cpu"))
    errors = table.errors("ingest").read().to_pylist()
    assert {row["key"] for row in errors} == {"dog/broken.jpg", "dog/empty.png"}
    assert all(row["stage"] == "ingest" and "cannot be decoded" in row["reason"] for row in errors)
    assert len(table.ids()) == 12


def test_a_picture_without_a_class_is_a_row_of_errors(ray_cluster, photos, tmp_path):
    Image.new("RGB", (3, 3)).save(photos / "stray.png")
    table = ingest(settings(tmp_path), available("cpu"))
    assert table.errors("ingest").read(["key", "reason"]).to_pylist() == [
        {"key": "stray.png", "reason": "has no label"}
    ]
    assert len(table.ids()) == 12


def test_new_pictures_are_added_and_known_ones_not_read_again(ray_cluster, photos, tmp_path):
    config = settings(tmp_path)
    before = ingest(config, available("cpu")).files()
    Image.new("RGB", (3, 3)).save(photos / "cat" / "new.png")
    table = ingest(config, available("cpu"))
    assert len(table.ids()) == 13
    assert set(before) < set(table.files())
    assert images_table(config).files() == table.files()


def test_too_many_broken_files_fail_the_stage(ray_cluster, photos, tmp_path):
    (photos / "dog" / "broken.jpg").write_bytes(b"no")
    with pytest.raises(StageError, match=r"max_error_rate=0.01"):
        ingest(settings(tmp_path, max_error_rate=0.01), available("cpu"))


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


def test_a_picture_of_a_more_important_split_is_left_out_with_its_twins_name(ray_cluster, tmp_path):
    config = with_twins(tmp_path)
    table = ingest(config, available("cpu"))
    assert origins(table) == {"train": ["a", "d"], "val": ["B", "e"], "test": ["C", "f"]}
    assert table.errors("ingest").read(["key", "reason"]).to_pylist() == LEFT_OUT
    files = table.files()
    ingest(config, available("cpu"))
    assert table.files() == files  # and are not read again


def test_leaving_twins_out_survives_being_killed(ray_cluster, tmp_path, monkeypatch):
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
