from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alia_ray.config import ConfigError
from alia_ray.config.source import CsvTable, ImageFolder, MiniatureWorld, ParquetTable
from alia_ray.images import decode_rgb, encode
from alia_ray.sources import csv_table, list_images, read_images


def picture(value: int) -> bytes:
    return encode(Image.new("RGB", (4, 4), (value, 0, 0)))


@pytest.fixture
def tree(tmp_path):
    for label in ("cat", "dog"):
        for number in range(10):
            path = tmp_path / label / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture(number))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def folder(path, **options) -> ImageFolder:
    return ImageFolder(kind="imagefolder", path=str(path), **options)


def test_a_tree_without_splits_gets_them_per_class_and_always_the_same(tree):
    listing = list_images(folder(tree, val_fraction=0.25, test_fraction=0.2))
    counts = Counter(zip(listing["label"].to_pylist(), listing["split"].to_pylist(), strict=True))
    assert counts == {(c, s): n for c in ("cat", "dog") for s, n in (("test", 2), ("val", 2), ("train", 6))}
    assert list_images(folder(tree, val_fraction=0.25, test_fraction=0.2)).equals(listing)


def test_a_tree_with_splits_keeps_them_and_lacks_only_val(tmp_path):
    for split in ("train", "test"):
        for number in range(5):
            path = tmp_path / split / "cat" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number))
    listing = list_images(folder(tmp_path, val_fraction=0.2))
    assert Counter(listing["split"].to_pylist()) == {"train": 4, "val": 1, "test": 5}


@pytest.mark.parametrize(
    ("named", "counts"),
    [
        (("train", "extra"), {"train": 14, "val": 2, "test": 4, "extra": 20}),
        (("train", "val", "extra"), {"train": 20, "val": 20, "extra": 20}),
        (("train", "test", "extra"), {"train": 18, "val": 2, "test": 20, "extra": 20}),
    ],
)
def test_what_a_source_with_extra_images_lacks_is_held_out_of_train_alone(tmp_path, named, counts):
    for split in named:
        for number in range(20):
            path = tmp_path / split / "cat" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number))
    listing = list_images(folder(tmp_path, val_fraction=0.1, test_fraction=0.2))
    assert Counter(listing["split"].to_pylist()) == counts
    assert all((r["split"] == "extra") == r["origin"].startswith("extra/") for r in listing.to_pylist())


def test_a_file_that_vanished_is_an_error_and_not_an_exception(tree):
    source = folder(tree)
    listing = list_images(source)
    (tree / listing["origin"][0].as_py()).unlink()
    contents = read_images(source, listing.slice(0, 2))
    assert isinstance(contents[0], OSError)
    assert decode_rgb(contents[1]).size == (4, 4)


def test_a_picture_beside_the_class_folders_has_no_label_and_is_not_dropped(tree):
    (tree / "stray.png").write_bytes(picture(1))
    listing = list_images(folder(tree))
    assert listing.num_rows == 21
    assert {row["origin"] for row in listing.to_pylist() if row["label"] is None} == {"stray.png"}


def test_a_tree_of_which_only_some_lies_in_splits_is_refused(tmp_path):
    for path in ("train/cat/1.png", "unsorted/cat/2.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(picture(0))
    with pytest.raises(ConfigError, match=r"unsorted/cat/2\.png"):
        list_images(folder(tmp_path))


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"source\.path"):
        list_images(folder(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="no image"):
        list_images(folder(tmp_path))


def csv(tmp_path, text: str, **options) -> CsvTable:
    (tmp_path / "meta.csv").write_text(text)
    return CsvTable(kind="csv", path=str(tmp_path / "meta.csv"), root=str(tmp_path), **options)


def test_a_csv_names_files_labels_splits_and_groups(tree):
    text = "path,label,split,place\ncat/1.png,7,train,land\ndog/2.png,8,validation,sea\ncat/3.png,7,test,sea\n"
    source = csv(tree, text, group_column="place")
    listing = list_images(source)
    assert listing["split"].to_pylist() == ["train", "val", "test"]
    assert listing["label"].to_pylist() == ["7", "8", "7"]
    assert listing["group"].to_pylist() == ["land", "sea", "sea"]
    assert [np.asarray(decode_rgb(c))[0, 0, 0] for c in read_images(source, listing)] == [1, 2, 3]


def test_a_csv_path_out_of_the_root_is_refused(tree):
    with pytest.raises(ConfigError, match="leads out"):
        list_images(csv(tree, "path,label\n../secret.png,1\n"))


def test_a_split_of_an_unknown_name_is_refused_and_not_dropped(tree):
    with pytest.raises(ConfigError, match="holdout"):
        list_images(csv(tree, "path,label,split\ncat/1.png,1,train\ncat/2.png,1,holdout\n"))


def test_an_image_that_is_listed_twice_is_refused(tree):
    with pytest.raises(ConfigError, match=r"cat/1\.png.*2 times"):
        list_images(csv(tree, "path,label\ncat/1.png,1\ncat/2.png,1\ncat/1.png,2\n"))


def test_a_missing_csv_column_is_named(tree):
    with pytest.raises(ConfigError, match="label_column"):
        list_images(csv(tree, "path,class\ncat/1.png,1\n"))


@pytest.mark.parametrize("as_struct", [False, True])
def test_parquet_rows_are_found_again_in_any_order(tmp_path, as_struct):
    images = [picture(number) for number in range(30)]
    column = [{"bytes": image, "path": None} for image in images] if as_struct else images
    table = pa.table(
        {"image": column, "label": [n % 3 for n in range(30)], "split": ["train"] * 20 + ["test"] * 10}
    )
    pq.write_table(table.slice(0, 18), tmp_path / "a.parquet", row_group_size=7)
    pq.write_table(table.slice(18), tmp_path / "b.parquet", row_group_size=5)
    source = ParquetTable(kind="parquet", path=str(tmp_path), val_fraction=0.1)
    listing = list_images(source)
    assert Counter(listing["split"].to_pylist())["test"] == 10
    order = np.random.default_rng(0).permutation(30)
    values = [int(np.asarray(decode_rgb(c))[0, 0, 0]) for c in read_images(source, listing.take(order))]
    assert values == order.tolist()


def test_the_miniature_has_the_bias_it_was_asked_for():
    source = MiniatureWorld(kind="miniature", train=400, val=40, test=400, bias=0.95)
    listing = list_images(source)
    home = {"tarrel": ("forest", "meadow"), "mirrol": ("lake", "beach")}
    at_home = Counter()
    for row in listing.to_pylist():
        at_home[row["split"]] += row["group"].split("/")[1] in home[row["label"]]
    assert (at_home["train"], at_home["val"], at_home["test"]) == (380, 38, 200)


def test_another_seed_paints_other_pictures():
    one, other = (MiniatureWorld(kind="miniature", train=8, val=8, test=8, seed=seed) for seed in (0, 1))
    rows = list_images(one).slice(0, 4)
    assert read_images(one, rows) == read_images(one, rows)
    assert all(a != b for a, b in zip(read_images(one, rows), read_images(other, rows), strict=True))


def test_storage_that_does_not_answer_is_an_error_of_the_configuration(tree, monkeypatch):
    def silent(root: str, paths: list[str]) -> list[str]:
        raise OSError("AWS Error NETWORK_CONNECTION during\nListObjectsV2 operation")

    (tree / "meta.csv").write_text("path,label\ncat/0.png,cat\n")
    monkeypatch.setattr(csv_table, "versions", silent)
    with pytest.raises(ConfigError, match=r"source: its images cannot be listed: AWS Error .* ListObjectsV2"):
        list_images(CsvTable(kind="csv", path=str(tree / "meta.csv"), root=str(tree)))
