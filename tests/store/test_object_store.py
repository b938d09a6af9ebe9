"""What is asked of an object store, counted by a local server, and what is left there of what fails."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from counted_store import Store, counted_store
from scale import paint, settings_of, steps_of

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config
from alia_ray.errors import FullDiskError
from alia_ray.stages import made_with
from alia_ray.state import State
from alia_ray.store import writing
from alia_ray.store.filesystems import filesystem
from alia_ray.store.rows import homes, stream
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import CAPTIONS

LARGE = 12 * 2**20  # bytes, more than pyarrow sends by one request
IMAGES, PROMPTS = 60, 2


@pytest.fixture
def store(monkeypatch) -> Iterator[Store]:
    """A store on this machine, which a proxy of the environment does not catch."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with counted_store() as store:
        yield store


@pytest.fixture
def folder(store) -> RunFolder:
    return RunFolder(store.uri("run"))


@pytest.fixture
def captions(folder) -> Table:
    return folder.table("captions", "f")


def rows(*ids: str) -> pa.Table:
    return pa.table([list(ids), [f"a photo of {i}" for i in ids]], schema=CAPTIONS)


def kinds(store: Store) -> list[str]:
    """The kinds of the requests since the last time."""
    found = [kind for kind, _ in store.requests]
    store.requests.clear()
    return found


def objects(store: Store) -> list[str]:
    fs, bucket = filesystem(store.uri(""))
    return [info.path for info in fs.get_file_info(pafs.FileSelector(bucket, recursive=True))]


def test_a_commit_is_one_put_whatever_the_folder_and_nothing_else(store, captions):
    path = captions.commit(rows("a", "b"))
    assert store.requests == [("PUT", path.removeprefix("bucket/"))]
    captions.commit(rows("b", "a"))
    captions.folder.write_json(1, "stages", "x.json")
    assert kinds(store) == ["PUT"] * 3
    assert sorted(objects(store)) == ["bucket/run", "bucket/run/captions", "bucket/run/captions/f", path, *STAGES]


STAGES = ["bucket/run/stages", "bucket/run/stages/x.json"]


def test_a_table_is_read_by_a_listing_and_two_requests_a_file(store, captions):
    for ids in ("a", "b", "c"):
        captions.commit(rows(ids))
    kinds(store)
    assert captions.read() == rows("a", "b", "c")
    assert sorted(kinds(store)) == ["GET"] * 6 + ["LIST"]
    assert captions.files()
    assert kinds(store) == ["LIST"]
    found = homes(captions.uri, "image_id", ["a"])
    assert sorted(kinds(store)) == ["GET"] * 5 + [
        "LIST"
    ]  # one looks which columns there are; of two the ids say no
    assert [part.num_rows for part in stream(captions.uri, found, ["caption"])] == [1]
    assert sorted(kinds(store)) == ["GET", "GET", "GET", "HEAD", "HEAD"]


def test_a_file_beside_tables_is_read_by_as_few(store, folder):
    folder.write_json({"a": 1}, "x.json")
    folder.write_bytes(bytes(LARGE), "large")
    folder.write_parquet(rows("a"), "x.parquet")
    kinds(store)
    assert folder.read_json("x.json") == {"a": 1}
    assert kinds(store) == ["HEAD", "GET"]
    assert folder.read_json("none.json") is None
    assert kinds(store) == ["HEAD"]
    assert len(folder.read_bytes("large")) == LARGE
    assert kinds(store) == ["HEAD", "GET"]
    assert folder.read_parquet("x.parquet") == rows("a")
    assert kinds(store) == ["HEAD", "GET", "GET"]
    folder.sweep()
    assert kinds(store) == []


def test_a_process_has_one_client_of_a_bucket(store, captions):
    assert filesystem(captions.uri)[0] is captions.folder.fs
    assert filesystem(store.uri("export"))[0] is captions.folder.fs


def test_a_record_is_asked_for_once_and_written_again_where_a_training_begins_anew(store, captions, folder):
    for _ in range(3):
        made_with.keep(captions, {"stage": "caption", "torch": "1"})
    assert kinds(store) == ["HEAD", "LIST", "PUT"]
    made_with.keep_of_training("alia", folder, {"stage": "train", "torch": "1"}, goes_on=False)
    made_with.keep_of_training("alia", folder, {"stage": "train", "torch": "1"}, goes_on=False)
    assert made_with.records(folder) == [{"stage": "train", "torch": "1"}]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("size", [100, LARGE])
def test_a_writer_that_fails_leaves_nothing_and_asks_for_nothing(store, folder, error, size):
    def write_some() -> None:
        with folder.writing("x.tar") as stream:
            stream.write(bytes(size))
            raise error

    with pytest.raises(error):
        write_some()
    assert (kinds(store), objects(store)) == ([], [])


def test_a_disk_that_is_too_small_for_a_file_is_named(store, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(writing.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FullDiskError, match=f"the disk of {tmp_path} is full; .*TMPDIR"), folder.writing("x"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_store_that_refuses_a_part_is_left_without_the_file(store, folder):
    def refuse(kind: str) -> None:
        if [kind for kind, _ in store.requests].count("PUT") > 1:
            raise ConnectionError

    store.heard = refuse
    with pytest.raises(OSError, match="UploadPart"), folder.writing("x.tar") as stream:
        stream.write(bytes(LARGE))
    store.heard = lambda kind: None
    assert objects(store) == []


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dies_at"), [(1000, "PUT"), (LARGE, "PUT"), (LARGE, "POST")])
def test_a_writer_that_is_killed_while_it_sends_leaves_no_half_object(store, folder, size, dies_at):
    write = "import sys; from alia_ray.store.run_folder import RunFolder; RunFolder(sys.argv[1])"
    command = [sys.executable, "-c", f"{write}.write_bytes(bytes({size}), 'x')", folder.path]
    store.heard = lambda kind: None if kind != dies_at else os.kill(writer.pid, signal.SIGKILL)
    with subprocess.Popen(command) as writer:
        assert writer.wait(60) == -signal.SIGKILL
    store.heard = lambda kind: None
    # a whole small object had come with the request at which its sender died
    assert [info.size for info in folder.fs.get_file_info([folder.file("x")]) if info.is_file] in ([], [1000])


def test_the_server_ends_with_its_block():
    with counted_store() as store:
        pass
    with socket.socket() as here, pytest.raises(ConnectionRefusedError):
        here.connect(("127.0.0.1", store.port))


def run(settings: Config) -> State:
    state = State(settings)
    steps = steps_of(state, Cluster(cpus=2, gpus=0), "")
    del steps["export"]  # whose tasks have no other way than Ray
    for step in steps.values():
        step()
    return State(settings)


@pytest.mark.slow
def test_a_run_in_a_store_gives_the_rows_of_one_on_the_disk_by_few_requests(store, without_ray, tmp_path):
    paint(Path(tmp_path) / "source", IMAGES)
    on_disk, there = (
        run(settings_of(tmp_path / "source", place, PROMPTS)) for place in (f"{tmp_path}/run", store.uri("run"))
    )
    for name in ("images", "captions", "domains", "edits"):
        [(ours, theirs)] = zip(there.folder.tables(name), on_disk.folder.tables(name), strict=True)
        assert ours.fingerprint == theirs.fingerprint
        columns = [column for column in ours.schema.names if not column.endswith("_seconds")]
        assert ours.read(columns) == theirs.read(columns)
    asked, left = store.count(), objects(store)
    assert asked["COPY"] == asked["POST"] == 0
    assert asked["PUT"] <= 40
    assert asked.total() <= 1500
    store.requests.clear()
    run(settings_of(tmp_path / "source", store.uri("run"), PROMPTS))
    again = store.count()
    assert again["PUT"] <= 12
    assert again["COPY"] == again["POST"] == again["DELETE"] == 0
    assert objects(store) == left
