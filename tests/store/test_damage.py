"""Files that a power loss or the storage has damaged are put aside, told, and count as missing."""

import errno
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from alia_ray.errors import StageError
from alia_ray.store import lease, parquet, patience
from alia_ray.store.damage import LEASE, damage_of_tensors, only_reading, reading
from alia_ray.store.errors import read_errors, settle
from alia_ray.store.lease import held
from alia_ray.store.rows import homes
from alia_ray.store.run_folder import RunFolder, Table, filesystem
from alia_ray.store.tables import CAPTIONS, ERRORS


def scribble(content: bytes) -> bytes:
    """Other bytes where the first rows lie; the footer stays."""
    return content[:4] + b"\xff" * 60 + content[64:]


def change(content: bytes) -> bytes:
    """Another byte at the end of the first column's last page, which still has the form of a page."""
    column = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0)
    first = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
    place = first + column.total_compressed_size - 1
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "another kind": lambda content: b"<html>502 Bad Gateway</html>" * 3,
    "no footer": lambda content: content[:4] + b"\xff" * (len(content) - 12) + content[-8:],
    "scribbled": scribble,
    "changed": change,
}


def damage(path: str | Path, how: str) -> None:
    Path(path).write_bytes(DAMAGE[how](Path(path).read_bytes()))


@pytest.fixture
def captions(tmp_path) -> Table:
    table = RunFolder(str(tmp_path)).table("captions", "f")
    for ids in ("ab", "cd"):
        table.commit(pa.table([list(ids), [f"a photo of {i}" for i in ids]], schema=CAPTIONS))
    return table


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("reads", ["read", "ids", "discard", "correct", "drop_repeated", "parts"])
def test_a_damaged_part_is_put_aside_told_once_and_its_rows_are_missing(captions, how, reads, capsys):
    bad, good = captions.files()
    left = set(pq.read_table(good).column("image_id").to_pylist())
    damage(bad, how)
    arguments = {"discard": [{"z"}], "correct": [{"z": {"caption": "x"}}]}
    getattr(captions, reads)(*arguments.get(reads, []))
    assert captions.ids() == left
    assert captions.read(["caption"]).num_rows == 2
    assert captions.files() == [good]
    aside = Path(bad).with_name(f"_damaged-{Path(bad).name}")
    assert aside.exists()
    assert ds.dataset(captions.path, format="parquet").to_table().num_rows == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert bad in line
    assert aside.name in line
    captions.commit(pa.table([sorted({*"abcd"} - left), ["again", "again"]], schema=CAPTIONS))
    assert captions.ids() == {*"abcd"}


def test_a_table_of_which_nothing_is_left_has_no_rows(captions):
    for path in captions.files():
        damage(path, "empty")
    assert captions.read().equals(CAPTIONS.empty_table())
    assert not captions.exists()


@pytest.mark.parametrize("how", DAMAGE)
def test_errors_of_a_damaged_part_are_tried_again(tmp_path, how):
    errors = RunFolder(str(tmp_path)).table("errors", "ingest-f")
    rows = [{"stage": "ingest", "key": key, "reason": "no", "kind": "decode"} for key in "ab"]
    for row in rows:
        errors.commit(pa.Table.from_pylist([row], schema=ERRORS))
    kept = pq.read_table(errors.files()[1]).to_pylist()
    damage(errors.files()[0], how)
    assert [row["key"] for row in read_errors(errors)] == [kept[0]["key"]]
    assert len(settle(errors, set())) == 1


def test_what_the_storage_does_not_give_is_not_taken_for_damaged(captions, monkeypatch):
    def away(*args: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    files = captions.files()
    with monkeypatch.context() as patched:
        patched.setattr(patience.time, "sleep", lambda seconds: None)
        patched.setattr(parquet.ds, "dataset", away)
        with pytest.raises(OSError, match="Input/output"):
            captions.read()
    assert captions.files() == files


def test_a_part_that_another_process_replaces_while_it_is_read_is_read_where_it_is_now(captions, monkeypatch):
    files, scan, calls = captions.files(), ds.dataset, []

    def replaced_first(found: list[str], **options: object) -> ds.Dataset:
        calls.append(found)
        if len(calls) == 1:
            captions.commit(pa.table([["z"], ["a photo of z"]], schema=CAPTIONS))
            Path(files[0]).unlink()
        return scan(found, **options)

    monkeypatch.setattr(parquet.ds, "dataset", replaced_first)
    assert "z" in captions.ids()


@pytest.mark.parametrize("content", [b"", b'{"whole": tr', b"\xff\xfe\x00", b"\x00" * 20])
def test_damaged_json_is_put_aside_and_told(tmp_path, content, capsys):
    folder = RunFolder(str(tmp_path))
    path = tmp_path / "classifiers" / "f" / "history.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert folder.read_json("classifiers", "f", "history.json") is None
    assert path.with_name("_damaged-history.json").read_bytes() == content
    assert str(path) in capsys.readouterr().err
    assert folder.read_json("classifiers", "f", "history.json") is None
    assert capsys.readouterr().err == ""
    path.write_bytes(content)
    assert folder.read_json("classifiers", "f", "history.json", if_damaged={"whole": False}) == {"whole": False}
    assert folder.read_json("classifiers", "f", "history.json") == {"whole": False}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_beside_the_tables_is_none(tmp_path, how):
    folder = RunFolder(str(tmp_path))
    folder.write_parquet(pa.table({"origin": ["a"] * 50}), "listing", "f", "part-listing.parquet")
    damage(tmp_path / "listing" / "f" / "part-listing.parquet", how)
    assert folder.read_parquet("listing", "f", "part-listing.parquet") is None
    assert [path.name for path in (tmp_path / "listing" / "f").iterdir()] == ["_damaged-part-listing.parquet"]


def test_tensors_are_whole_when_all_their_bytes_are_there(tmp_path):
    path = tmp_path / "model.safetensors"
    fs, place = filesystem(str(path))
    assert damage_of_tensors(fs, place) is None
    content = safetensors.numpy.save({"a": np.zeros((3, 4), np.float32), "b": np.ones(2)}, metadata={"x": "y"})
    path.write_bytes(content)
    assert damage_of_tensors(fs, place) is None
    no_header = b"\x10" + b"\0" * 7 + b"?" * 200
    for damaged in (b"", content[:5], content[:40], content[:-1], content + b"\0", no_header):
        path.write_bytes(damaged)
        assert damage_of_tensors(fs, place) is not None


ANOTHERS = {"id": "theirs", "command": "edit", "host": "node7", "pid": 4242}


def test_while_another_command_has_the_folder_a_reader_leaves_what_is_damaged_and_reads_the_rest(captions, capsys):
    folder = captions.folder
    folder.write_json(ANOTHERS, LEASE)
    folder.write_json({"whole": True}, "listing", "mark.json")
    bad, good = captions.files()
    mark = Path(folder.file("listing", "mark.json"))
    damage(bad, "cut")
    mark.write_bytes(b"{")
    with only_reading():
        for _ in range(2):
            assert captions.ids() == set(pq.read_table(good).column("image_id").to_pylist())
            assert homes(captions.uri, "image_id", list("abcd")).num_rows == 2
            assert folder.read_json("listing", "mark.json", if_damaged={"whole": False}) == {"whole": False}
        assert captions.files() == [good]
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert (Path(bad).exists(), mark.read_bytes()) == (True, b"{")
    assert captions.ids() == set(pq.read_table(good).column("image_id").to_pylist())  # the command itself reads
    assert not Path(bad).exists()


def test_where_nobody_has_the_folder_a_reader_puts_aside_as_who_will_have_it(captions):
    bad, _ = captions.files()
    damage(bad, "cut")
    with only_reading():
        assert len(captions.ids()) == 2
    assert not Path(bad).exists()


def test_who_holds_the_lease_puts_aside_and_a_reader_of_its_files_is_told_to_wait(captions, monkeypatch):
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)
    files = captions.files()
    damage(files[0], "changed")
    fs, _ = filesystem(captions.path)
    with only_reading():
        with held(captions.folder, "caption"):
            with only_reading(), pytest.raises(StageError, match="left to the command"), reading(fs, files):
                pq.read_table(files[0], page_checksum_verification=True)
            assert Path(files[0]).exists()
            with pytest.raises(StageError, match="put aside"), reading(fs, files):
                pq.read_table(files[0], page_checksum_verification=True)
        assert not Path(files[0]).exists()
