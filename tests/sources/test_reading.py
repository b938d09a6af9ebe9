"""A store that fails now and then: every layout reads from it in the end, or says that it cannot be read now."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import CsvTable, ImageFolder, ParquetTable, Source, WebDataset
from alia_ray.sources import files, list_images, parquet_table, read_images, webdataset
from alia_ray.sources import image_folder as image_folder_source
from alia_ray.sources.files import NoPictureError
from alia_ray.store import patience


def image_folder(root: Path, content: bytes) -> Source:
    (root / "cat").mkdir()
    (root / "cat" / "1.png").write_bytes(content)
    return ImageFolder(kind="imagefolder", path=str(root))


def csv(root: Path, content: bytes) -> Source:
    image_folder(root, content)
    (root / "meta.csv").write_text("path,label\ncat/1.png,cat\n")
    return CsvTable(kind="csv", path=str(root / "meta.csv"), root=str(root))


def parquet(root: Path, content: bytes) -> Source:
    pq.write_table(pa.table({"image": [content], "label": ["cat"]}), root / "a.parquet")
    return ParquetTable(kind="parquet", path=str(root))


def shard(root: Path, content: bytes) -> Source:
    with tarfile.open(root / "a.tar", "w") as tar:
        for name, value in (("1.png", content), ("1.cls", b"cat")):
            member = tarfile.TarInfo(name)
            member.size = len(value)
            tar.addfile(member, io.BytesIO(value))
    return WebDataset(kind="webdataset", path=str(root))


class Flaky(pafs.FileSystemHandler):
    """This machine's files, of which every opening and listing fails `failures` times before it succeeds."""

    def __init__(self, failures: int) -> None:
        self.fs, self.failures, self.failed = pafs.LocalFileSystem(), failures, 0

    def _open(self, open_file: Callable[[Any], Any], path: str | pafs.FileSelector) -> Any:
        if self.failed < self.failures:
            self.failed += 1
            raise OSError("AWS Error SLOW_DOWN during GetObject operation: Please reduce your request rate.")
        self.failed = 0
        return open_file(path)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self._open(self.fs.open_input_stream, path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self._open(self.fs.open_input_file, path)

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return self.fs.get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return self._open(self.fs.get_file_info, selector)

    def get_type_name(self) -> str:
        return "flaky"

    def normalize_path(self, path: str) -> str:
        return path

    def _unused(self, *args: object) -> None:
        raise NotImplementedError

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _unused
    delete_file = move = copy_file = open_output_stream = open_append_stream = _unused


@pytest.fixture
def flaky(monkeypatch) -> Iterator[Callable[[int], None]]:
    """Makes the sources' files fail so many times each; nobody waits."""

    def become(failures: int) -> None:
        fs = pafs.PyFileSystem(Flaky(failures))
        for module in (files, image_folder_source, parquet_table, webdataset):
            monkeypatch.setattr(module, "filesystem", lambda path: (fs, path))

    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    return become


@pytest.mark.parametrize("layout", [image_folder, csv, parquet, shard])
def test_a_picture_is_read_in_spite_of_hiccups(tmp_path, picture, flaky, layout):
    source = layout(tmp_path, picture(7))
    rows = list_images(source)
    flaky(patience.TRIES - 1)
    assert read_images(source, rows) == [picture(7)]


@pytest.mark.parametrize("layout", [image_folder, csv, parquet, shard])
def test_a_store_that_is_down_is_an_error_that_is_not_final(tmp_path, picture, flaky, layout):
    source = layout(tmp_path, picture(7))
    rows = list_images(source)
    flaky(10 * patience.TRIES)
    (content,) = read_images(source, rows)
    assert isinstance(content, OSError)
    assert not isinstance(content, NoPictureError)


@pytest.mark.parametrize("layout", [image_folder, csv])
def test_a_source_is_listed_in_spite_of_hiccups(tmp_path, picture, flaky, layout):
    source = layout(tmp_path, picture(7))
    expected = list_images(source)
    flaky(patience.TRIES - 1)
    found = list_images(source)
    assert found.equals(expected)


def test_a_row_without_a_picture_is_not_worth_another_try(tmp_path):
    pq.write_table(pa.table({"image": pa.array([None], pa.binary()), "label": ["cat"]}), tmp_path / "a.parquet")
    source = ParquetTable(kind="parquet", path=str(tmp_path))
    (content,) = read_images(source, list_images(source))
    assert isinstance(content, NoPictureError)


def test_a_file_that_would_unpack_itself_is_read_as_it_lies_there(tmp_path):
    (tmp_path / "cat").mkdir()
    packed = gzip.compress(bytes(10**6))
    for name in ("1.gz", "1.zst", "1.lz4"):
        (tmp_path / "cat" / name).write_bytes(packed)
    (tmp_path / "meta.csv").write_text("path,label\ncat/1.gz,cat\ncat/1.zst,cat\ncat/1.lz4,cat\n")
    source = CsvTable(kind="csv", path=str(tmp_path / "meta.csv"), root=str(tmp_path))
    assert read_images(source, list_images(source)) == [packed] * 3


def test_a_file_that_is_larger_than_any_picture_is_not_read(tmp_path, monkeypatch):
    source = image_folder(tmp_path, b"")
    listing = list_images(source)
    os.truncate(tmp_path / "cat" / "1.png", 2**40)  # sparse: it takes no room, but memory
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: pytest.fail("it is tried again"))
    [content] = read_images(source, listing)
    assert isinstance(content, NoPictureError)
    assert "bytes are more than the 268435456 that a picture may have" in str(content)


def test_a_member_of_a_shard_that_is_larger_than_any_picture_is_not_read(tmp_path, monkeypatch):
    source = shard(tmp_path, b"picture")
    monkeypatch.setattr(files, "MOST_BYTES", 6)
    [content] = read_images(source, list_images(source))
    assert isinstance(content, NoPictureError)


def test_a_list_that_unpacks_to_no_end_is_refused(tmp_path, monkeypatch):
    source = csv(tmp_path, b"")
    (tmp_path / "meta.csv.gz").write_bytes(gzip.compress(b"path,label\n" + b"cat/1.png,cat\n" * 200_000))
    packed = source.model_copy(update={"path": str(tmp_path / "meta.csv.gz")})
    monkeypatch.setattr(files, "MOST_OF_A_LIST", 2**20)
    with pytest.raises(ConfigError, match=r"source\.path: .*meta\.csv\.gz has more than 1048576 bytes"):
        list_images(packed)


def test_a_pipe_that_a_table_names_is_an_error_and_is_not_waited_for(tmp_path, picture):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "good.png").write_bytes(picture(1))
    (tmp_path / "meta.csv").write_text("path,label\npipe.png,cat\ngood.png,cat\n")
    source = CsvTable(kind="csv", path=str(tmp_path / "meta.csv"), root=str(tmp_path), val_fraction=0)
    listing = list_images(source)
    end = os.open(tmp_path / "pipe.png", os.O_RDWR)  # without it, who opens the pipe would wait, here too
    pipe, good = read_images(source, listing)
    os.close(end)
    assert good == picture(1)
    assert isinstance(pipe, NoPictureError)
    assert "a device or a pipe" in str(pipe)


@pytest.mark.parametrize("path", ["a\0.png", "a\0/b.png"])
def test_a_path_that_no_file_system_can_have_is_an_error_of_its_row(tmp_path, picture, path):
    (tmp_path / "good.png").write_bytes(picture(1))
    (tmp_path / "meta.csv").write_text(f"path,label\n{path},cat\ngood.png,cat\n")
    source = CsvTable(kind="csv", path=str(tmp_path / "meta.csv"), root=str(tmp_path), val_fraction=0)
    wrong, good = read_images(source, list_images(source))
    assert good == picture(1)
    assert isinstance(wrong, NoPictureError)


def test_a_csv_of_endless_columns_is_refused(tmp_path):
    (tmp_path / "meta.csv").write_text("a," * files.MOST_COLUMNS + "a\n")
    source = CsvTable(kind="csv", path=str(tmp_path / "meta.csv"), root=str(tmp_path))
    with pytest.raises(ConfigError, match="10001 columns, more than 10000"):
        list_images(source)
