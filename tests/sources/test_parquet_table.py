import base64
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import ParquetTable
from alia_ray.sources import list_images, notes, parquet_table, read_images
from alia_ray.sources.files import NoPictureError, read_files
from alia_ray.store import patience

PARQUET_FILE = pq.ParquetFile


def source(path: Path, **options: object) -> ParquetTable:
    return ParquetTable(
        kind="parquet", path=str(path), **{"val_fraction": 0, "test_fraction": 0, "split_column": None, **options}
    )


@pytest.fixture
def table(tmp_path, picture):
    """Writes a table of pictures 0, 1, … whose columns may be replaced."""

    def write(name: str = "a.parquet", count: int = 3, **columns: object) -> ParquetTable:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {"image": [picture(number) for number in range(count)], "label": ["cat"] * count}
        pq.write_table(pa.table(plain | columns), path)
        return source(tmp_path)

    return write


def images_as(kind: str, pictures: list[bytes]) -> pa.Array:
    lists = {
        "list": pa.list_(pa.uint8()),
        "large list": pa.large_list(pa.uint8()),
        "list of one size": pa.list_(pa.uint8(), len(pictures[0])),
        "struct of a list": pa.struct([("bytes", pa.list_(pa.uint8())), ("path", pa.string())]),
    }
    if kind == "signed list":
        signed = [np.frombuffer(content, np.int8).tolist() for content in pictures]
        return pa.array(signed, pa.list_(pa.int8()))
    if kind in lists:
        values = [list(content) for content in pictures]
        rows = [{"bytes": value} for value in values] if "struct" in kind else values
        return pa.array(rows, lists[kind])
    if kind == "fixed":
        return pa.array(pictures, pa.binary(len(pictures[0])))
    if kind == "dictionary":
        return pa.array(pictures).dictionary_encode()
    return pa.array(pictures, {"large": pa.large_binary(), "view": pa.binary_view()}[kind])


LISTS = ("list", "large list", "list of one size", "signed list", "struct of a list")


@pytest.mark.parametrize("kind", [*LISTS, "fixed", "large", "dictionary", "view"])
def test_bytes_are_read_whatever_type_holds_them(table, picture, numbers_read, kind):
    settings = table(image=images_as(kind, [picture(number) for number in (100, 101, 102)]))
    listing = list_images(settings)
    assert numbers_read(settings, listing.take([2, 0, 1])) == [102, 100, 101]


@pytest.mark.parametrize("as_struct", [True, False])
def test_images_may_be_paths_from_the_table_or_from_the_source(tmp_path, table, picture, numbers_read, as_struct):
    for number, path in enumerate(("data/beside.png", "images/below.png", "../secret.png")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(picture(10 + number))
    paths = [
        "beside.png",
        "images\\below.png",
        str(tmp_path / "images" / "below.png"),
        "nowhere.png",
        "../../secret.png",
        str(tmp_path.parent / "secret.png"),
        "https://example.org/1.png",
        "",
        None,
        base64.b64encode(picture(1)).decode(),
    ]
    image = [{"bytes": None, "path": path} for path in paths] if as_struct else paths
    settings = table("data/a.parquet", count=len(paths), image=image)
    assert numbers_read(settings, list_images(settings)) == [10, 11, 11, *[None] * 7]
    reasons = [str(content) for content in read_images(settings, list_images(settings))[4:]]
    says = ["leads out of", "leads out of", "is a URL", "names no file", "is null"]
    assert [word in reason for word, reason in zip(says, reasons, strict=False)] == [True] * 5


@pytest.mark.parametrize("start", ["", "data:image/png;base64,"])
def test_text_that_is_no_path_is_said_at_once_and_not_repeated(table, monkeypatch, start):
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: pytest.fail("was waited for"))
    settings = table(image=[start + "iVBORw0KGgo/" * 500] * 3)
    for content in read_images(settings, list_images(settings)):
        assert isinstance(content, NoPictureError)
        assert str(content).startswith("the image column holds a text that is no path; if it is base64")


def test_a_table_that_is_one_file_names_files_beside_it(tmp_path, table, picture, numbers_read):
    (tmp_path / "1.png").write_bytes(picture(7))
    table(count=1, image=["1.png"])
    settings = source(tmp_path / "a.parquet")
    assert numbers_read(settings, list_images(settings)) == [7]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array(["cat", "dog", None]).dictionary_encode(), ["cat", "dog", None]),
        (pa.array([7, 8, 7]).dictionary_encode(), ["7", "8", "7"]),
        (pa.array([7, 8, None]), ["7", "8", None]),
        (pa.array([1.0, float("nan"), 2.5]), ["1", None, "2.5"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.nulls(3), [None, None, None]),
        (pa.array([b"cat", b"dog", None]), ["cat", "dog", None]),
        (pa.array(["cat", "", " dog "], pa.large_string()), ["cat", None, "dog"]),
    ],
)
def test_labels_of_any_type_are_text(table, labels, expected):
    assert list_images(table(label=labels))["label"].to_pylist() == expected


def test_class_numbers_of_hugging_face_become_their_names(tmp_path, table):
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    stored = pq.read_table(table(label=[0, 1, -1]).path + "/a.parquet")
    described = stored.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(described, tmp_path / "a.parquet")
    assert list_images(source(tmp_path))["label"].to_pylist() == ["cat", "dog", None]
    pq.write_table(stored.replace_schema_metadata({"huggingface": b"[]"}), tmp_path / "a.parquet")
    assert list_images(source(tmp_path))["label"].to_pylist() == ["0", "1", "-1"]


def test_folders_of_key_and_value_are_columns(tmp_path, picture, numbers_read):
    for split, label, number in (("train", "cat", 1), ("test", "a%20dog", 2), ("test", "cat", 3)):
        folder = tmp_path / f"split={split}" / f"label={label}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"image": [picture(number)]}), folder / "part-0.parquet")
    settings = source(tmp_path, split_column="split")
    listing = list_images(settings)
    rows = [(row["split"], row["label"]) for row in listing.to_pylist()]
    assert rows == [("test", "a dog"), ("test", "cat"), ("train", "cat")]
    assert numbers_read(settings, listing) == [2, 3, 1]


def test_images_are_no_column_of_folders(table):
    with pytest.raises(ConfigError, match=r"source\.image_column: photo=1/a\.parquet has no column 'photo', only"):
        list_images(source(table("photo=1/a.parquet").path, image_column="photo"))


def test_what_writers_leave_behind_is_passed_over_and_counted(tmp_path, table):
    for name in ("_temporary/0/a.parquet", ".b.parquet", "__MACOSX/._a.parquet", "c.PARQUET"):
        settings = table(name, count=1)
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part-0.crc", "notes.csv"):
        (tmp_path / name).write_bytes(b"")
    listing = list_images(settings)
    assert listing["origin"].to_pylist() == ["c.PARQUET#0#0"]
    assert notes(listing) == ["passed over: 7 hidden, 1 that are no Parquet files (.csv 1)"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"label": [["a"], ["b"], []]},
            r"source\.label_column: 'label' of a\.parquet holds list<.*>; it must hold one value",
        ),
        ({"label": [{"name": "a"}] * 3}, r"source\.label_column: 'label' .*struct"),
        ({"image": [[b"a"], [b"b"], []]}, r"source\.image_column: 'image' of a\.parquet holds list<.*binary>"),
        ({"image": [1, 2, 3]}, r"source\.image_column: .*holds int64; it must hold encoded pictures"),
        ({"image": [{"url": "x"}] * 3}, r"source\.image_column: .*struct"),
        ({"label": [b"\xff\xfe", b"a", b"b"]}, r"source\.path: cannot read .*a\.parquet"),
    ],
)
def test_columns_that_hold_something_else_are_one_sentence(table, columns, says):
    with pytest.raises(ConfigError, match=says):
        list_images(table(**columns))


def test_whatever_bytes_a_table_has_it_is_listed_or_refused_in_one_line(tmp_path, table, monkeypatch):
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0)
    settings, rng = table(count=20), np.random.default_rng(0)
    whole = np.frombuffer((tmp_path / "a.parquet").read_bytes(), np.uint8)
    refusals = []
    for _ in range(100):
        content = whole.copy()
        content[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        (tmp_path / "a.parquet").write_bytes(content.tobytes())
        try:
            contents = read_images(settings, list_images(settings))
        except ConfigError as error:
            refusals.append(str(error))
        else:
            assert [type(content) for content in contents if not isinstance(content, bytes | OSError)] == []
    assert 0 < len(refusals) < 100
    assert not [refusal for refusal in refusals if "\n" in refusal]


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1"])
def test_a_broken_file_is_named(tmp_path, table, content):
    settings = table()
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match=r"source\.path: cannot read .*b\.parquet"):
        list_images(settings)


def test_a_file_that_vanished_or_was_replaced_is_an_error_and_not_an_exception(tmp_path, table, numbers_read):
    settings = table(count=40)
    listing = list_images(settings)
    assert numbers_read(settings, listing.slice(0, 2)) == [0, 1]
    table(count=2)
    assert numbers_read(settings, listing.take([1, 39])) == [None, None]  # the whole row group is another
    pq.write_table(pa.table({"other": [1] * 100}), tmp_path / "a.parquet")
    assert numbers_read(settings, listing.slice(0, 2)) == [None, None]
    (tmp_path / "a.parquet").unlink()
    assert numbers_read(settings, listing.slice(0, 2)) == [None, None]


class Counted(io.FileIO):
    """A file that counts the bytes that are read of all."""

    count = 0

    def read(self, size: int = -1) -> bytes:
        content = super().read(size)
        Counted.count += len(content)
        return content


def test_one_huge_row_group_is_read_once_for_all_batches(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    contents = [rng.bytes(1000) for _ in range(1000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": contents, "label": ["cat"] * 1000}), path, row_group_size=1000)
    settings = source(tmp_path)
    listing = list_images(settings)
    monkeypatch.setattr(
        parquet_table.pq,
        "ParquetFile",
        lambda path, filesystem, **options: PARQUET_FILE(Counted(path), **options),
    )
    for start in range(0, 1000, 64):
        assert read_images(settings, listing.slice(start, 64)) == contents[start : start + 64]
    assert 1_000_000 < Counted.count < 1_500_000
    order = rng.permutation(1000)[:200]
    assert read_images(settings, listing.take(order)) == [contents[index] for index in order]


def test_files_that_a_parquet_at_a_uri_names_are_read_as_the_uri_says(table, picture, tmp_path):
    (tmp_path / "seas").mkdir()
    (tmp_path / "seas" / "0.png").write_bytes(picture(0))
    table(count=2, image=["seas/0.png", f"file://{tmp_path}/seas/0.png"])
    given = source(f"file://{tmp_path}/a.parquet?use_mmap=1")
    roots = []

    def read(root: str, paths: list[str]) -> list[bytes | OSError]:
        roots.append(root)
        return read_files(root, paths)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet_table, "read_files", read)
        assert read_images(given, list_images(given)) == [picture(0)] * 2
    assert roots == [f"file://{tmp_path}?use_mmap=1"] * 2


def test_a_column_of_splits_that_was_named_must_be_there(table):
    settings = table()
    assert list_images(settings.model_copy(update={"split_column": "split"})).num_rows == 3
    with pytest.raises(
        ConfigError, match=r"source\.split_column: a\.parquet has no column 'part', only image, label"
    ):
        list_images(settings.model_copy(update={"split_column": "part"}))


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.binary()])
def test_a_label_that_is_repeated_to_gigabytes_costs_one_of_it(tmp_path, text):
    count, label = 1_000, pa.array(["x" * 10**6]).cast(text)
    labels = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), label)
    rows = pa.table({"image": [b""] * count, "label": labels})
    pq.write_table(rows, tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(ConfigError, match="a label has over 200 characters"):
        list_images(source(tmp_path))
    assert pa.default_memory_pool().max_memory() - before < 10**8


def test_a_label_of_plain_text_is_held_once_for_each_value(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b""] * 3, "label": ["x" * 300, "x" * 300, None]}), file, store_schema=False)
    parquet = pq.ParquetFile(file)
    assert parquet_table._texts(source(tmp_path), parquet.schema_arrow) == ["label"]
    with pytest.raises(ConfigError, match="a label has over 200 characters"):
        list_images(source(tmp_path))


@pytest.mark.parametrize("names", ['{"0": "a"}', "[1, 2]", '"ab"', "[" * 100_000])
def test_names_of_classes_that_are_no_list_of_texts_are_not_taken(tmp_path, table, names):
    metadata = {"huggingface": f'{{"info": {{"features": {{"label": {{"names": {names}}}}}}}}}'}
    rows = pa.table({"image": [b""] * 2, "label": [0, 1]}).replace_schema_metadata(metadata)
    pq.write_table(rows, tmp_path / "a.parquet")
    assert list_images(source(tmp_path)).column("label").to_pylist() == ["0", "1"]
