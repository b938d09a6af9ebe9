import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alia_ray.cluster.joining import available
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, ConfigError, parse_config
from alia_ray.errors import StageError
from alia_ray.images import decode_rgb
from alia_ray.stages import ingest as stage
from alia_ray.stages.ingest import images_table, ingest
from alia_ray.state import State
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table

CLUSTER = Cluster(cpus=2, gpus=0)


def settings(tmp_path, **run) -> Config:
    return parse_config(
        {
            "run": {"folder": str(tmp_path / "run"), "max_error_rate": 0.3, **run},
            "source": {"kind": "imagefolder", "path": str(tmp_path / "photos")},
        }
    )


@pytest.fixture(scope="module")
def folder(ray_cluster, tmp_path_factory) -> Path:
    """A folder of twelve good pictures, two odd ones, two broken files and one beside the classes, ingested."""
    folder = tmp_path_factory.mktemp("ingest")
    photos = folder / "photos"
    for label in ("cat", "dog"):
        (photos / label).mkdir(parents=True)
        for number in range(6):
            seed = [number, len(label), ord(label[0])]
            noise = np.random.default_rng(seed).integers(0, 255, (10, 12, 3), np.uint8)
            Image.fromarray(noise).save(photos / label / f"{number}.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(photos / "cat" / "deep.png")
    Image.new("RGBA", (5, 5), (255, 0, 0, 0)).save(photos / "cat" / "clear.png")
    (photos / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    (photos / "dog" / "empty.png").write_bytes(b"")
    Image.new("RGB", (3, 3)).save(photos / "stray.png")
    ingest(settings(folder), available("cpu"))
    return folder


def test_every_picture_becomes_an_upright_rgb_row(folder):
    rows = images_table(settings(folder)).read().to_pylist()
    assert len(rows) == 14
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    for row in rows:
        picture = decode_rgb(row["image"])
        assert (picture.mode, picture.size) == ("RGB", (row["width"], row["height"]))
    clear = next(row for row in rows if row["origin"] == "cat/clear.png")
    assert np.asarray(decode_rgb(clear["image"])).min() == 255


def test_what_is_no_labelled_picture_is_a_row_of_errors_with_its_reason(folder):
    errors = images_table(settings(folder)).errors("ingest").read().to_pylist()
    reasons = {row["key"]: row["reason"] for row in errors}
    assert set(reasons) == {"dog/broken.jpg", "dog/empty.png", "stray.png"}
    assert all(row["stage"] == "ingest" for row in errors)
    assert reasons.pop("stray.png") == "has no label: it lies in no class folder below source.path"
    assert all("cannot be decoded" in reason for reason in reasons.values())


def test_what_is_passed_over_is_said(without_ray, tmp_path, capsys):
    photos = tmp_path / "photos" / "cat"
    photos.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(photos / f"{number}.png")
    for name in (".DS_Store", "._0.png", "notes.txt"):
        (photos / name).write_bytes(b"")
    assert len(ingest(settings(tmp_path), CLUSTER).ids()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert "ingest: passed over: 2 hidden, 1 that are no pictures (.txt 1; such as 'cat/notes.txt')" in lines


def test_new_pictures_are_added_and_known_ones_not_read_again(folder, capsys):
    config = settings(folder)
    before = images_table(config).ids()
    Image.new("RGB", (3, 3)).save(folder / "photos" / "cat" / "new.png")
    capsys.readouterr()
    table = ingest(config, available("cpu"))
    assert "ingest: 1 row in" in capsys.readouterr().err
    assert before < table.ids()
    assert len(table.ids()) == 15
    assert len(table.files()) == 1


def with_twins(tmp_path) -> Config:
    """Named splits; b.png of train is also in val, and c.png of train and of val in test, under other names."""
    held = {"train": "abcd", "val": "BCe", "test": "Cf"}
    for split, names in held.items():
        folder = tmp_path / "photos" / split / "cat"
        folder.mkdir(parents=True)
        for name in names:
            noise = np.random.default_rng(ord(name.lower())).integers(0, 255, (4, 6, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{name}.png")
    return settings(tmp_path, max_error_rate=0)


LEFT_OUT = [
    {"key": "train/cat/b.png", "reason": "the same picture as 'val/cat/B.png' in the split val"},
    {"key": "train/cat/c.png", "reason": "the same picture as 'test/cat/C.png' in the split test"},
    {"key": "val/cat/C.png", "reason": "the same picture as 'test/cat/C.png' in the split test"},
]


def origins(table) -> dict[str, list[str]]:
    rows = table.read(["split", "origin"]).to_pylist()
    return {
        split: sorted(row["origin"][-5] for row in rows if row["split"] == split)
        for split in ("train", "val", "test")
    }


def test_a_picture_that_another_split_holds_is_left_out_even_by_a_killed_run(without_ray, tmp_path, monkeypatch):
    config = with_twins(tmp_path)
    discard = Table.discard

    def killed(table: Table, ids: set[str]) -> None:
        discard(table, {min(ids)})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Table, "discard", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(config, CLUSTER)
    table = ingest(config, CLUSTER)
    assert origins(table) == {"train": ["a", "d"], "val": ["B", "e"], "test": ["C", "f"]}
    assert table.errors("ingest").read(["key", "reason"]).to_pylist() == LEFT_OUT
    files = table.files()
    ingest(config, CLUSTER)
    assert table.files() == files  # and are not read again


# -------------------------------------------------------------------- a source that changes


def paint(path: Path, seed: int, hours: int = 0) -> None:
    """A picture of its own for each seed, written so many hours after the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)).save(path)
    at(path, hours)


def at(path: Path, hours: int) -> None:
    os.utime(path, (1e9 + 3600 * hours, 1e9 + 3600 * hours))


@pytest.fixture
def photos(without_ray, tmp_path) -> Path:
    """Six pictures of cats and six of dogs to train with, and one of each in val and test; ingested."""
    photos = tmp_path / "photos"
    for place, label in enumerate(("cat", "dog")):
        for number in range(6):
            paint(photos / "train" / label / f"{number}.png", 10 * place + number)
        for split in ("val", "test"):
            paint(photos / split / label / "9.png", 10 * place + (8 if split == "val" else 9))
    ingest(settings(tmp_path), CLUSTER)
    return photos


def contents(table: Table) -> dict[str, str]:
    rows = table.read(["origin", "content"])
    return dict(zip(rows["origin"].to_pylist(), rows["content"].to_pylist(), strict=True))


def failed(table: Table) -> dict[str, str]:
    rows = table.errors("ingest").read().to_pylist()
    return {row["key"]: row["kind"] for row in rows}


def test_deleted_moved_replaced_touched_and_new_pictures_are_followed_and_told(photos, capsys):
    config = settings(photos.parent)
    before = images_table(config).read(["image_id", "origin", "content"]).to_pylist()
    ids = {row["origin"]: row["image_id"] for row in before}
    old = {row["origin"]: row["content"] for row in before}
    cats, dogs = photos / "train" / "cat", photos / "train" / "dog"
    (cats / "0.png").unlink()
    (dogs / "7.png").write_bytes((cats / "1.png").read_bytes())  # of another time: a copy, not a renamed file
    (cats / "1.png").unlink()
    paint(cats / "2.png", 77, hours=1)
    at(cats / "3.png", hours=1)
    paint(cats / "8.png", 78)
    (cats / "4.png").rename(cats / "swap.png")  # two pictures change places
    (cats / "5.png").rename(cats / "4.png")
    (cats / "swap.png").rename(cats / "5.png")
    at(cats / "5.png", hours=2)
    at(cats / "4.png", hours=3)
    capsys.readouterr()

    table = ingest(config, CLUSTER)
    assert "the source changed: 1 added, 1 gone, 1 moved, 3 replaced\n" in capsys.readouterr().err
    new = contents(table)
    assert new.keys() == old.keys() - {"train/cat/0.png", "train/cat/1.png"} | {
        "train/cat/8.png",
        "train/dog/7.png",
    }
    assert new["train/dog/7.png"] == old["train/cat/1.png"]
    assert new["train/cat/2.png"] not in old.values()
    assert (new["train/cat/4.png"], new["train/cat/5.png"]) == (old["train/cat/5.png"], old["train/cat/4.png"])
    after = table.read(["image_id", "origin"]).to_pylist()
    same = {row["origin"] for row in after if ids.get(row["origin"]) == row["image_id"]}
    assert same >= old.keys() - {f"train/cat/{n}.png" for n in (0, 1, 2, 4, 5)}
    files = table.files()
    ingest(config, CLUSTER)
    assert "changed" not in capsys.readouterr().err
    assert table.files() == files


def test_a_picture_that_becomes_garbage_is_an_error_and_garbage_that_becomes_a_picture_is_none(photos):
    config = settings(photos.parent)
    target = photos / "train" / "cat" / "0.png"
    target.write_bytes(b"garbage")
    table = ingest(config, CLUSTER)
    assert "train/cat/0.png" not in contents(table)
    assert failed(table) == {"train/cat/0.png": "decode"}
    paint(target, 99, hours=1)
    table = ingest(config, CLUSTER)
    assert "train/cat/0.png" in contents(table)
    assert failed(table) == {}


def test_the_copy_of_a_picture_that_is_gone_comes_back(photos):
    config = settings(photos.parent)
    test, train = photos / "test" / "cat" / "9.png", photos / "train" / "cat" / "twin.png"
    train.write_bytes(test.read_bytes())
    table = ingest(config, CLUSTER)
    assert failed(table) == {"train/cat/twin.png": "twin"}
    assert "train/cat/twin.png" not in contents(table)
    paint(test, 55, hours=5)
    table = ingest(config, CLUSTER)
    assert failed(table) == {}
    assert "train/cat/twin.png" in contents(table)


def csv(tmp_path: Path, rows: list[tuple[str, str, str]], **run) -> Config:
    text = "path,label,split\n" + "".join(f"{path},{label},{split}\n" for path, label, split in rows)
    (tmp_path / "meta.csv").write_text(text)
    source = {"kind": "csv", "path": str(tmp_path / "meta.csv"), "root": str(tmp_path)}
    source |= {"val_fraction": 0, "test_fraction": 0}
    return parse_config({"run": {"folder": str(tmp_path / "run"), "max_error_rate": 0.5, **run}, "source": source})


def test_corrected_labels_and_splits_are_taken_over_without_reading_again(without_ray, tmp_path, capsys):
    for number in range(4):
        paint(tmp_path / f"{number}.png", number)
    table = ingest(csv(tmp_path, [(f"{n}.png", "cat", "train") for n in range(4)]), CLUSTER)
    rows = [("0.png", "dog", "train"), ("1.png", "cat", "test"), ("2.png", "", "train"), ("3.png", "cat", "train")]
    table = ingest(csv(tmp_path, rows), CLUSTER)
    assert "the source changed: 3 relabelled\n" in capsys.readouterr().err
    found = {row["origin"]: (row["label"], row["split"], row["group"]) for row in table.read().to_pylist()}
    assert found == {
        "0.png": ("dog", "train", "dog"),
        "1.png": ("cat", "test", "cat"),
        "3.png": ("cat", "train", "cat"),
    }
    assert failed(table) == {"2.png": "label"}
    rows[2] = ("2.png", "cat", "val")
    table = ingest(csv(tmp_path, rows), CLUSTER)
    assert "2.png" in contents(table)
    assert failed(table) == {}


def test_what_cannot_be_read_is_tried_again_by_the_next_run_and_what_cannot_be_decoded_is_not(
    without_ray, tmp_path, monkeypatch
):
    paint(tmp_path / "0.png", 0)
    (tmp_path / "1.png").write_bytes(b"garbage")
    config = csv(tmp_path, [(f"{n}.png", "cat", "train") for n in range(3)], max_error_rate=0.7)
    table = ingest(config, CLUSTER)
    assert failed(table) == {"1.png": "decode", "2.png": "read"}

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    paint(tmp_path / "2.png", 2)
    with monkeypatch.context() as patched:
        patched.setattr(stage, "stream", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(config, CLUSTER)
    assert failed(table) == {"1.png": "decode", "2.png": "read"}  # nothing is wiped before its outcome is there
    ledger = ledger_of(table.folder)
    listed = ledger.keep("listed", pa.table({"key": ["0.png", "1.png", "2.png"]}))
    left = stage.left_to_do(f"SELECT key FROM {listed}", table, "ingest", "origin", False)
    assert ledger.column(left) == ["2.png"]
    ingest(config, CLUSTER)
    assert failed(table) == {"1.png": "decode"}
    assert set(contents(table)) == {"0.png", "2.png"}
    (tmp_path / "2.png").unlink()  # and when the file is gone, though the list still names it
    ingest(config, CLUSTER)
    assert failed(table) == {"1.png": "decode", "2.png": "read"}
    assert set(contents(table)) == {"0.png"}


def test_a_refused_run_is_refused_again_and_says_why(photos, capsys):
    for number in range(6):
        (photos / "train" / "cat" / f"bad{number}.png").write_bytes(b"garbage")
    config = settings(photos.parent, max_error_rate=0.2)
    said = []
    for _ in range(2):
        with pytest.raises(StageError, match=r"6 of 22 rows failed.*6 × cannot be decoded") as refused:
            ingest(config, CLUSTER)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert "'train/cat/bad0.png'" in said[0]
    assert images_table(config).errors("ingest").path in said[0]
    with pytest.raises(StageError, match="ingest was interrupted; run `alia-ray ingest` first"):
        State(config).ids_of("train")
    ingest(settings(photos.parent, max_error_rate=0.5), CLUSTER)
    assert len(State(config).ids_of("train")) == 12
    for number in range(6):
        (photos / "train" / "cat" / f"bad{number}.png").unlink()
    ingest(config, CLUSTER)


def test_changes_can_be_refused_or_ignored(photos):
    table = images_table(settings(photos.parent))
    (photos / "train" / "cat" / "0.png").unlink()
    paint(photos / "train" / "cat" / "1.png", 60, hours=1)
    (photos / "train" / "cat" / "2.png").rename(photos / "train" / "dog" / "2b.png")
    before = table.read()
    with pytest.raises(ConfigError, match=r"1 gone, 1 moved, 1 replaced"):
        ingest(settings(photos.parent, source_changes="refuse"), CLUSTER)
    assert table.read().equals(before)
    assert State(settings(photos.parent)).ids_of("train")
    ingest(settings(photos.parent, source_changes="ignore"), CLUSTER)
    assert table.read().num_rows == before.num_rows + 1
    assert "train/cat/0.png" in contents(table)
    ingest(settings(photos.parent), CLUSTER)  # what was ignored is not forgotten
    assert "train/cat/0.png" not in contents(table)
    assert contents(table)["train/cat/1.png"] not in before["content"].to_pylist()


def test_a_source_of_which_nothing_is_left_deletes_nothing(photos):
    config = settings(photos.parent)
    before = images_table(config).read()
    photos.rename(photos.parent / "elsewhere")
    paint(photos / "train" / "cat" / "other.png", 1)
    with pytest.raises(ConfigError, match="none of the 16 pictures that were ingested is there any more"):
        ingest(config, CLUSTER)
    assert images_table(config).read().equals(before)
    assert State(config).ids_of("train")


@pytest.mark.parametrize("step", ["discard", "correct", "write_parquet", "stream", "say", "check_error_rate"])
def test_a_change_that_was_killed_anywhere_is_followed_by_the_next_run(photos, monkeypatch, step):
    config = settings(photos.parent)
    (photos / "train" / "cat" / "0.png").unlink()
    paint(photos / "train" / "cat" / "1.png", 60, hours=1)
    (photos / "train" / "cat" / "2.png").write_bytes(b"garbage")
    paint(photos / "train" / "cat" / "new.png", 61)

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(next(each for each in (Table, RunFolder, stage) if hasattr(each, step)), step, killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(config, CLUSTER)
    with pytest.raises(StageError, match="ingest was interrupted"):
        State(config).ids_of("train")
    table = ingest(config, CLUSTER)
    assert failed(table) == {"train/cat/2.png": "decode"}
    assert table.read().num_rows == table.stored().num_rows == 16 - 2 + 1
    assert {"train/cat/1.png", "train/cat/new.png"} < contents(table).keys()


def test_a_folder_of_an_older_release_raises_no_false_alarm(photos, capsys):
    config = settings(photos.parent)
    table = images_table(config)
    (listing,) = (photos.parent / "run" / "listing").glob("*/*.parquet")
    pq.write_table(pq.read_table(listing).drop_columns("version"), listing)
    (listing.parent / "_ingest.json").unlink()
    older = {
        "stage": ["ingest"],
        "key": ["train/cat/x.png"],
        "reason": ["the same picture as 'a' in the split val"],
    }
    pq.write_table(pa.table(older), Path(table.errors("ingest").path) / "part-old.parquet")
    before = table.read()
    capsys.readouterr()
    assert State(config).ids_of("train")
    ingest(config, CLUSTER)
    assert "changed" not in capsys.readouterr().err
    assert table.read().equals(before)
    assert failed(table) == {}
