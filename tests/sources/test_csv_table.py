import os
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import CsvTable
from alia_ray.sources import list_images


@pytest.fixture
def photos(tmp_path, picture) -> Path:
    for number in range(4):
        path = tmp_path / "photos" / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return tmp_path / "photos"


def csv(root: Path, text: str | bytes, **options: object) -> CsvTable:
    path = root.parent / "meta.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvTable(
        kind="csv", path=str(path), root=str(root), **{"val_fraction": 0, "test_fraction": 0, **options}
    )


PLAIN = "path,label\ncat/0.png,tabby\ncat/1.png,manx\n"


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ", ").replace("label", "label "),
        PLAIN.replace("/", "\\"),
        PLAIN.replace("\n", "\n\n") + " , \n,\n",
        PLAIN.replace("tabby", "tabby "),
        'path,label,note\ncat/0.png,tabby,"two\nlines, a ; and a ""quote"""\ncat/1.png,"manx",\n',
        "label;path;note\ntabby;cat/0.png;a,b\nmanx;cat/1.png;c,d\n",
    ],
    ids=["bom", "utf16", "windows", "mac", ";", "tab", "spaces", "backslash", "empty", "trail", "quotes", "order"],
)
def test_a_csv_of_any_hand_is_the_same_listing(photos, text, numbers_read):
    source = csv(photos, text)
    listing = list_images(source)
    assert listing["origin"].to_pylist() == ["cat/0.png", "cat/1.png"]
    assert listing["label"].to_pylist() == ["tabby", "manx"]
    assert numbers_read(source, listing) == [0, 1]


def test_labels_stay_as_they_are_written(photos, picture):
    labels = ["007", "7", "1e5", "NA", "null", "True", "1.0", "2012-01-01", "nan", "-"]
    for number in range(len(labels)):
        (photos / f"{number:03}").write_bytes(picture(number))
    text = "path,label\n" + "".join(f"{number:03},{label}\n" for number, label in enumerate(labels))
    listing = list_images(csv(photos, text))
    assert listing["label"].to_pylist() == labels
    assert listing["origin"].to_pylist() == [f"{number:03}" for number in range(len(labels))]


def test_numbers_alone_keep_their_zeros_too(photos):
    listing = list_images(csv(photos, "path,label,split\n001,007,train\n010,008,test\n"))
    assert (listing["origin"].to_pylist(), listing["label"].to_pylist()) == (["001", "010"], ["007", "008"])


def test_a_row_without_a_label_has_none(photos):
    listing = list_images(csv(photos, "path,label\ncat/0.png,\ncat/1.png,manx\n"))
    assert listing["label"].to_pylist() == [None, "manx"]


def test_paths_may_be_absolute_where_they_lie_below_the_root(photos, numbers_read):
    source = csv(photos, f"path,label\n{photos}/cat/2.png,a\n")
    listing = list_images(source)
    assert listing["origin"].to_pylist() == ["cat/2.png"]
    assert numbers_read(source, listing) == [2]


def test_a_file_beside_the_images_may_have_any_name(photos):
    Path(os.fsdecode(os.fsencode(photos) + b"/cat/caf\xe9.png")).write_bytes(b"")
    assert list_images(csv(photos, PLAIN)).num_rows == 2


def test_the_columns_of_hugging_faces_metadata_csv(photos, numbers_read):
    source = csv(photos, "file_name,text\ncat/3.png,a cat\n", path_column="file_name", label_column="text")
    assert numbers_read(source, list_images(source)) == [3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\nhttps://example.org/1.jpg,cat\n", r"source\.path_column: .* is a URL; download the files"),
        ("path,label\ncat/1.png,cat\n\\\\host\\share\\1.jpg,cat\n", "leads out"),
        ("path,label\nC:\\pictures\\1.jpg,cat\n", "leads out"),
        ("path,label\n..\\secret.png,cat\n", "leads out"),
        ("path,label\n/etc/passwd,cat\n", "leads out"),
        ("path,label\n,cat\n", "names no file"),
        ("path,label\ncat/1.png\n", r"meta\.csv is no CSV: its first line has 2 columns, but 'cat/1\.png' has 1"),
        ('path,label\n"cat/1.png,cat\n', r"meta\.csv is no CSV"),
        (b"path,label\ncat/1.png,caf\xe9\n", r"meta\.csv is not UTF-8; save it as that"),
        ("path,label,label\ncat/1.png,a,b\n", "two columns 'label'"),
        ("", "no column 'path'"),
        ("path,label,split\ncat/0.png,a,train\ncat/1.png,a,\n", r"'cat/1\.png' has no split, though others do"),
        ("path,label\n", "no image was found"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(photos, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        list_images(csv(photos, text))
    assert "\n" not in str(caught.value)


def test_a_column_of_splits_that_was_named_must_be_there(photos):
    assert list_images(csv(photos, PLAIN)).num_rows == 2
    with pytest.raises(
        ConfigError, match=r"source\.split_column: the table has no column 'part', only path, label"
    ):
        list_images(csv(photos, PLAIN, split_column="part"))
