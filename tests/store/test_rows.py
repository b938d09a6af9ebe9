"""Rows by id: once, and as they were made, in whichever files they lie."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.errors import StageError
from alia_ray.store import parquet
from alia_ray.store.rows import ROWS_AT_ONCE, _is_one_of, homes, stream
from alia_ray.store.run_folder import FILE, RunFolder
from alia_ray.store.tables import EDITS, IMAGES


def write(folder: Path, schema: pa.Schema, **files: list[dict]) -> str:
    for name, rows in files.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"part-{name}.parquet")
    return str(folder)


def made(key: str, image: bytes) -> dict:
    return {"edit_id": key, "image": image, "label": "cat"}


def failed(key: str) -> dict:
    return {"edit_id": key, "label": "cat", "error": "one flat colour"}


def found(table: str, ids: list[str], key: str = "edit_id") -> list[tuple[str, bytes]]:
    return sorted(
        (row[key], row["image"])
        for rows in stream(table, homes(table, key, ids), ["image"])
        for row in rows.to_pylist()
    )


@pytest.mark.parametrize("made_in", ["1", "2"])
def test_of_an_edit_that_failed_once_the_made_row_is_read(tmp_path, made_in):
    failed_in = {"1": "2", "2": "1"}[made_in]
    files = {made_in: [made("a", b"png"), made("b", b"jpg")], failed_in: [failed("a"), failed("c")]}
    table = write(tmp_path, EDITS, **files)
    assert found(table, ["a", "b", "c", "z"]) == [("a", b"png"), ("b", b"jpg")]
    assert homes(table, "edit_id", ["a", "c"]).to_pylist() == [
        {"edit_id": "a", FILE: f"{tmp_path}/part-{made_in}.parquet"}
    ]


def test_a_row_that_a_killed_process_left_twice_is_read_once_from_the_first_file(tmp_path):
    rows = {
        name: [{"image_id": key, "image": name.encode()} for key in keys]
        for name, keys in {"2": "abc", "1": "bd", "3": "d"}.items()
    }
    table = write(tmp_path, IMAGES, **rows)
    assert found(table, ["a", "b", "d"], "image_id") == [("a", b"2"), ("b", b"1"), ("d", b"1")]


def test_rows_come_a_few_at_a_time_and_nothing_comes_of_nothing(tmp_path):
    rows = [{"image_id": f"{number:03}", "image": b"x"} for number in range(3 * ROWS_AT_ONCE)]
    table = RunFolder(str(tmp_path)).table("images", "f")
    table.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    ids = [row["image_id"] for row in rows]
    assert [len(batch) for batch in stream(table.uri, homes(table.uri, "image_id", ids), ["image"])] == [
        ROWS_AT_ONCE
    ] * 3
    assert list(stream(table.uri, homes(table.uri, "image_id", []), ["image"])) == []
    assert list(stream(table.uri, homes(table.uri, "image_id", ["z"]), ["image"])) == []


def test_many_files_are_gone_through_a_few_at_a_time_and_what_is_known_of_rows_comes_along(tmp_path, monkeypatch):
    files = {str(n): [{"image_id": f"{n}{each}", "image": b"x"} for each in "ab"] for n in range(9)}
    table, opened, dataset = write(tmp_path, IMAGES, **files), [], parquet.dataset
    known = homes(table, "image_id", ["0a", "3b", "8a", "8b", "9a"])
    known = known.append_column("place", pa.array(range(4)))
    monkeypatch.setattr(parquet, "dataset", lambda files, fs: opened.append(len(files)) or dataset(files, fs))
    monkeypatch.setattr("alia_ray.store.rows.FILES_AT_ONCE", 2)
    found = pa.concat_tables(stream(table, known, ["image"]))
    assert found.column_names == ["image_id", "image", "place"]
    assert [found.column(name).to_pylist() for name in ("image_id", "place")] == [
        ["0a", "3b", "8a", "8b"],
        [0, 1, 2, 3],
    ]
    assert opened == [2, 1]


def test_a_picture_of_which_a_byte_has_changed_is_put_aside_and_not_read(tmp_path):
    table = RunFolder(str(tmp_path)).table("edits", "f")
    [path] = [table.commit(pa.Table.from_pylist([made("a", b"a picture" * 1000)], schema=EDITS))]
    content = Path(path).read_bytes()
    at = content.index(b"picture")
    Path(path).write_bytes(content[:at] + b"P" + content[at + 1 :])
    assert table.ids() == {"a"}  # none of its pictures is read
    with pytest.raises(StageError, match=r"part-\w+.parquet was damaged, and is put aside; run it again"):
        found(table.path, ["a"])
    assert table.ids() == set()


def test_row_groups_that_hold_none_of_the_rows_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", (8, 8))
    table = RunFolder(str(tmp_path)).table("images", "f")
    ids = [f"{number:03}" for number in range(64)]
    table.commit(pa.Table.from_pylist([{"image_id": each, "image": b"x"} for each in ids], schema=IMAGES))
    [file], wanted = table.files(), pa.array(ids[20:30])
    fragment = next(parquet.dataset(file, table.folder.fs).get_fragments())
    assert [group.id for group in fragment.subset(_is_one_of("image_id", wanted)).row_groups] == [2, 3]
    found = pa.concat_tables(stream(table.uri, homes(table.uri, "image_id", wanted.to_pylist()), ["image"]))
    assert found.column("image_id").to_pylist() == wanted.to_pylist()
