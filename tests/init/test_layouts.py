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
from alia_ray.init import layouts as recognised
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


def table(folder: Path, name: str, header: str, *rows: str) -> Path:
    return files(folder, **{name: "\n".join([header, *rows])})


def test_a_table_of_one_label_is_none_beside_one_of_several(tmp_path):
    touch(tmp_path, *(f"{folder}/{n}.jpg" for folder in ("test", "train") for n in range(6)))
    table(tmp_path, "a_sample.csv", "id,label", *(f"{n}.jpg,cat" for n in range(6)))
    table(tmp_path, "b_sample.csv", "id,first,second", *(f"{n}.jpg,{n % 2},{n % 3}" for n in range(6)))
    table(tmp_path, "train.csv", "id,breed", *(f"{n}.jpg,{('cat', 'dog')[n % 2]}" for n in range(6)))
    assert recognise(Place.of(str(tmp_path))).source["path"] == f"{tmp_path}/train.csv"
    for name in ("train.csv", "b_sample.csv"):
        (tmp_path / name).unlink()
    assert recognise(Place.of(str(tmp_path))).source["path"] == f"{tmp_path}/a_sample.csv"


def test_several_tables_of_labels_are_refused(tmp_path):
    touch(tmp_path, *(f"images/{n}.jpg" for n in range(8)))
    for name, numbers in (("train.csv", range(4)), ("test.csv", range(4, 8))):
        table(tmp_path, name, "path,label", *(f"images/{n}.jpg,{('cat', 'dog')[n % 2]}" for n in numbers))
    with pytest.raises(
        ConfigError, match=r"test\.csv, train\.csv each name .*; name one, as .*/test\.csv, or join them"
    ):
        recognise(Place.of(str(tmp_path)))
    assert recognise(Place.of(f"{tmp_path}/train.csv")).source["label_column"] == "label"


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (
            "id,breed",
            "{n},{label}",
            r"its column 'id' names pictures without their endings; write '0\.jpg' for '0'",
        ),
        (
            "path,label",
            "/elsewhere/{n}.jpg,{label}",
            r"such as '/elsewhere/0\.jpg'; name each .*, here 'images/0\.jpg'",
        ),
        (
            "images/9.jpg,cat",
            "images/{n}.jpg,{label}",
            "its first line names a picture; put the columns' names above",
        ),
        ("path,label", "images/{n}.jpg,{label},more", "is no CSV: its first line has 2 columns"),
    ],
)
def test_a_table_that_does_not_lead_to_its_pictures_is_refused_with_the_right_form(header, row, said, tmp_path):
    touch(tmp_path, *(f"images/{n}.jpg" for n in range(10)))
    table(tmp_path, "all.csv", header, *(row.format(n=n, label=("cat", "dog")[n % 2]) for n in range(8)))
    for place in (tmp_path, tmp_path / "all.csv"):
        with pytest.raises(ConfigError, match=said):
            recognise(Place.of(str(place)))


def test_a_column_that_almost_names_splits_is_not_dropped(tmp_path):
    touch(tmp_path, *(f"{n}.jpg" for n in range(8)))
    rows = (f"{n}.jpg,{('cat', 'dog')[n % 2]},{('train', 'eval')[n > 4]}" for n in range(8))
    table(tmp_path, "all.csv", "path,label,subset", *rows)
    assert recognise(Place.of(str(tmp_path))).source["split_column"] == "subset"
    with pytest.raises(ConfigError, match=r"the split 'eval' is none of .*; did you mean test\?"):
        listed(tmp_path)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_lists_of_hugging_face_in_folders_of_splits_give_labels(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    for split in ("train", "test"):
        rows = [{"file_name": f"{n}.png", "label": ("cat", "dog")[n % 2]} for n in range(6)]
        touch(root / split, *(row["file_name"] for row in rows))
        lines = [",".join(row.values()) if name.endswith("csv") else json.dumps(row) for row in rows]
        table(root / split, name, *(["file_name,label"] if name.endswith("csv") else []), *lines)
    source = recognise(Place.of(str(root))).source
    assert source == {"kind": "huggingface", "name": str(root), "image_column": "image", "label_column": "label"}
    assert set(listed(root).column("label").to_pylist()) == {"cat", "dog"}


def test_a_dataset_of_the_paper_in_one_folder_more_keeps_its_splits(tmp_path):
    layouts.as_cub(tmp_path / "data" / "CUB_200_2011")
    touch(tmp_path / "data", "attributes.txt")
    assert recognise(Place.of(str(tmp_path / "data"))).source["kind"] == "cub"


def test_storage_that_does_not_answer_is_said_with_its_name(monkeypatch):
    def refuse(place):
        raise OSError("no such\nhost")

    monkeypatch.setattr(recognised, "filesystem", refuse)
    with pytest.raises(ConfigError, match=r"^s3://bucket/photos cannot be reached: no such host; look at"):
        recognise(Place.of("s3://bucket/photos?region=x"))


def test_what_is_packed_is_to_be_unpacked(tmp_path):
    touch(tmp_path, "zip/photos.zip", "tar/cat/1.jpg", "tar/dog/1.jpg")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "tar", "photos")
    for place in ("zip", "zip/photos.zip", "photos.tar"):
        with pytest.raises(ConfigError, match=r"photos\.(zip|tar) .*; unpack it, and name the folder"):
            recognise(Place.of(str(tmp_path / place)))


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
