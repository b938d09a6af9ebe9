import os

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from alia_ray.sources.files import version_of
from alia_ray.sources.folders import hidden_part, may_be_picture, visible, visible_rows
from alia_ray.sources.listing import here


def test_an_object_store_shows_what_a_disk_shows(tmp_path):
    for path in ("cat/1.jpg", "cat/._1.jpg", "__MACOSX/cat/2.jpg", ".git/a/b", ".git/c", "dog/new/3.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    disk = visible(pafs.LocalFileSystem(), str(tmp_path))
    store = visible(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "")
    in_rows = visible_rows(str(tmp_path), here)
    for files, found in ((disk.files, disk), (store.files, store), (paths(in_rows[0]), in_rows[1])):
        assert list(files) == ["cat/1.jpg", "dog/new/3.jpg"]
        assert found.folders == ["cat", "dog", "dog/new"]
        assert found.passed == {"hidden": 3}


@pytest.mark.parametrize("depth", range(5))
def test_folders_are_listed_one_by_one_as_they_are_all_at_once(tmp_path, depth):
    inner = tmp_path.joinpath("a", *"bcdef"[:depth])
    inner.mkdir(parents=True)
    for folder in (tmp_path, *(each for each in tmp_path.rglob("*") if each.is_dir())):
        (folder / "x.png").write_text("x" * depth)
        (folder / ".hidden").touch()
    (inner / "up").symlink_to(tmp_path)
    (inner / "inside").symlink_to(inner)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(inner / "pipe")
    (inner / os.fsdecode(b"\xff")).touch()
    rows, beside = visible_rows(str(tmp_path), here)
    found = visible(pafs.LocalFileSystem(), str(tmp_path))
    assert paths(rows) == list(found.files)
    assert rows.column("version").to_pylist() == list(map(version_of, found.files.values()))
    assert (beside.folders, beside.passed) == (found.folders, found.passed)
    assert found.passed["linked in a circle"] == 2
    assert found.passed["devices or pipes"] == found.passed["not named in UTF-8"] == 1


def paths(rows: pa.Table) -> list[str]:
    return rows.column("path").to_pylist()


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("a/b.jpg", None),
        ("./a/../b.jpg", None),
        ("a/.b/c/.d", "a/.b"),
        ("a/Thumbs.db", "a/Thumbs.db"),
        ("$Recycle.Bin/x", "$Recycle.Bin"),
        ("...jpg", "...jpg"),
    ],
)
def test_a_path_is_hidden_from_its_first_hidden_part_on(path, hidden):
    assert hidden_part(path) == hidden


@pytest.mark.parametrize(
    "name", ["1", "1.", "1.jpg", "1.JPG.1", "readme.jpg", "a.b/1", "dsc.0001", "x.svg", "v1.2 final"]
)
def test_a_name_that_leaves_it_open_may_be_a_picture(name):
    assert may_be_picture(name)


@pytest.mark.parametrize(
    "name", ["1.txt", "1.jpg.txt", "README", "License", "labels.CSV", "a/b.part", "model.safetensors"]
)
def test_a_name_that_says_otherwise_is_none(name):
    assert not may_be_picture(name)


def test_links_that_double_what_is_found_at_every_level_come_to_an_end(tmp_path):
    for level in range(16):
        (tmp_path / f"{level:02}").mkdir()
    for level in range(15):
        for name in "ab":
            (tmp_path / f"{level:02}" / name).symlink_to(tmp_path / f"{level + 1:02}")
    (tmp_path / "01" / "x.png").touch()
    found = visible(pafs.LocalFileSystem(), str(tmp_path / "00"))
    assert list(found.files) == ["a/x.png", "b/x.png"]
    assert len(found.folders) < 100
    assert found.passed["linked through many links"] == 2**5
