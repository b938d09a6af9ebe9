import numpy as np
import pytest
from PIL import Image

from alia_ray.cluster import available
from alia_ray.config import Config, parse_config
from alia_ray.errors import StageError
from alia_ray.images import decode_rgb
from alia_ray.stages.ingest import images_table, ingest


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 255, (10, 12, 3), np.uint8)
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
