"""Each format, written and read back by our own source of its kind."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from alia_ray.config.source import ImageFolder, ParquetTable, WebDataset
from alia_ray.export.formats import FORMATS
from alia_ray.export.formats.image_folder import class_folder
from alia_ray.export.formats.samples import SAMPLES
from alia_ray.images import decode_rgb, encode
from alia_ray.sources import list_images, read_images
from alia_ray.store.run_folder import RunFolder

LONG = ["ä" * 200, "ä" * 199 + "a", "%" * 255]
NASTY = [
    "..",
    ".",
    "a/b",
    "a\\b",
    "a%2Fb",
    ".hidden",
    "../../up",
    "",
    "%",
    "Größe 3",
    "001.Albatross",
    "a\nb",
    "__background__",
    "crash test dummy",
    *LONG,
]
SOURCES = {
    "imagefolder": lambda path: ImageFolder(kind="imagefolder", path=path),
    "webdataset": lambda path: WebDataset(kind="webdataset", path=path, label_key="label"),
    "parquet": lambda path: ParquetTable(kind="parquet", path=path, group_column="group"),
}


def sample(number: int, label: str, split: str, is_edit: bool = False) -> dict:
    """A picture of one colour, its number; in turn a JPEG, a PNG and a WebP."""
    picture = Image.new("RGB", (16, 16), (number, number, number))
    made = {
        "edit_id": f"ed{number:030x}",
        "prompt": "a photo, of a bird",
        "seed": 2**62 + number,
        "confidence": 0.5,
    }
    return {
        "image": encode(picture, ("jpeg", "png", "webp")[number % 3]),
        "label": label,
        "class_index": 0 if label == "cat" else 1,
        "split": split,
        "group": f"{label} by the sea",
        "image_id": f"{number:032x}",
        **(made if is_edit else {"origin": f"photos/{number}.jpg"}),
    }


def batches(samples: list[dict], size: int = 3) -> Iterator[pa.Table]:
    for start in range(0, len(samples), size):
        yield pa.Table.from_pylist(samples[start : start + size], schema=SAMPLES)


@pytest.fixture
def samples() -> list[dict]:
    """Cats and dogs: training originals and edits in two parts, and the other splits in one each."""
    splits = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    return [sample(10 * n, "dog" if n % 2 else "cat", split, 4 <= n < 8) for n, split in enumerate(splits)]


def write(samples: list[dict], name: str, folder: Path, per_part: int = 5) -> RunFolder:
    out, layout = RunFolder(str(folder)), FORMATS[name]
    marks: dict[str, list[str]] = {}
    for split in dict.fromkeys(row["split"] for row in samples):
        rows = [row for row in samples if row["split"] == split]
        for number, start in enumerate(range(0, len(rows), per_part)):
            mark = layout.mark(split, number)
            marks.setdefault(split, []).append(mark)
            layout.write_part(batches(rows[start : start + per_part]), out, mark)
            assert (folder / mark).is_file()
    if layout.finish:
        layout.finish(out, marks)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_our_own_source_reads_back_pictures_labels_and_splits(name, samples, tmp_path):
    write(samples, name, tmp_path)
    source = SOURCES[name](str(tmp_path))
    listing = list_images(source)
    contents = read_images(source, listing)
    numbers = [round(float(np.asarray(decode_rgb(content)).mean())) for content in contents]
    found = sorted(zip(numbers, listing["label"].to_pylist(), listing["split"].to_pylist(), strict=True))
    wanted = sorted((n, row["label"], row["split"]) for n, row in zip(range(0, 160, 10), samples, strict=True))
    assert [(label, split) for _, label, split in found] == [(label, split) for _, label, split in wanted]
    assert [number for number, *_ in found] == pytest.approx([number for number, *_ in wanted], abs=2)
    assert set(contents) == {row["image"] for row in samples}  # the bytes as stored
    if name != "imagefolder":
        assert set(listing["group"].to_pylist()) == {"cat by the sea", "dog by the sea"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_samples_give_the_same_files(name, samples, tmp_path):
    write(samples, name, tmp_path / "a")
    write(samples, name, tmp_path / "b")
    write(samples, name, tmp_path / "b")  # again over what is there
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_an_image_folder_names_files_by_id_and_format_and_says_where_each_came_from(samples, tmp_path):
    write(samples, "imagefolder", tmp_path)
    for split in ("train", "val", "test"):
        rows = pq.read_table(tmp_path / split / "metadata.parquet").to_pylist()
        of_split = [row for row in samples if row["split"] == split]
        assert len(rows) == len(of_split)
        for row, given in zip(rows, of_split, strict=True):
            assert (tmp_path / split / row["file_name"]).read_bytes() == given["image"]
            assert {key: row[key] for key in given if key != "image"} == {
                key: value for key, value in given.items() if key != "image"
            }
    endings = {path.suffix for path in (tmp_path / "train").glob("*/*")}
    assert endings == {".jpg", ".png", ".webp"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "train", "val"]


def test_class_names_stay_inside_their_folder_and_never_collide(tmp_path):
    folders = [class_folder(label) for label in NASTY]
    assert len(set(folders)) == len(NASTY)
    for label, folder in zip(NASTY, folders, strict=True):
        assert folder not in ("", ".", "..")
        assert not folder.startswith(".")
        assert "/" not in folder
        assert unquote(folder) == label or not label or label in LONG
        assert len(folder.encode()) <= 255
    assert class_folder("001.Albatross") == "001.Albatross"
    write([sample(n, label, "train") for n, label in enumerate(NASTY)], "imagefolder", tmp_path / "out")
    pictures = [
        path for path in (tmp_path / "out" / "train").rglob("*") if path.suffix in (".jpg", ".png", ".webp")
    ]
    assert sorted(path.parent.name for path in pictures) == sorted(folders)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    rows = pq.read_table(tmp_path / "out" / "train" / "metadata.parquet")
    assert rows["label"].to_pylist() == NASTY


def test_a_shard_holds_whole_samples_and_is_not_compressed(samples, tmp_path):
    write(samples, "webdataset", tmp_path)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["train-000000.tar", "train-000001.tar"]
    with tarfile.open(tmp_path / "train" / "train-000000.tar", "r:") as shard:
        members = {member.name: shard.extractfile(member).read() for member in shard}
        assert {member.mtime for member in shard} == {0}
    assert len(members) == 5 * 3
    edit = samples[4]
    described = json.loads(members[f"{edit['edit_id']}.json"])
    assert described["prompt"] == edit["prompt"]
    assert described["image_id"] == edit["image_id"]
    assert described["seed"] == edit["seed"]
    assert members[f"{edit['edit_id']}.cls"] == b"0"
    original = json.loads(members[f"{samples[1]['image_id']}.json"])
    assert original["edit_id"] == original["prompt"] == ""
    assert original["origin"] == "photos/10.jpg"


def test_parquet_holds_every_column_and_small_row_groups(samples, tmp_path):
    write(samples, "parquet", tmp_path)
    file = pq.ParquetFile(tmp_path / "train" / "part-000000.parquet")
    assert file.schema_arrow.equals(SAMPLES)
    assert file.num_row_groups == 2
    row = file.read().to_pylist()[4]
    assert Image.open(io.BytesIO(row["image"])).size == (16, 16)
    assert row["prompt"] == "a photo, of a bird"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("labels", [("cat", "dog"), ("crash test dummy", "__background__"), ("a/b", "train")])
def test_the_library_datasets_reads_originals_first_and_edits_after_them(name, labels, tmp_path):
    splits = ["train"] * 14 + ["val"] * 7 + ["test"] * 7
    samples = [sample(n, labels[n % 2], split, 7 <= n < 14) for n, split in enumerate(splits)]
    for n, row in enumerate(samples):  # most originals are JPEG, and edits PNG
        row["image"] = encode(Image.new("RGB", (16, 16), (n, n, n)), "png" if 7 <= n < 14 else "jpeg")
    write(samples, name, tmp_path / "out", per_part=20)
    data = datasets.load_dataset(name, data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in data.items()} == {"train": 14, "validation": 7, "test": 7}
    described = [row["json"] for row in data["train"]] if name == "webdataset" else list(data["train"])
    assert sorted(row["label"] for row in described) == sorted(row["label"] for row in samples[:14])
    assert {row["prompt"] for row in described if row["edit_id"]} == {"a photo, of a bird"}
    shown = data["train"].cast_column("jpg" if name == "webdataset" else "image", datasets.Image())
    colours = [round(float(np.asarray(row.get("jpg") or row["image"]).mean())) for row in shown]
    assert sorted(colours) == list(range(14))


def test_the_library_webdataset_decodes_every_sample_alike(samples, tmp_path):
    write(samples, "webdataset", tmp_path)
    shards = f"{tmp_path}/train/train-{{000000..000001}}.tar"
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "cls", "json")
    for (picture, number, described), given in zip(read, samples[:8], strict=True):
        assert picture.size == (16, 16)
        assert number == given["class_index"]
        assert {key: type(value) for key, value in described.items()} == {
            **dict.fromkeys((field.name for field in SAMPLES if field.name != "image"), str),
            **dict.fromkeys(("class_index", "seed"), int),
            **dict.fromkeys(("semantic_score", "confidence", "label_probability"), float),
        }
