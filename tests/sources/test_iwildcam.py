from collections import Counter
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import IWildCam
from alia_ray.sources import list_images
from alia_ray.sources.iwildcam import CLASSES, WILDS_CODES

HEADER = ",Unnamed: 0,split,location_remapped,location,y,filename,image_id\n"
LISTS = {"train": "train_subset", "extra": "train_extra_subset", "val": "val_subset", "test": "test_subset"}


@pytest.fixture
def wild(tmp_path, picture) -> Path:
    """One picture of each class in each list; the files of the first class of `test` are not in the archive."""
    (tmp_path / "train").mkdir()
    for place, (split, name) in enumerate(LISTS.items()):
        lines = ""
        for number, code in enumerate(WILDS_CODES):
            file = f"{split}-{number}.jpg"
            lines += f"{number},{number},id_test,{place + 280},{place},{code},{file},{file[:-4]}\n"
            if (split, number) != ("test", 0):
                (tmp_path / "train" / file).write_bytes(picture(10 * place + number))
        (tmp_path / f"{name}.csv").write_text(HEADER + lines)
    return tmp_path


def source(root: Path, **options: object) -> IWildCam:
    return IWildCam(kind="iwildcam", path=str(root / "train"), lists=str(root), **options)


def rewrite(root: Path, name: str, old: str, new: str) -> None:
    path = root / f"{name}.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_the_lists_are_the_splits_and_the_numbers_of_wilds_are_the_classes(wild):
    rows = list_images(source(wild)).to_pylist()
    assert [(row["split"], row["label"]) for row in rows] == [(split, name) for split in LISTS for name in CLASSES]
    assert {row["split"]: row["group"] for row in rows} == {
        "train": "280",
        "extra": "281",
        "val": "282",
        "test": "283",
    }


def test_an_image_that_is_not_in_the_archive_is_an_error_and_not_an_exception(wild, numbers_read):
    listing = list_images(source(wild))
    assert numbers_read(source(wild), listing.slice(20, 3)) == [26, None, 31]


def test_classes_may_be_written_as_places_or_names(wild):
    expected = list_images(source(wild))
    for number, (code, name) in enumerate(zip(WILDS_CODES, CLASSES, strict=True)):
        rewrite(wild, "train_subset", f",{code},train-", f",{number},train-")
        rewrite(wild, "val_subset", f",{code},val-", f",{name},val-")
    assert list_images(source(wild)).equals(expected)


@pytest.mark.parametrize(
    ("code", "says"), [("7", "has y='7'"), ("", "has y=None"), ("cattle", "writes y in more")]
)
def test_an_unknown_class_is_refused_by_the_name_of_its_list(wild, code, says):
    rewrite(wild, "val_subset", ",24,val-", f",{code},val-")
    with pytest.raises(ConfigError, match=rf"source\.lists: val_subset\.csv {says}"):
        list_images(source(wild))


def test_places_and_numbers_of_wilds_are_not_mixed_in_one_list(wild):
    rewrite(wild, "test_subset", ",24,test-", ",1,test-")  # 1 is cattle among places, another species in WILDS
    with pytest.raises(ConfigError, match=r"test_subset\.csv writes y in more than one way"):
        list_images(source(wild))


def test_a_list_that_the_user_did_not_bring_is_named(wild):
    (wild / "train_extra_subset.csv").unlink()
    with pytest.raises(ConfigError, match=r"source\.lists: cannot read .*train_extra_subset\.csv"):
        list_images(source(wild))


def test_a_path_out_of_the_folder_is_refused(wild):
    rewrite(wild, "val_subset", "val-1.jpg", "../val-1.jpg")
    with pytest.raises(ConfigError, match="leads out"):
        list_images(source(wild))


def test_an_image_of_two_lists_has_an_origin_in_each(wild):
    rewrite(wild, "train_subset", "train-1.jpg", "test-1.jpg")
    origins = Counter(list_images(source(wild))["origin"].to_pylist())
    assert (origins["train/test-1.jpg"], origins["test/test-1.jpg"]) == (1, 1)


def test_lists_as_pandas_or_windows_write_them_are_the_same_lists(wild, numbers_read):
    expected = list_images(source(wild))
    for name in LISTS.values():
        path = wild / f"{name}.csv"
        rows = [line.split(",") for line in path.read_text().splitlines()]
        for row in rows[1:]:
            row[3], row[5] = f"{row[3]}.0", f"{row[5]}.0"  # as where one row of the column is empty
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*map(",".join, rows), "", ""]).encode())
    listing = list_images(source(wild))
    assert listing.equals(expected)
    assert numbers_read(source(wild), listing.slice(0, 2)) == [0, 1]
