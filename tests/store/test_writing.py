"""Files appear whole and to stay, and what killed processes leave goes."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from alia_ray.errors import FullDiskError
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import CAPTIONS

ROWS = pa.table([["a"], ["a cat"]], schema=CAPTIONS)


@pytest.fixture
def synced(monkeypatch) -> list[tuple[str, bool]]:
    """What is brought to the disk, and whether any file of its folder has its name by then."""
    found, sync = [], os.fsync

    def note(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        folder = path if path.is_dir() else path.parent
        files = [each.name for each in folder.iterdir() if each.is_file()]
        found.append((path.name, any(not name.startswith(".") for name in files)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


@pytest.mark.parametrize("kind", ["json", "table"])
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_is_afterwards(tmp_path, synced, kind):
    folder = RunFolder(str(tmp_path))
    folder.write_json(0, "stages", "y") if kind == "json" else folder.table("captions", "f").create()
    synced.clear()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    folder.write_json(1, "stages", "x.json") if kind == "json" else folder.table("captions", "f").commit(ROWS)
    (hidden, named_before), (last, named_then) = synced
    assert (hidden[0], named_before) == (".", False)
    assert (last, named_then) == ("stages" if kind == "json" else "f", True)


def test_new_folders_are_on_the_disk_too(tmp_path, synced):
    RunFolder(f"{tmp_path}/run").write_json(1, "a", "b", "x.json")
    assert [name for name, _ in synced[:3]] == ["a", "run", tmp_path.name]


def test_a_filesystem_that_cannot_sync_folders_is_written_to_all_the_same(tmp_path, monkeypatch):
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    RunFolder(str(tmp_path)).write_json(1, "a", "x.json")
    assert RunFolder(str(tmp_path)).read_json("a", "x.json") == 1


def test_a_disk_that_is_found_full_when_a_file_is_to_stay_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    (tmp_path / "stages").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FullDiskError, match="is full; free some space"):
        RunFolder(str(tmp_path)).write_json(1, "stages", "x.json")
    assert not list((tmp_path / "stages").iterdir())


def test_what_was_left_half_written_anywhere_goes_after_a_day_and_nothing_else(tmp_path):
    old = [
        "captions/f/.part-1.parquet.0f.tmp",
        "listing/f/.part-listing.parquet.1f.tmp",
        "classifiers/f/.history.json.2f.tmp",
        "logs/.x.log.3f.tmp",
        ".report.html.4f.tmp",
    ]
    kept = ["captions/f/part-1.parquet", "report.html", "notes.tmp", ".hidden"]
    new = ["captions/f/.part-2.parquet.5f.tmp"]
    for name in [*old, *kept, *new]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        if name not in new:
            os.utime(path, (0, 0))
    RunFolder(str(tmp_path)).sweep()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*kept, *new}
