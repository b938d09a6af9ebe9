"""Every layout that a source reads is recognised by what lies there."""

import json
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import layouts

from alia_ray.config import ConfigError, parse_config
from alia_ray.config.places import Place
from alia_ray.init.layouts import recognise
from alia_ray.sources import list_images

KNOWN = [layout for layout in layouts.LAYOUTS if layout is not layouts.as_iwildcam]  # whose lists lie elsewhere


def listed(place: Path) -> pa.Table:
    """The listing of what is recognised."""
    source = recognise(Place.of(str(place))).source
    return list_images(parse_config({"run": {"folder": "run"}, "source": source}).source)


def files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


@pytest.mark.parametrize("layout", KNOWN, ids=lambda layout: layout.__name__)
def test_a_layout_is_read_as_the_source_that_one_would_write_for_it(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "SAMPLES", layouts.SAMPLES[:24])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    written, _ = layout(tmp_path / "data")
    expected = list_images(parse_config({"run": {"folder": "run"}, "source": written}).source)
    assert listed(tmp_path / "data").equals(expected)


@pytest.mark.parametrize("split", ["", "train/"])
def test_class_folders_in_one_folder_more_are_found(split, tmp_path):
    touch(tmp_path, *(f"archive/images/{split}{label}/{n}.jpg" for label in ("cat", "dog") for n in range(6)))
    assert recognise(Place.of(str(tmp_path))).source["path"] == f"{tmp_path}/archive/images"
    assert set(listed(tmp_path).column("label").to_pylist()) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("file_name,breed,weight", {"path_column": "file_name", "label_column": "breed"}),
        ("id,y,where,Subset", {"path_column": "id", "label_column": "y", "split_column": "Subset"}),
        ("picture,kind", {"path_column": "picture", "label_column": "kind"}),
    ],
)
def test_the_columns_of_a_table_are_found_by_what_they_hold(header, columns, tmp_path):
    rows = [header] + [
        ",".join({0: f"{n}.jpg", 1: ("cat", "dog")[n % 2], 2: f"{n}.5", 3: ("train", "test")[n > 5]}[c] for c in r)
        for n in range(8)
        for r in [range(len(header.split(",")))]
    ]
    touch(tmp_path, *(f"images/{n}.jpg" for n in range(8)))
    files(tmp_path, **{"all.csv": "\n".join(rows)})
    source = recognise(Place.of(str(tmp_path))).source
    assert source == {
        "kind": "csv",
        "path": f"{tmp_path}/all.csv",
        "root": f"{tmp_path}/images",
        **columns,
    }
    assert listed(tmp_path).num_rows == 8
    named = recognise(Place.of(f"{tmp_path}/all.csv")).source
    assert named == source


def test_a_table_that_names_no_picture_is_passed_over(tmp_path):
    touch(tmp_path, *(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3)))
    files(tmp_path, **{"about.csv": "key,label\nauthor,cat\n", "odd.csv": 'a,b\n"'})
    pq.write_table(pa.table({"key": ["a"], "size": [3]}), tmp_path / "sizes.parquet")
    with tarfile.open(tmp_path / "all.tar", "w"):
        pass
    assert recognise(Place.of(str(tmp_path))).source == {"kind": "imagefolder", "path": str(tmp_path)}


def test_a_run_folder_beside_class_folders_is_no_layout(tmp_path):
    touch(tmp_path, *(f"{label}/{n}.jpg" for label in ("cat", "dog") for n in range(3)))
    (tmp_path / "runs").mkdir()
    pq.write_table(pa.table({"image": [b"x"], "label": ["cat"]}), tmp_path / "runs" / "part.parquet")
    assert recognise(Place.of(str(tmp_path))).source == {"kind": "imagefolder", "path": str(tmp_path)}


def test_labels_of_shards_are_found_in_their_json(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(4):
            described = {"url": ["x"], "species": ("cat", "dog")[number % 2], "width": 9}
            for name, content in ((f"{number}.jpg", "picture"), (f"{number}.json", json.dumps(described))):
                (tmp_path / name).write_text(content)
                tar.add(tmp_path / name, name)
                (tmp_path / name).unlink()
    for place in (tmp_path, tmp_path / "a.tar"):
        assert recognise(Place.of(str(place))).source["label_key"] == "species"
        assert set(listed(place).column("label").to_pylist()) == {"cat", "dog"}


def test_a_class_label_of_a_saved_dataset_is_its_label(tmp_path):
    features = datasets.Features(
        {
            "jpg": datasets.Image(),
            "label": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    rows = {"jpg": [None] * 4, "label": ["a"] * 4, "kind": [0, 1, 0, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    source = recognise(Place.of(str(tmp_path / "saved"))).source
    assert (source["image_column"], source["label_column"]) == ("jpg", "kind")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "there is no folder"),
        ("cat.jpg", r"cat\.jpg is a file; name the folder in which your class folders lie"),
        ("list.csv", r"list\.csv: none of its columns names files that lie beside it"),
        (
            "two.parquet",
            r"two\.parquet: which of first, second holds the labels cannot be told; call that",
        ),
        ("none.parquet", r"none\.parquet: which of a, b holds pictures cannot be told; call that image"),
        ("bad.parquet", r"bad\.parquet: cannot read .*bad\.parquet"),
    ],
)
def test_what_is_not_recognised_is_said_in_one_sentence(name, said, tmp_path):
    files(tmp_path, **{"cat.jpg": "", "list.csv": "a,b\n1,2\n", "bad.parquet": "no"})
    pq.write_table(pa.table({"image": [b"x"], "first": [1], "second": [2]}), tmp_path / "two.parquet")
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match=said):
        recognise(Place.of(str(tmp_path / name)))
