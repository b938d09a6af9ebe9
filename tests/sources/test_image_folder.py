import os
import unicodedata
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import ImageFolder
from alia_ray.sources import list_images, notes, read_images


def source(root: Path) -> ImageFolder:
    return ImageFolder(kind="imagefolder", path=str(root), val_fraction=0, test_fraction=0)


@pytest.fixture
def put(tmp_path, picture):
    """Writes files below tmp_path, pictures all of them, whatever they are called."""

    def write(*paths: str) -> Path:
        for number, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(picture(number))
        return tmp_path

    return write


def labels(root: Path) -> dict[str, str | None]:
    return {row["origin"]: row["label"] for row in list_images(source(root)).to_pylist()}


HIDDEN = (
    ".ipynb_checkpoints/1-checkpoint.jpg",
    "__MACOSX/cat/1.jpg",
    "cat/._1.jpg",
    "cat/.DS_Store",
    "cat/Thumbs.db",
    "dog/@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg",
    ".thumbnails/large/1.png",
    "lost+found/1.jpg",
    "$RECYCLE.BIN/S-1-5/1.jpg",
    "System Volume Information/1.jpg",
    ".git/logo.png",
    "cat/1.jpg:Zone.Identifier",
    "cat/1.jpg~",
    "cat/~$1.jpg",
    "~snapshot/cat/1.jpg",
)


def test_what_systems_and_tools_leave_behind_is_neither_a_class_nor_an_image_and_is_counted(put):
    root = put("cat/1.jpg", "dog/1.jpg", *HIDDEN)
    assert labels(root) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    assert notes(list_images(source(root))) == [f"passed over: {len(HIDDEN)} hidden"]


def test_a_root_within_a_hidden_folder_is_read(put):
    root = put(".cache/photos/cat/1.jpg")
    assert labels(root / ".cache" / "photos") == {"cat/1.jpg": "cat"}


NAMES = (
    "1.jfif",
    "2.JPG",
    "3.avif",
    "4.heic",
    "5.jp2",
    "6.pgm",
    "7.tga",
    "8",
    "9.jpeg.1",
    "10.jpg?width=300",
    "11.odd",
)


def test_a_picture_is_listed_whatever_its_ending(put, numbers_read):
    root = put(*(f"cat/{name}" for name in NAMES))
    listing = list_images(source(root))
    assert {origin.removeprefix("cat/") for origin in listing["origin"].to_pylist()} == set(NAMES)
    assert sorted(numbers_read(source(root), listing)) == list(range(len(NAMES)))
    assert not notes(listing)


def test_what_is_no_picture_by_its_ending_is_passed_over_and_counted(put):
    root = put(
        "cat/1.jpg", "cat/1.txt", "dog/1.png", "dog/1.TXT", "dog/1.xml", "wnids.json", "README", "cat/x.mp4"
    )
    listing = list_images(source(root))
    assert listing["origin"].to_pylist() == ["cat/1.jpg", "dog/1.png"]
    counts = ".txt 2, no ending 1, .mp4 1, .xml 1, .json 1"
    assert notes(listing) == [f"passed over: 6 that are no pictures ({counts}; such as 'README')"]


def test_a_folder_without_pictures_is_refused_by_its_name(put):
    root = put("cat/1.parquet")
    with pytest.raises(ConfigError, match=rf"^source: no image was found in {root}; passed over: 1"):
        list_images(source(root))


def test_a_class_is_the_first_folder_and_folders_in_it_belong_to_it(put):
    root = put("cat/1.jpg", "cat/siamese/2.jpg", "cat/siamese/old/3.jpg")
    assert set(labels(root).values()) == {"cat"}
    assert set(labels(put("train/cat/a/1.jpg", "train/dog/1.jpg") / "train").values()) == {"cat", "dog"}


def test_folders_of_splits_may_be_of_any_case(put):
    root = put("Train/cat/1.jpg", "VAL/cat/deep/2.jpg", "Testing/cat/3.jpg")
    rows = list_images(source(root)).to_pylist()
    assert [(row["split"], row["label"]) for row in rows] == [("test", "cat"), ("train", "cat"), ("val", "cat")]


def test_folders_of_splits_without_classes_are_refused(put):
    root = put("train/1.jpg", "train/2.jpg", "val/3.jpg")
    with pytest.raises(ConfigError, match=r"source\.path: train, val hold pictures, but no class folders"):
        list_images(source(root))
    assert set(labels(put("car/1.jpg")).values()) == {"car", "train", "val"}  # trains are vehicles too


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("Train images", "Val images"),
        ("trainset", "devset"),
        ("trn", "tst"),
        ("train2017", "val2017"),
    ],
)
def test_folders_that_are_called_almost_as_splits_are_no_classes(put, names):
    root = put(*(f"{name}/{label}/1.jpg" for name in names for label in ("cat", "dog")))
    with pytest.raises(ConfigError, match=rf"{names[0]}.* look like splits and would be classes; call them train"):
        list_images(source(root))


def test_a_class_may_be_called_almost_as_a_split(put):
    assert set(labels(put("train set/1.jpg", "toy car/1.jpg")).values()) == {"train set", "toy car"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("tst", "test"), ("tests", "test"), ("eval", "test"), ("holdout", "test"), ("trian", "train")],
)
def test_a_folder_beside_splits_that_is_almost_one_is_told_from_it(put, name, meant):
    root = put("val/cat/1.jpg", "val/dog/1.jpg", f"{name}/cat/2.jpg")
    with pytest.raises(
        ConfigError, match=rf"'{name}' lies beside splits and is none; did you mean {meant}\? rename"
    ):
        list_images(source(root))


def test_pictures_of_a_split_without_class_folders_beside_others_are_told_from_strays(put):
    with pytest.raises(
        ConfigError, match=r"'val/2.jpg' lies in no class folder of its split.* move it to val/CLASS"
    ):
        list_images(source(put("train/cat/1.jpg", "val/2.jpg")))


def test_folders_within_most_classes_are_told_to_count_for_nothing(put):
    folds = put(*(f"{fold}/{label}/1.jpg" for fold in ("fold_1", "fold_2") for label in ("cat", "dog")))
    [said] = notes(list_images(source(folds)))
    assert said.startswith(
        "the classes are 'fold_1', 'fold_2', and folders within them, as 'cat', 'dog', count for"
    )
    assert "turn them around, as fold_1/cat/1.jpg into cat/fold_1/1.jpg, or take one alone" in said
    (folds / "fold_1").rename(folds / "train")
    (folds / "fold_2").rename(folds / "test")
    assert not notes(list_images(source(folds)))


def test_folders_within_the_classes_of_splits_are_told_and_one_that_is_in_each_is_not(put):
    root = put(*(f"train/{kind}/{label}/1.jpg" for kind in ("a", "b") for label in ("cat", "dog")), "test/a/1.jpg")
    [said] = notes(list_images(source(root)))
    assert said.endswith("turn them around, as train/a/cat/1.jpg into train/cat/a/1.jpg")
    office = put(*(f"office/{shop}/images/{label}/1.jpg" for shop in "ab" for label in ("mug", "pen"))) / "office"
    assert "as a/images/mug/1.jpg into mug/a/images/1.jpg" in notes(list_images(source(office)))[0]
    tiny = put("tiny/cat/images/1.jpg", "tiny/dog/images/1.jpg") / "tiny"
    assert not notes(list_images(source(tiny)))


def test_a_split_without_pictures_is_said(put):
    root = put("train/cat/1.jpg", "train/dog/1.jpg")
    (root / "test" / "cat").mkdir(parents=True)
    assert notes(list_images(source(root))) == ["no picture lies in 'test'"]


def test_a_folder_of_a_class_without_pictures_is_said(put):
    root = put("cat/1.jpg", "dog/notes.txt")
    (root / "bird").mkdir()
    assert notes(list_images(source(root)))[1:] == ["no picture lies in 'bird', 'dog'"]


def test_two_spellings_of_one_name_are_one_class(put):
    decomposed = unicodedata.normalize("NFD", "café")
    root = put("café/1.jpg", f"{decomposed}/2.jpg", "café /3.jpg")
    assert labels(root) == {"café/1.jpg": "café", f"{decomposed}/2.jpg": "café", "café /3.jpg": "café"}


def test_classes_that_differ_only_in_case_stay_two(put):
    assert set(labels(put("A/1.jpg", "a/2.jpg")).values()) == {"A", "a"}  # as in datasets of letters


def test_links_are_followed_but_not_in_circles(put, numbers_read):
    root = put("photos/cat/1.jpg", "elsewhere/2.jpg")
    photos = root / "photos"
    (photos / "dog").symlink_to(root / "elsewhere")
    (photos / "cat" / "3.jpg").symlink_to(root / "elsewhere" / "2.jpg")
    (photos / "cat" / "back").symlink_to("..")
    (photos / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "cat" / "self.jpg").symlink_to("self.jpg")
    listing = list_images(source(photos))
    origins = ["cat/1.jpg", "cat/3.jpg", "cat/gone.jpg", "cat/self.jpg", "dog/2.jpg"]
    assert listing["origin"].to_pylist() == origins
    assert numbers_read(source(photos), listing.take([0, 1, 2, 4])) == [0, 1, None, 1]
    assert notes(listing) == ["passed over: 1 linked in a circle"]


def test_what_is_no_file_or_has_no_readable_name_is_counted_and_never_opened(put):
    root = put("cat/1.jpg")
    os.mkfifo(root / "cat" / "pipe.jpg")
    (root / "cat.jpg").mkdir()  # a folder called like a picture
    Path(os.fsdecode(os.fsencode(root) + b"/cat/caf\xe9.jpg")).write_bytes(b"")
    listing = list_images(source(root))
    assert listing["origin"].to_pylist() == ["cat/1.jpg"]
    assert notes(listing)[0] == "passed over: 1 devices or pipes, 1 not named in UTF-8"


def test_a_folder_that_may_not_be_read_is_one_sentence(put, monkeypatch):
    root = put("cat/1.jpg")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root reads any folder, so a test cannot take its rights away
    with pytest.raises(ConfigError, match=r"source\.path: cannot list .*Permission denied"):
        list_images(source(root))


def test_files_are_read_from_names_with_spaces_and_marks(put):
    root = put("a class/100% #1 & ü.jpg", "a class/x.. y.jpg")
    assert all(isinstance(content, bytes) for content in read_images(source(root), list_images(source(root))))
