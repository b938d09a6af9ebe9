"""Small files become few, whatever happens meanwhile."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.stages import merging
from alia_ray.stages.merging import drop_repeated, merge_files
from alia_ray.store import parquet
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import EDITS

COLUMNS = ["edit_id", "image", "error", "confidence"]


pytestmark = pytest.mark.usefixtures("without_ray")


def edits(folder: Path, rows: int, a_file: int) -> Table:
    table = RunFolder(str(folder)).table("edits", "f")
    picture = {"image": bytes(50), "image_bytes": 50}
    made = [{"edit_id": f"{number:05d}", **picture} for number in range(rows)]
    for start in range(0, rows, a_file):
        table.commit(pa.Table.from_pylist(made[start : start + a_file], schema=EDITS))
    return table


def known(table: Table) -> list[str]:
    """The ids as the ledger has them."""
    ledger = ledger_of(table.folder)
    return ledger.column(f"SELECT edit_id FROM {ledger.rows(table, [])} ORDER BY edit_id")


@pytest.mark.parametrize(("rows", "a_file"), [(2000, 16), (130, 64), (1, 1), (1500, 700)])
def test_small_files_become_few_and_hold_the_same_rows(tmp_path, rows, a_file):
    table = edits(tmp_path, rows, a_file)
    before = table.read(COLUMNS)
    merge_files(table)
    assert table.stored(["edit_id"]).num_rows == rows
    assert table.read(COLUMNS).equals(before)
    assert len(table.files()) <= max(1, 2 * rows / 1000 + 1)
    files = table.files()
    merge_files(table)
    assert table.files() == files


def test_files_that_are_large_by_their_bytes_stay_alone(tmp_path, monkeypatch):
    table = edits(tmp_path, 100, 10)
    files = table.files()
    monkeypatch.setattr(merging, "BYTES", max(Path(file).stat().st_size for file in files) * 3 // 2)
    merge_files(table)
    assert table.files() == files


@pytest.mark.parametrize(("size", "groups"), [(2**22, [400]), (1, [64] * 6 + [16])])
def test_pictures_lie_in_groups_of_few_sorted_by_id(tmp_path, monkeypatch, size, groups):
    monkeypatch.setattr(parquet, "BYTES_AT_ONCE", size)
    table = edits(tmp_path, 400, 16)
    merge_files(table)
    [file] = table.files()
    metadata = pq.read_metadata(file)
    assert [metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)] == groups
    ids = pq.read_table(file, columns=["edit_id"]).column(0).to_pylist()
    assert ids == sorted(ids)


def test_a_merge_that_is_killed_leaves_every_row_and_the_next_one_goes_on(tmp_path, monkeypatch):
    table, deleted = edits(tmp_path, 300, 10), []
    before = table.read(COLUMNS)

    def killed(fs: object, path: str) -> None:
        if len(deleted) == 7:
            raise KeyboardInterrupt
        deleted.append(path)
        Path(path).unlink()

    with monkeypatch.context() as patched:
        patched.setattr(merging, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_files(table)
    assert table.stored(["edit_id"]).num_rows > 300
    assert table.read(COLUMNS).equals(before)
    assert known(table) == before["edit_id"].to_pylist()
    drop_repeated(table)
    merge_files(table)
    assert table.stored(["edit_id"]).num_rows == 300
    assert table.read(COLUMNS).equals(before)
    assert known(table) == before["edit_id"].to_pylist()


def test_the_ledger_follows_without_reading_again(tmp_path, monkeypatch):
    table = edits(tmp_path, 300, 10)
    ids, ledger = known(table), ledger_of(table.folder)
    reads = []
    merge_files(table)
    monkeypatch.setattr("alia_ray.store.parquet.dataset", lambda *args: reads.append(args))
    assert known(table) == ids
    [place] = ledger.ask(f"SELECT DISTINCT file FROM {ledger.rows(table, [])}").to_pylist()
    names = {row["file"]: row["path"] for row in ledger.file_names(table).to_pylist()}
    assert [names[place["file"]]] == table.files()
    assert reads == []


def test_of_files_that_repeat_each_other_crosswise_no_row_is_lost(tmp_path):
    """Of the whole file the first half is repeated by a file before it, the second by one after it."""
    for number in range(1000):
        table = RunFolder(str(tmp_path / str(number))).table("edits", "f")
        rows = [{"edit_id": f"{number}-{place}", "image_bytes": 1, "image": b"x"} for place in range(4)]
        first, whole, second = (
            table.commit(pa.Table.from_pylist(some, schema=EDITS)) for some in (rows[:2], rows, rows[2:])
        )
        if first < whole < second:
            break
    assert first < whole < second
    drop_repeated(table)
    assert sorted(table.stored(["edit_id"]).column(0).to_pylist()) == [row["edit_id"] for row in rows]
