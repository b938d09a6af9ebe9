import errno

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from alia_ray.errors import FullDiskError
from alia_ray.store import run_folder
from alia_ray.store.run_folder import RunFolder, below, filesystem
from alia_ray.store.tables import CAPTIONS, EDITS, IMAGES, content_id, seed_of


@pytest.fixture
def captions(tmp_path):
    return RunFolder(str(tmp_path)).table("captions", "f00")


def rows(*ids: str) -> pa.Table:
    return pa.table([list(ids), [f"a photo of {i}" for i in ids]], schema=CAPTIONS)


def test_rows_are_read_back_sorted_and_once(captions):
    captions.commit(rows("c", "a"))
    captions.commit(rows("b", "a"))
    assert captions.read().column("image_id").to_pylist() == ["a", "b", "c"]
    assert captions.ids() == {"a", "b", "c"}


@pytest.mark.parametrize("made_first", [True, False])
def test_an_edit_that_failed_once_and_was_made_later_counts_as_made(tmp_path, made_first):
    edits = RunFolder(str(tmp_path)).table("edits", "f00")
    failed = [{"edit_id": "a", "error": "black"}, {"edit_id": "b", "error": "black"}]
    made = [{"edit_id": "a", "image": b"png"}]
    for found in (made, failed) if made_first else (failed, made):
        edits.commit(pa.Table.from_pylist(found, schema=EDITS))
    assert edits.read(["edit_id", "error"]).to_pylist() == [
        {"edit_id": "a", "error": None},
        {"edit_id": "b", "error": "black"},
    ]


def test_the_same_ids_make_the_same_file(captions):
    captions.commit(rows("a", "b"))
    captions.commit(rows("b", "a"))
    assert len(captions.files()) == 1


def test_a_file_that_was_being_written_is_not_read(captions, tmp_path):
    captions.commit(rows("a"))
    (tmp_path / "captions" / "f00" / ".part-x.parquet.tmp").write_bytes(b"half a file")
    assert captions.ids() == {"a"}
    assert pq.read_table(captions.path).num_rows == 1


def test_an_empty_table_has_its_schema(captions):
    assert not captions.exists()
    assert captions.read().schema == CAPTIONS
    assert captions.ids() == set()


def test_a_table_without_rows_can_be_created_and_read_by_anyone(captions):
    captions.create()
    assert pq.read_table(captions.path).schema.names == CAPTIONS.names
    captions.commit(rows("a"))
    captions.create()
    assert captions.ids() == {"a"}


def test_rows_that_are_discarded_are_gone_and_other_files_stay(captions):
    captions.commit(rows("a", "b"))
    captions.commit(rows("c"))
    captions.commit(rows("d"))
    untouched = captions.files()
    captions.discard({"a", "d", "z"})
    assert captions.read() == rows("b", "c")
    assert len(set(untouched) & set(captions.files())) == 1
    captions.discard({"a", "d", "z"})
    assert captions.ids() == {"b", "c"}


def test_rows_are_corrected_in_their_file(captions):
    captions.commit(rows("a", "b"))
    captions.commit(rows("c"))
    files = captions.files()
    captions.correct({"b": {"caption": "a dog"}, "z": {"caption": "nothing"}})
    assert captions.files() == files
    assert captions.read(["caption"]).column(0).to_pylist() == ["a photo of a", "a dog", "a photo of c"]


def test_of_repeated_rows_that_which_is_read_stays(tmp_path):
    edits = RunFolder(str(tmp_path)).table("edits", "f00")
    edits.commit(pa.Table.from_pylist([{"edit_id": "a", "error": "black"}, {"edit_id": "b"}], schema=EDITS))
    edits.commit(pa.Table.from_pylist([{"edit_id": "a"}, {"edit_id": "c", "error": "black"}], schema=EDITS))
    before = edits.read(["edit_id", "error"])
    edits.drop_repeated()
    assert edits.read(["edit_id", "error"]).equals(before)
    assert edits.stored().num_rows == 3
    files = edits.files()
    edits.drop_repeated()
    assert edits.files() == files


def test_rows_of_an_older_release_that_lack_a_column_can_be_discarded(tmp_path):
    images = RunFolder(str(tmp_path)).table("images", "f00")
    images.create()
    older = pa.Table.from_pylist([{"image_id": "a"}, {"image_id": "b"}], schema=IMAGES).drop_columns("content")
    pq.write_table(older, f"{images.path}/part-old.parquet")
    images.discard({"a"})
    assert images.ids() == {"b"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_half_written_and_is_named(captions, tmp_path, monkeypatch, number):
    def full(table: pa.Table, where: pa.NativeFile, **options: object) -> None:
        where.write(b"half")
        raise OSError(number, "Error writing bytes to file")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(FullDiskError, match=rf"the disk of {tmp_path} is full; free some space"):
        captions.commit(rows("a"))
    assert not list((tmp_path / "captions" / "f00").iterdir())


@pytest.mark.parametrize("failing", ["create_dir", "open_output_stream", "move"])
def test_what_is_made_is_written_in_spite_of_hiccups(tmp_path, monkeypatch, failing):
    left = [OSError("AWS Error SLOW_DOWN during PutObject operation")] * 2

    class Hiccups(pafs.FSSpecHandler):
        def __getattribute__(self, name: str) -> object:
            if name == failing and left:
                raise left.pop()
            return super().__getattribute__(name)

    store = pafs.PyFileSystem(Hiccups(fsspec.filesystem("file")))
    monkeypatch.setattr(run_folder, "filesystem", lambda path: (store, path))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    folder = RunFolder(str(tmp_path))
    folder.write_json({"rows": 1}, "stages", "caption.json")
    assert folder.read_json("stages", "caption.json") == {"rows": 1}
    left += [OSError("AWS Error INTERNAL_FAILURE during PutObject operation")] * 2
    table = folder.table("captions", "f00")
    table.commit(rows("a"))
    assert (table.ids(), left) == ({"a"}, [])


def test_json_is_replaced_whole(tmp_path):
    folder = RunFolder(str(tmp_path))
    assert folder.read_json("stages", "caption.json") is None
    folder.write_json({"rows": 1}, "stages", "caption.json")
    folder.write_json({"rows": 2}, "stages", "caption.json")
    assert folder.read_json("stages", "caption.json") == {"rows": 2}
    assert [p.name for p in (tmp_path / "stages").iterdir()] == ["caption.json"]


def test_a_file_whose_writer_fails_does_not_appear(tmp_path):
    with pytest.raises(TypeError), RunFolder(str(tmp_path)).writing("a", "b.txt") as stream:
        stream.write(None)
    assert not (tmp_path / "a" / "b.txt").exists()


def test_a_uri_names_the_same_folder_as_its_path(tmp_path):
    RunFolder(str(tmp_path)).write_json(1, "x.json")
    assert RunFolder(f"file://{tmp_path}").read_json("x.json") == 1


def test_ids_are_of_content_and_keep_their_parts_apart():
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("a", b"b") == content_id("a", "b")
    assert 0 <= seed_of("a") < 2**63


MINIO = "s3://b/run?scheme=http&endpoint_override=localhost:9000"


@pytest.mark.parametrize("folder", [MINIO, "gs://b/run?scheme=http&endpoint_override=localhost:9000"])
def test_a_uri_keeps_its_query_wherever_a_path_is_derived_from_it(folder):
    query = folder.partition("?")[2]
    run = RunFolder(folder)
    derived = {
        run.uri("classifiers", "abc"): "run/classifiers/abc",
        run.table("edits", "f").uri: "run/edits/f",
        below(run.table("edits", "f").uri, "part-1.parquet"): "run/edits/f/part-1.parquet",
        RunFolder(run.uri("classifiers", "abc")).parent.uri(): "run/classifiers",
    }
    for uri, path in derived.items():
        assert uri.endswith(f"?{query}")
        fs, found = filesystem(uri)
        assert fs.type_name == run.fs.type_name
        assert found == f"b/{path}"


def test_what_a_person_is_told_has_the_scheme_and_no_query(tmp_path):
    assert RunFolder(MINIO).shown("report.html") == "s3://b/run/report.html"
    assert RunFolder(str(tmp_path)).shown("report.html") == f"{tmp_path}/report.html"


def test_the_parent_of_a_folder_is_a_folder(tmp_path):
    assert RunFolder(f"{tmp_path}/a/b").parent == RunFolder(f"{tmp_path}/a")
    assert RunFolder(f"file://{tmp_path}/a/b").parent.file() == f"{tmp_path}/a"
