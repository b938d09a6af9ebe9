import io
import json
import tarfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import WebDataset
from alia_ray.sources import list_images, read_images, webdataset


def shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def source(path: Path | str, **options: object) -> WebDataset:
    return WebDataset(kind="webdataset", path=str(path), **options)


@pytest.fixture
def shards(tmp_path, picture) -> Path:
    """Three shards of cats and dogs, two to train and one to test."""
    for place, name in enumerate(("train-000", "train-001", "test-000")):
        members = {}
        for index in range(10):
            number = 10 * place + index
            members |= {
                f"{number:05}.jpg": picture(number),
                f"{number:05}.cls": b"dog\n" if number % 2 else b"cat",
            }
        shard(tmp_path / f"{name}.tar", members)
    return tmp_path


def test_samples_are_found_again_in_any_order(shards, numbers_read):
    listing = list_images(source(shards, val_fraction=0))
    assert Counter(listing["split"].to_pylist()) == {"train": 20, "test": 10}
    order = np.random.default_rng(0).permutation(30)
    numbers = numbers_read(source(shards), listing.take(order))
    assert sorted(numbers) == list(range(30))
    labels = listing.take(order)["label"].to_pylist()
    assert labels == ["dog" if number % 2 else "cat" for number in numbers]


class Watched:
    """A filesystem that notes which files are opened, and how many bytes are read by `read`."""

    def __init__(self, fs) -> None:
        self.fs, self.opened, self.read = fs, [], 0

    def __getattr__(self, name: str):
        return getattr(self.fs, name)

    @contextmanager
    def open_input_file(self, path: str):
        self.opened.append(Path(path).name)
        with self.fs.open_input_file(path) as file:
            yield WatchedFile(file, self)


class WatchedFile:
    def __init__(self, file, fs: Watched) -> None:
        self.file, self.fs = file, fs

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.fs.read += len(content)
        return content


@pytest.fixture
def watched(monkeypatch) -> Watched:
    fs = Watched(pafs.LocalFileSystem())
    monkeypatch.setattr(webdataset, "filesystem", lambda path: (fs, path))
    return fs


def test_listing_seeks_past_the_pictures(tmp_path, watched):
    shard(tmp_path / "a.tar", {"1.jpg": bytes(1_000_000), "1.cls": b"cat", "2.jpg": bytes(1_000_000)})
    assert list_images(source(tmp_path)).num_rows == 2
    assert 0 < watched.read < 100_000


def test_reading_opens_each_shard_once(shards, watched):
    listing = list_images(source(shards))
    watched.opened.clear()
    read_images(source(shards), listing.take(np.random.default_rng(0).permutation(30)))
    assert sorted(watched.opened) == ["test-000.tar", "train-000.tar", "train-001.tar"]


def test_a_pattern_chooses_shards(shards):
    listing = list_images(source(shards / "train-*.tar", val_fraction=0, test_fraction=0))
    assert {origin.partition("#")[0] for origin in listing["origin"].to_pylist()} == {
        "train-000.tar",
        "train-001.tar",
    }
    assert list_images(source(shards / "test-000.tar")).num_rows == 10


def test_folders_name_splits(tmp_path, picture):
    for split in ("train", "validation", "extra"):
        shard(tmp_path / split / "000.tar", {"1.png": picture(1), "1.cls": b"3"})
    assert list_images(source(tmp_path))["split"].to_pylist() == ["extra", "train", "val"]


def test_a_shard_that_names_no_split_beside_others_that_do_is_refused(shards, picture):
    shard(shards / "holdout-000.tar", {"1.png": picture(1), "1.cls": b"cat"})
    with pytest.raises(ConfigError, match=r"holdout-000\.tar names no split"):
        list_images(source(shards))


def test_json_gives_label_split_and_group(tmp_path, picture):
    def described(**fields) -> bytes:
        return json.dumps(fields).encode()

    members = {
        "a/1.jpg": picture(1),
        "a/1.json": described(species="cat", split="train", place="sea"),
        "b/1.jpg": picture(2),  # another folder is another sample
        "b/1.json": described(species=7, split="test"),
    }
    shard(tmp_path / "0.tar", members)
    rows = list_images(source(tmp_path, label_key="species", group_key="place")).to_pylist()
    assert [(row["label"], row["split"], row["group"]) for row in rows] == [
        ("cat", "train", "sea"),
        ("7", "test", "7"),
    ]


def test_a_sample_that_lacks_something_is_listed_and_not_dropped(tmp_path, picture, numbers_read):
    shard(tmp_path / "0.tar", {"1.jpg": picture(1), "2.cls": b"cat", "3.json": b"{broken", "3.png": picture(3)})
    listing = list_images(source(tmp_path))
    assert listing["label"].to_pylist() == [None, "cat", None]
    assert numbers_read(source(tmp_path), listing) == [1, None, 3]


def test_a_shard_that_vanished_is_an_error_and_not_an_exception(shards, numbers_read):
    listing = list_images(source(shards, val_fraction=0))
    (shards / "train-000.tar").unlink()
    assert numbers_read(source(shards), listing) == [*range(20, 30), *[None] * 10, *range(10, 20)]


@pytest.mark.parametrize(
    ("members", "says"),
    [({"1.jpg": b"a", "1.png": b"b"}, "the sample '1' of 0.tar has two pictures"), ({}, "no image was found")],
)
def test_two_pictures_of_a_sample_and_none_at_all_are_refused(tmp_path, members, says):
    shard(tmp_path / "0.tar", members)
    with pytest.raises(ConfigError, match=says):
        list_images(source(tmp_path))


def test_what_is_no_tar_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"source\.path: there is no \*\.tar at .*braces are not"):
        list_images(source(tmp_path / "shard-{000..009}.tar"))
    (tmp_path / "0.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(ConfigError, match=r"source\.path: cannot read the shard 0\.tar"):
        list_images(source(tmp_path))


@pytest.mark.parametrize("shards", ["shards", "shards/train-*.tar", "shards/train-000.tar"])
def test_a_pattern_of_shards_keeps_the_query_of_its_uri(shards):
    query = "scheme=http&endpoint_override=localhost:9000"
    fs, folder, pattern = webdataset._place(f"s3://bucket/{shards}?{query}")
    assert fs.type_name == "s3"
    assert "/".join(filter(None, (folder, pattern))) == f"bucket/{shards}"
    assert folder == "bucket/shards" or not pattern
