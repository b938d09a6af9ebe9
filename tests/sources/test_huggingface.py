import logging
from collections import Counter
from importlib import util
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import HuggingFace
from alia_ray.sources import huggingface, list_images, read_images

TEXT = datasets.Value("string")


def rows(values: list[int], picture, **columns: list):
    table = {"image": [{"bytes": picture(v), "path": None} for v in values], "label": [v % 2 for v in values]}
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    features |= {name: datasets.Value("string") for name in columns}
    return datasets.Dataset.from_dict(table | columns, features=datasets.Features(features))


def source(path: Path, **options: object) -> HuggingFace:
    return HuggingFace(kind="huggingface", name=str(path), **options)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> None:
    """The library's copies go to a folder of the test."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def saved(tmp_path, picture) -> Path:
    """A DatasetDict of save_to_disk whose train split was shuffled, so that its rows lie elsewhere on the disk."""
    train = rows(list(range(10)), picture).shuffle(seed=1)
    parts = {"train": train, "validation": rows([20, 21], picture), "extra": rows([30], picture)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_class_numbers_become_their_names_and_splits_are_the_datasets_own(saved):
    listing = list_images(source(saved))
    assert Counter(listing["split"].to_pylist()) == {"train": 10, "val": 2, "extra": 1}
    assert listing.filter(np.array([s == "val" for s in listing["split"].to_pylist()]))["label"].to_pylist() == [
        "cat",
        "dog",
    ]


def test_rows_are_read_as_stored_in_any_order(saved, picture):
    listing = list_images(source(saved))
    order = np.random.default_rng(0).permutation(listing.num_rows)
    contents = dict(
        zip(
            listing.take(order)["origin"].to_pylist(), read_images(source(saved), listing.take(order)), strict=True
        )
    )
    train = datasets.load_from_disk(str(saved))["train"].cast_column("image", datasets.Image(decode=False))
    expected = {f"train#{n}": row["image"]["bytes"] for n, row in enumerate(train)}
    expected |= {"validation#0": picture(20), "validation#1": picture(21), "extra#0": picture(30)}
    assert contents == expected


def test_one_saved_split_is_held_out_of_per_class(tmp_path, picture):
    rows(list(range(40)), picture).save_to_disk(str(tmp_path / "one"))
    listing = list_images(source(tmp_path / "one", val_fraction=0.1, test_fraction=0.2))
    assert Counter(listing["split"].to_pylist()) == {"train": 32 - 4, "val": 4, "test": 8}


def test_a_folder_of_parquet_is_read(tmp_path, cache, picture, numbers_read):
    for split, values in {"train": [1, 2, 3], "test": [4, 5]}.items():
        (tmp_path / "data").mkdir(exist_ok=True)
        rows(values, picture).to_parquet(str(tmp_path / "data" / f"{split}-00000-of-00001.parquet"))
    settings = source(tmp_path / "data", val_fraction=0)
    listing = list_images(settings)
    assert listing["split"].to_pylist() == ["train"] * 3 + ["test"] * 2
    assert listing["label"].to_pylist() == ["dog", "cat", "dog", "cat", "dog"]
    assert numbers_read(settings, listing) == [1, 2, 3, 4, 5]


def test_nothing_is_printed_of_how_the_library_copies_a_folder(tmp_path, cache, picture, capsys):
    datasets.enable_progress_bars()
    rows([1, 2, 3], picture).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    capsys.readouterr()
    list_images(source(tmp_path / "data"))
    assert capsys.readouterr() == ("", "")


def test_a_readme_that_is_no_card_is_not_complained_of(tmp_path, cache, picture, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "README.md").write_text("my photos")
    pq.write_table(pa.table({"image": [picture(0)], "label": ["cat"]}), folder / "train-0.parquet")
    said, logger = [], logging.getLogger("huggingface_hub.repocard")
    monkeypatch.setattr(logger, "handle", said.append)
    list_images(source(folder))
    assert not said


def test_a_label_of_minus_one_is_none(tmp_path, picture):
    table = rows([1, 2], picture).to_dict() | {"label": [-1, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(table, features=features).save_to_disk(str(tmp_path / "one"))
    assert list_images(source(tmp_path / "one"))["label"].to_pylist() == [None, "dog"]


def test_a_group_column_gives_the_groups(tmp_path, picture):
    rows([1, 2], picture, place=["land", "sea"]).save_to_disk(str(tmp_path / "one"))
    assert list_images(source(tmp_path / "one", group_column="place"))["group"].to_pylist() == ["land", "sea"]


def test_a_file_is_read_only_where_it_lies_in_the_dataset(tmp_path, cache, picture, numbers_read):
    folder = tmp_path / "data"
    folder.mkdir()
    for path, number in ((tmp_path / "secret.png", 1), (folder / "in.png", 2)):
        path.write_bytes(picture(number))
    images = [{"bytes": None, "path": path} for path in (f"{folder}/../secret.png", str(folder / "in.png"))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    schema = features.arrow_schema  # what tells the library that the column holds images
    pq.write_table(pa.table({"image": images, "label": ["a", "a"]}, schema=schema), folder / "train.parquet")
    settings = source(folder)
    assert numbers_read(settings, list_images(settings)) == [None, 2]


def save(path: Path, image: object, label: object, images: list, labels: list) -> Path:
    features = datasets.Features({"image": image, "label": label})
    datasets.Dataset.from_dict({"image": images, "label": labels}, features=features).save_to_disk(str(path))
    return path


def test_images_may_be_paths_in_the_folder_of_the_dataset(tmp_path, picture, numbers_read):
    for name, number in (("one/1.png", 1), ("secret.png", 9)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(number))
    paths = ["1.png", str(tmp_path / "one" / "1.png"), "../secret.png", "nowhere.png", None]
    paths += ["data:image/png;base64,iVBO", "iVBORw0KGgo/" * 500]
    settings = source(save(tmp_path / "one", TEXT, TEXT, paths, ["a"] * len(paths)))
    listing = list_images(settings)
    assert numbers_read(settings, listing) == [1, 1, *[None] * 5]
    for content in read_images(settings, listing.slice(5)):
        assert str(content).startswith("the image column holds a text that is no path; if it is base64")


def test_images_may_be_a_struct_of_bytes_and_path(tmp_path, picture, numbers_read):
    images = [{"bytes": picture(3), "path": None}, {"bytes": None, "path": "1.png"}]
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "1.png").write_bytes(picture(1))
    struct = {"bytes": datasets.Value("binary"), "path": TEXT}
    settings = source(save(tmp_path / "one", struct, TEXT, images, ["a", "a"]))
    assert numbers_read(settings, list_images(settings)) == [3, 1]


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [
        (TEXT, ["cat", "", None], ["cat", None, None]),
        (datasets.Value("int64"), [7, -1, None], ["7", "-1", None]),
        (datasets.Value("float32"), [1.5, float("nan"), None], ["1.5", None, None]),
        (datasets.Value("bool"), [True, False, None], ["True", "False", None]),
        (datasets.ClassLabel(names=["cat", "dog"]), [1, -1, None], ["dog", None, None]),
    ],
)
def test_labels_of_any_type_are_text(tmp_path, picture, label, labels, expected):
    images = [{"bytes": picture(number), "path": None} for number in range(3)]
    path = save(tmp_path / "one", datasets.Image(), label, images, labels)
    assert list_images(source(path))["label"].to_pylist() == expected


@pytest.mark.parametrize(
    ("image", "label", "row", "says"),
    [
        (datasets.Sequence(datasets.Image()), TEXT, ([], "a"), r"image_column: 'image' holds .*one a row"),
        (datasets.Image(), datasets.Sequence(TEXT), (None, ["a"]), r"label_column: 'label' holds .*one value"),
        (datasets.Array2D((1, 2), "uint8"), TEXT, ([[1, 2]], "a"), r"image_column: 'image' holds .*one a row"),
    ],
)
def test_several_images_or_labels_a_row_are_refused(tmp_path, image, label, row, says):
    path = save(tmp_path / "one", image, label, [row[0]], [row[1]])
    with pytest.raises(ConfigError, match=says):
        list_images(source(path))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_column": "species"}, r"source\.label_column: there is no column 'species', only image, label"),
        ({"image_column": "label"}, r"source\.image_column: 'label' holds .*not images"),
        ({"group_column": "place"}, r"source\.group_column"),
    ],
)
def test_a_column_that_is_not_there_is_named(saved, options, says):
    with pytest.raises(ConfigError, match=says):
        list_images(source(saved, **options))


def test_a_saved_dataset_without_rows_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"source\.name: the dataset .* cannot be loaded"):
        list_images(source(save(tmp_path / "one", datasets.Image(), TEXT, [], [])))


def test_a_dataset_that_is_nowhere_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"source\.name: .*nowhere' cannot be loaded") as caught:
        list_images(source(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["../else/*.parquet", "{}/else/*.parquet"])
def test_a_dataset_that_takes_its_data_from_elsewhere_is_refused(tmp_path, picture, place):
    (tmp_path / "else").mkdir()
    pq.write_table(pa.table({"image": [picture(1)], "label": ["a"]}), tmp_path / "else" / "0.parquet")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files: {place.format(tmp_path)}\n---\n"
    )
    with pytest.raises(ConfigError, match=r"takes its data from .*/else/0\.parquet, which lies outside of it"):
        list_images(source(tmp_path / "one"))


def test_a_cache_that_may_not_be_written_is_said_with_what_to_set(tmp_path, monkeypatch):
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "cache")

    monkeypatch.setattr(datasets, "load_dataset_builder", forbidden)
    with pytest.raises(ConfigError, match=r"Permission denied.*set HF_HOME$"):
        list_images(source(tmp_path / "photos"))


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(
        huggingface, "find_spec", lambda name: None if name == "datasets" else util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"pip install \"datasets>=4\""):
        list_images(source(Path("anything")))
