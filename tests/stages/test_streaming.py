"""The streaming pass, with a small worker in a model's place: what it promises holds for every stage."""

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray import progress
from alia_ray.cluster.placement import Placement
from alia_ray.config import Run
from alia_ray.errors import FullDiskError, StageError
from alia_ray.stages import counting, made_with, streaming
from alia_ray.stages.answered import left_to_do
from alia_ray.stages.streaming import Pass, run_pass
from alia_ray.store import patience
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import CAPTIONS

ROWS = 150


class Echo:
    """Captions a row with its id; ids that end in `bad_digit` fail; a batch takes `delay` seconds."""

    def __init__(self, bad_digit: str | None = None, delay: float = 0.0) -> None:
        self.bad_digit, self.delay = bad_digit, delay

    def __call__(self, rows: pa.Table) -> pa.Table:
        time.sleep(self.delay)
        ids = rows.column("image_id").to_pylist()
        errors = ["no good" if self.bad_digit and i.endswith(self.bad_digit) else None for i in ids]
        schema = pa.schema([*CAPTIONS, pa.field("error", pa.string())])
        return pa.table([ids, [f"this is {i}" for i in ids], errors], schema=schema)


class Broken(Echo):
    def __call__(self, rows: pa.Table) -> pa.Table:
        raise ValueError("the weights are for another model")


class Talking(Echo):
    def __call__(self, rows: pa.Table) -> pa.Table:
        said = pa.array(["out of memory, going on with 4"] * rows.num_rows, pa.string())
        return super().__call__(rows).append_column(streaming.SAID, said)


def run(
    folder: Path,
    workers: int = 1,
    batch_size: int = 8,
    bad_digit: str | None = None,
    limit: float = 0.2,
    delay: float = 0.0,
    worker: type = Echo,
    retry: bool = False,
    wanted: int = ROWS,
    first: int = 0,
) -> Table:
    ids = [f"id{number:04d}" for number in range(first, wanted)]
    target = RunFolder(str(folder)).table("captions", "f")
    ledger = ledger_of(target.folder)
    asked = f"SELECT key FROM {ledger.keep('asked', pa.table({'key': ids}))}"
    todo = ledger.keep("left", left_to_do(asked, target, "caption", "image_id", retry))
    job = Pass(
        stage="caption",
        rows=f"SELECT key AS image_id FROM {todo} ORDER BY key",
        todo=ledger.number(f"SELECT count(*) FROM {todo}"),
        worker=worker,
        worker_args=(bad_digit, delay),
        target=target,
        key="image_id",
        wanted=asked,
        batch_size=batch_size,
        run=Run(folder=str(folder), max_error_rate=limit, retry_errors=retry),
    )
    run_pass(job, Placement(workers, 1.0, 0.0))
    return target


@pytest.fixture(scope="module")
def whole(ray_cluster, tmp_path_factory) -> Path:
    """A folder with a whole table."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, workers=1, batch_size=7)
    return folder


def table_of(folder: Path) -> Table:
    return RunFolder(str(folder)).table("captions", "f")


def test_the_table_does_not_depend_on_pool_and_batch_sizes(whole, tmp_path):
    one, other = table_of(whole).read(), run(tmp_path, workers=2, batch_size=32).read()
    assert one.num_rows == ROWS
    assert one.equals(other)


def test_workers_of_ray_leave_one_record_of_what_they_made_rows_with(whole):
    [record] = made_with.records(table_of(whole))
    assert record["stage"] == "caption"
    assert record["torch"].startswith("torch ")


def test_a_failed_row_is_an_error_that_is_said_and_tried_again_only_when_asked(without_ray, tmp_path, capsys):
    target = run(tmp_path, bad_digit="7")
    [line] = [line for line in capsys.readouterr().err.splitlines() if " failed: " in line]
    assert line.startswith("caption: 15 of 150 rows failed: 15 × no good (such as 'id0007'); `alia-ray errors ")
    assert line.endswith(f"` lists them all, from {tmp_path}/errors/caption-f")
    errors = target.errors("caption")
    assert len(target.ids()) == ROWS - 15
    assert {row["reason"] for row in errors.read().to_pylist()} == {"no good"}
    assert errors.ids() == {f"id{n:04d}" for n in range(7, ROWS, 10)}
    files = target.files()
    assert run(tmp_path, bad_digit="7").files() == files

    target = run(tmp_path, retry=True)  # now they can be made, and are no errors any more
    assert len(target.ids()) == ROWS
    assert errors.ids() == set()


def test_too_many_errors_fail_the_stage_and_keep_what_was_made(without_ray, tmp_path):
    with pytest.raises(StageError, match="max_error_rate"):
        run(tmp_path, bad_digit="7", limit=0.05)
    assert table_of(tmp_path).ids()


def test_a_worker_that_cannot_work_fails_the_stage_with_its_reason(ray_cluster, tmp_path):
    with pytest.raises(
        StageError, match=r"caption: a worker failed: ValueError: the weights are for another model"
    ):
        run(tmp_path, worker=Broken)


def test_a_pass_computes_only_what_is_missing(whole, without_ray, tmp_path):
    target = table_of(shutil.copytree(whole, tmp_path / "copy"))
    lost = pq.read_table(target.files()[0]).column("image_id").to_pylist()
    kept = {path: os.stat(path).st_mtime_ns for path in target.files()[1:]}
    os.remove(target.files()[0])
    assert not set(lost) & target.ids()
    run(tmp_path / "copy")
    assert len(target.ids()) == ROWS
    assert {path: os.stat(path).st_mtime_ns for path in kept} == kept


def rows_of(errors: Table) -> list[tuple[str, str, str]]:
    return sorted((row["key"], row["reason"], row["kind"]) for row in errors.stored().to_pylist())


class Unread(Echo):
    """What fails could not be read."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        made = super().__call__(rows)
        return made.append_column("kind", pa.array(["read"] * made.num_rows))


def test_an_error_that_is_not_final_is_tried_again_by_itself_and_replaced_by_its_outcome(without_ray, tmp_path):
    errors = run(tmp_path, bad_digit="7", worker=Unread).errors("caption")
    assert {kind for _, _, kind in rows_of(errors)} == {"read"}
    target = run(tmp_path, bad_digit="17")  # half of them fail again, otherwise
    assert rows_of(errors) == [(f"id{n:04d}", "no good", "model") for n in (17, 117)]
    assert len(target.ids()) == ROWS - 2
    files = errors.files()
    run(tmp_path)
    assert errors.files() == files


@pytest.mark.parametrize("killed", ["commit", "settle"])
def test_errors_that_are_tried_again_are_neither_lost_nor_doubled_by_a_kill(
    without_ray, tmp_path, monkeypatch, killed
):
    errors = run(tmp_path, bad_digit="7").errors("caption")
    before = rows_of(errors)

    def kill(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    settle, calls = streaming.settle, []

    def kill_second(*args: object) -> list:
        calls.append(args)
        return settle(*args) if len(calls) == 1 else kill()

    with monkeypatch.context() as patched:
        if killed == "commit":
            patched.setattr(Table, "commit", kill)
        else:
            patched.setattr(streaming, "settle", kill_second)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, retry=True, bad_digit="17")
    assert set(before) <= set(rows_of(errors))
    target = run(tmp_path, retry=True, bad_digit="17")
    assert [key for key, _, _ in rows_of(errors)] == ["id0017", "id0117"]
    assert target.ids() == {f"id{n:04d}" for n in range(ROWS)} - {"id0017", "id0117"}
    assert target.stored().num_rows == ROWS - 2


def test_the_share_of_errors_is_of_all_rows_of_the_stage_whichever_run_made_them(without_ray, tmp_path):
    for _ in range(2):
        with pytest.raises(
            StageError, match=r"15 of 150 rows failed.*15 × no good \(such as 'id0007'\)"
        ) as refused:
            run(tmp_path, bad_digit="7", limit=0.05)
        assert f"lists them all, from {tmp_path}/errors/caption-f" in str(refused.value)
    run(tmp_path, limit=0.1)
    with pytest.raises(StageError, match=r"15 of 150 rows failed"):
        run(tmp_path, limit=0.09)


def test_errors_of_other_passes_over_the_same_table_stay(without_ray, tmp_path):
    errors = run(tmp_path, bad_digit="7", retry=True).errors("caption")
    before = rows_of(errors)
    run(tmp_path, bad_digit="7", retry=True, wanted=20, limit=1)
    assert rows_of(errors) == before
    assert len(before) == 15


def test_errors_that_sets_of_rows_share_go_as_each_is_tried_again(without_ray, tmp_path):
    """As edits of several kinds, draws of several seeds, and what `judge` takes from several older tables."""
    for first in (0, 50, 100):
        errors = run(tmp_path, bad_digit="7", first=first, wanted=first + 50, limit=1).errors("caption")
    of_set = {
        first: [row for row in rows_of(errors) if first <= int(row[0][2:]) < first + 50] for first in (0, 50, 100)
    }
    assert [len(rows) for rows in of_set.values()] == [5, 5, 5]
    run(tmp_path, first=50, wanted=100, retry=True)
    assert rows_of(errors) == of_set[0] + of_set[100]
    run(tmp_path, bad_digit="17", first=100, wanted=150, retry=True, limit=1)
    assert rows_of(errors) == [*of_set[0], ("id0117", "no good", "model")]
    target = run(tmp_path, first=0, wanted=50, retry=True)
    assert rows_of(errors) == [("id0117", "no good", "model")]
    assert len(target.ids()) == target.stored().num_rows == ROWS - 1


def test_a_source_of_which_a_worker_cannot_read_a_part_is_told_and_put_aside(ray_cluster, tmp_path):
    images = RunFolder(str(tmp_path)).table("images", "f")
    picture = Random(0).randbytes(4000)
    rows = [{"image_id": f"id{number}", "image": picture} for number in range(3)]
    path = Path(images.commit(pa.Table.from_pylist(rows, schema=images.schema)))
    path.write_bytes(path.read_bytes().replace(picture[200:260], b"\xff" * 60))
    ledger, target = ledger_of(images.folder), table_of(tmp_path)
    todo = ledger.rows(images, [])
    job = Pass(
        stage="caption",
        rows=f"SELECT image_id, file FROM {todo}",
        todo=3,
        source=(images, ["image"]),
        worker=Echo,
        worker_args=(),
        target=target,
        key="image_id",
        wanted=f"SELECT image_id AS key FROM {todo}",
        batch_size=8,
        run=Run(folder=str(tmp_path)),
    )
    with pytest.raises(StageError, match=r"^caption: .*part-.*parquet was damaged, .*; run it again$"):
        run_pass(job, Placement(1, 1.0, 0.0))
    assert [each.name for each in path.parent.iterdir()] == [f"_damaged-{path.name}"]


class Listing:
    """Files of a folder as a network file system lists them: what is new is not there for some looks."""

    def __init__(self, looks: int) -> None:
        self.looks, self.listed, self.waits = looks, Table.files, 0

    def files(self, table: Table) -> list[str]:
        found = self.listed(table)
        return found if self.waits >= self.looks or table.name == "errors" else found[:1]

    def sleep(self, seconds: float) -> None:
        self.waits += seconds == 1  # the workers of these tests sleep too


@pytest.mark.parametrize("looks", [0, 3])
def test_a_pass_ends_when_what_its_workers_wrote_is_listed_here(without_ray, tmp_path, monkeypatch, looks):
    listing = Listing(looks)
    monkeypatch.setattr(Table, "files", lambda table: listing.files(table))
    monkeypatch.setattr(patience.time, "sleep", listing.sleep)
    assert len(run(tmp_path).ids()) == ROWS
    assert listing.waits == looks


def test_what_is_never_listed_here_is_said(without_ray, tmp_path, monkeypatch):
    listing = Listing(looks=10**9)
    monkeypatch.setattr(Table, "files", lambda table: listing.files(table))
    monkeypatch.setattr(patience.time, "sleep", listing.sleep)
    monkeypatch.setattr(patience, "SEEN_WITHIN_S", 0.0)
    with pytest.raises(
        StageError, match=r"caption: \d+ of \d+ files that its workers wrote are not to be seen from"
    ):
        run(tmp_path)
    assert listing.waits <= 1


class Full(Table):
    """A table on a full disk."""

    def _write(self, rows: pa.Table, name: str) -> str:
        if rows.num_rows:
            raise FullDiskError(f"the disk of {self.folder.path} is full")
        return super()._write(rows, name)


def test_a_full_disk_is_one_sentence_with_the_stage_and_the_folder(without_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "table", lambda folder, name, fingerprint: Full(folder, name, fingerprint))
    with pytest.raises(StageError, match=rf"^caption: the disk of {tmp_path} is full$"):
        run(tmp_path)


@pytest.mark.slow
def test_resume_after_kill_keeps_every_row_once(ray_cluster, tmp_path):
    script = textwrap.dedent("""
        import pathlib, sys, ray, test_streaming
        ray.init(address="local", num_cpus=3, include_dashboard=False)
        test_streaming.run(pathlib.Path(sys.argv[1]), delay=1.0)
    """)
    driver = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        start_new_session=True,
    )
    target = table_of(tmp_path)
    deadline = time.monotonic() + 240
    while len(target.files()) < 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    survived = target.ids()
    assert 0 < len(survived) < ROWS
    rows = run(tmp_path).read()
    assert rows.num_rows == len(set(rows.column("image_id").to_pylist())) == ROWS
    stored = sum(pq.read_metadata(path).num_rows for path in target.files())
    assert stored == ROWS


def test_what_a_worker_has_to_say_reaches_the_person_once(without_ray, tmp_path, capsys):
    run(tmp_path, worker=Talking)
    assert capsys.readouterr().err.splitlines().count("caption: out of memory, going on with 4") == 1


class Counted(Echo):
    """Fails as it begins or as it works, and leaves a mark of each try."""

    def __init__(self, place: str, marks: Path) -> None:
        super().__init__()
        self.place, self.marks = place, marks
        self.fail_at("begin", "once")

    def fail_at(self, place: str, key: str) -> None:
        if place == self.place:
            (self.marks / f"{key}.{uuid.uuid4().hex}").touch()
            raise ValueError("size mismatch for weight")

    def __call__(self, rows: pa.Table) -> pa.Table:
        self.fail_at("work", rows.column("image_id")[0].as_py())
        return super().__call__(rows)


@pytest.mark.parametrize("place", ["begin", "work"])
def test_an_error_of_a_worker_ends_the_stage_at_its_first_try(ray_cluster, tmp_path, place):
    (tmp_path / "marks").mkdir()
    with pytest.raises(StageError, match=r"ValueError: size mismatch for weight; .*mend that, then run it again"):
        run(tmp_path, worker=Counted, bad_digit=place, delay=tmp_path / "marks")
    tries = Counter(mark.stem for mark in (tmp_path / "marks").iterdir())
    assert set(tries.values()) == {1}


def test_progress_moves_before_the_first_block_is_committed(ray_cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(streaming, "BLOCKS", 1)
    monkeypatch.setattr(counting, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    table = run(tmp_path, batch_size=8, delay=0.2, wanted=64)
    assert len(table.files()) == 1
    said = capsys.readouterr().err
    assert re.search(r"^caption: (8|16|24)/64 ", said, re.MULTILINE)
    assert said.splitlines()[-1].startswith("caption: 64 rows in ")
    run(tmp_path, wanted=64)
    assert capsys.readouterr().err == "caption: 64 of 64 rows are there from before\n"
