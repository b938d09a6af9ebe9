import errno
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
import torch

from alia_ray.store import parquet, patience
from alia_ray.store.patience import TRIES, patiently
from alia_ray.store.rows import homes, stream
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import IMAGES
from alia_ray.training.checkpoints import resumable_state, save_checkpoint, tensors_after


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """How long was waited, and nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", waited.append)
    return waited


class Failing:
    """Fails some times, then gives "content"."""

    def __init__(self, *errors: OSError) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "content"


def test_what_fails_for_a_moment_is_tried_again_after_growing_pauses(pauses):
    act = Failing(*[OSError("AWS Error SLOW_DOWN during GetObject operation")] * (TRIES - 1))
    assert patiently(act) == "content"
    assert len(pauses) == TRIES - 1
    longest = [patience.FIRST_PAUSE_S * 2**number for number in range(TRIES - 1)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert 3 < sum(pauses) < 8  # seconds, after which a store has caught its breath


def test_what_fails_for_long_raises_its_last_error(pauses):
    act = Failing(*(OSError(f"try {number}") for number in range(TRIES + 1)))
    with pytest.raises(OSError, match=f"try {TRIES - 1}"):
        patiently(act)
    assert act.calls == TRIES


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "permission denied"),
        OSError("When reading 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation"),
        OSError(errno.ENOSPC, "no space left on device"),
        OSError(errno.ENAMETOOLONG, "file name too long"),
    ],
)
def test_what_will_not_pass_is_not_waited_for(pauses, error):
    act = Failing(error)
    with pytest.raises(OSError, match=str(error.args[-1])):
        patiently(act)
    assert act.calls == 1
    assert not pauses


class Hiccup:
    """A function that fails so many times after so many calls."""

    def __init__(self, act: Callable[..., object], failures: int, after: int = 0) -> None:
        self.act, self.failures, self.after, self.calls = act, failures, after, 0

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        if self.after < self.calls <= self.after + self.failures:
            raise OSError(errno.EIO, "Input/output error")
        return self.act(*args, **options)


class Opening:
    """The local file system, on which each file fails to open a few times in each way."""

    def __init__(self, *errors: OSError) -> None:
        self.fs, self.errors, self.tries = pafs.LocalFileSystem(), errors, Counter[tuple[str, str]]()

    def __getattr__(self, name: str) -> object:
        act = getattr(self.fs, name)
        if not name.startswith("open_input"):
            return act

        def opened(path: str) -> pa.NativeFile:
            self.tries[name, path] += 1
            if self.tries[name, path] <= len(self.errors):
                raise self.errors[self.tries[name, path] - 1]
            return act(path)

        return opened


READS: dict[str, Callable[[Table], object]] = {
    "a table": lambda table: table.read().num_rows,
    "its parts": lambda table: len(table.parts()),
    "a file beside tables": lambda table: table.folder.read_parquet("beside.parquet").num_rows,
    "where rows lie": lambda table: homes(table.uri, "image_id", ["a", "b"]).num_rows,
    "rows taken out": lambda table: table.discard({"a"}),
}


@pytest.mark.parametrize("reads", READS)
def test_tables_are_read_in_spite_of_hiccups_like_any_file(pauses, tmp_path, monkeypatch, reads):
    table = RunFolder(str(tmp_path)).table("captions", "f")
    rows = pa.table({"image_id": ["a", "b"], "caption": ["a cat", "a dog"]})
    for ids in (rows.slice(0, 1), rows.slice(1)):
        table.commit(ids)
    table.folder.write_parquet(rows, "beside.parquet")
    expected = READS[reads](table)
    for name in ("dataset", "read"):
        monkeypatch.setattr(parquet, name, Hiccup(getattr(parquet, name), TRIES - 1))
    assert READS[reads](table) == (None if reads == "rows taken out" else expected)
    assert len(pauses) == TRIES - 1


def test_a_classifier_s_tensors_are_looked_at_and_read_in_spite_of_hiccups(pauses, tmp_path, monkeypatch):
    folder = RunFolder(str(tmp_path))
    save_checkpoint(folder, {"model.a": torch.ones(3)}, {"history": [{"epoch": 1, "score": 1}]}, "score")
    fs = Opening(*[OSError(errno.EIO, "Input/output error")] * 2)
    monkeypatch.setattr(RunFolder, "fs", fs)
    assert resumable_state(folder) is not None
    assert len(pauses) == 4  # two for the state, two for the look at its tensors
    fs.tries.clear()
    assert tensors_after(folder, 1)["model.a"].tolist() == [1, 1, 1]
    assert len(pauses) == 6


def test_rows_that_are_streamed_go_on_where_the_storage_failed_and_none_comes_twice(pauses, tmp_path, monkeypatch):
    table, ids = RunFolder(str(tmp_path)).table("images", "f"), [f"{number:03}" for number in range(300)]
    for some in (ids[:200], ids[200:]):
        table.commit(pa.Table.from_pylist([{"image_id": i, "image": i.encode()} for i in some], schema=IMAGES))
    whole = parquet.dataset

    def dataset(*args: object) -> SimpleNamespace:
        batches = whole(*args).to_batches

        def failing(*columns: object, **options: object) -> Iterator[pa.RecordBatch]:
            for number, batch in enumerate(batches(*columns, **options)):
                if number == 2 and len(pauses) < 3:
                    raise OSError(errno.EIO, "Input/output error")
                yield batch

        return SimpleNamespace(to_batches=failing)

    lie = homes(table.uri, "image_id", ids)
    monkeypatch.setattr(parquet, "dataset", dataset)
    found = [row for rows in stream(table.uri, lie, ["image"]) for row in rows.to_pylist()]
    assert sorted(row["image_id"] for row in found) == ids
    assert all(row["image"] == row["image_id"].encode() for row in found)
    assert len(pauses) == 3
