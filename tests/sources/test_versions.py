"""A listing's versions tell a picture from the one that had its name before."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.config.source import (
    CsvTable,
    HuggingFace,
    ImageFolder,
    MiniatureWorld,
    ParquetTable,
    Source,
    WebDataset,
)
from alia_ray.sources import list_images

Write = Callable[[Path, list[bytes]], Source]


def image_folder(root: Path, pictures: list[bytes]) -> Source:
    for number, content in enumerate(pictures):
        path = root / "cat" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return ImageFolder(kind="imagefolder", path=str(root))


def csv(root: Path, pictures: list[bytes]) -> Source:
    image_folder(root, pictures)
    (root / "meta.csv").write_text("path,label\n" + "".join(f"cat/{n}.png,cat\n" for n in range(len(pictures))))
    return CsvTable(kind="csv", path=str(root / "meta.csv"), root=str(root))


def parquet(root: Path, pictures: list[bytes]) -> Source:
    pq.write_table(pa.table({"image": pictures, "label": ["cat"] * len(pictures)}), root / "a.parquet")
    return ParquetTable(kind="parquet", path=str(root))


def webdataset(root: Path, pictures: list[bytes]) -> Source:
    with tarfile.open(root / "a.tar", "w") as tar:
        for number, content in enumerate(pictures):
            for ending, value in (("png", content), ("cls", b"cat")):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
    return WebDataset(kind="webdataset", path=str(root))


def saved(root: Path, pictures: list[bytes]) -> Source:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    rows = [{"image": {"bytes": content, "path": None}, "label": "cat"} for content in pictures]
    datasets.Dataset.from_list(rows, features=features).save_to_disk(root / "saved")
    return HuggingFace(kind="huggingface", name=str(root / "saved"))


def data_files(root: Path, pictures: list[bytes]) -> Source:
    parquet(root, pictures)
    return HuggingFace(kind="huggingface", name=str(root))


def versions(source: Source) -> list[str | None]:
    return list_images(source)["version"].to_pylist()


@pytest.mark.parametrize("write", [image_folder, csv, parquet, webdataset, saved, data_files])
def test_another_picture_of_the_same_name_has_another_version(tmp_path, picture, monkeypatch, write: Write):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "photos"
    root.mkdir()
    source = write(root, [picture(1), picture(2), picture(3)])
    for path in root.rglob("*"):
        os.utime(path, (1e9, 1e9))  # a test may be faster than a filesystem's clock
    before = versions(source)
    assert None not in before
    assert versions(source) == before
    write(root, [picture(1), picture(9), picture(3)])
    after = versions(source)
    assert before[1] != after[1]


def test_a_file_that_is_not_there_has_no_version(tmp_path, picture):
    source = csv(tmp_path, [picture(1), picture(2)])
    os.remove(tmp_path / "cat" / "0.png")
    assert [version is None for version in versions(source)] == [True, False]
    os.rename(tmp_path / "cat", tmp_path / "dog")
    assert versions(source) == [None, None]


def test_what_is_painted_has_no_version():
    assert set(versions(MiniatureWorld(kind="miniature", train=8, val=8, test=8))) == {None}
