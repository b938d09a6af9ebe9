"""Labelled examples: how they are shared out among workers, and read into memory."""

import random
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from painted_examples import paint
from PIL import Image

from alia_ray.config import Pixels
from alia_ray.images import DecodeError, encode
from alia_ray.miniature import dataset
from alia_ray.store import patience
from alia_ray.store.tables import EDITS
from alia_ray.training.examples import Examples, load, shard
from alia_ray.training.on_disk import OnDisk


def test_shards_share_out_every_example_once_whatever_the_order():
    sources = [
        Examples("table", "image_id", tuple(f"id{number}" for number in range(7))),
        Examples("edits", "edit_id", ("e2", "e1", "e0")),
    ]
    shards = [shard(sources, rank, 3, seed=5) for rank in range(3)]
    sizes = [sum(len(part.ids) for part in parts) for parts in shards]
    assert sorted(sizes) == [3, 3, 4]
    for number, source in enumerate(sources):
        parts = [part[number].ids.to_pylist() for part in shards]
        assert all(part == sorted(part) for part in parts)
        assert sorted(chain(*parts)) == sorted(source.ids)
        assert shards[0][number].table == source.table
    backwards = [Examples(s.table, s.key, s.ids[::-1]) for s in sources]
    assert shard(backwards, 1, 3, seed=5) == shards[1]
    assert shard([source.for_workers() for source in sources], 1, 3, seed=5)[0].ids == shards[1][0].ids
    assert shard(sources, 1, 3, seed=6) != shards[1]


@pytest.mark.parametrize("world", [1, 3, 60])
def test_shards_are_the_sorted_ids_shuffled_by_the_seed_and_dealt_out(world):
    """As Python does it with a list of all of them; é comes after z, and 𝄞 after the rest."""
    ids = (*(f"{number * 7919 % 101:02}" for number in range(40)), "é", "z", "𝄞", "\uffff", "00")
    sources = [Examples("t", "id", ids), Examples("u", "id", ()), Examples("v", "id", ids[::-2])]
    items = [(number, key) for number, source in enumerate(sources) for key in sorted(set(source.ids))]
    random.Random(5).shuffle(items)
    for rank in range(world):
        found = shard(sources, rank, world, seed=5)
        mine = [(number, key) for number, part in enumerate(found) for key in part.ids.to_pylist()]
        assert mine == sorted(items[rank::world])


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_examples_of_several_tables_lie_one_after_the_other(tmp_path: Path, on_disk: bool):
    tables = []
    for name, greys in [("images", (10, 20, 30)), ("edits", (40,)), ("extra", ())]:
        rows = [
            {"id": str(grey), "image": encode(Image.new("L", (9, 9), grey)), "label": str(grey), "group": name}
            for grey in greys
        ]
        if rows:
            pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / f"{name}.parquet")
        tables.append(Examples(str(tmp_path / f"{name}.parquet"), "id", tuple(str(grey) for grey in greys)))
    loaded = load(tables, Pixels(image_size=8), threads=2, on_disk=on_disk)
    assert isinstance(loaded.pixels, OnDisk if on_disk else torch.Tensor)
    assert loaded.pixels.nbytes == 4 * 3 * 8 * 8
    assert loaded.pixels[torch.arange(4)][:, 0, 4, 4].tolist() == [10, 20, 30, 40]
    assert (loaded.labels, loaded.groups) == (["10", "20", "30", "40"], ["images"] * 3 + ["edits"])
    assert load(tables[2:], Pixels(image_size=8), threads=1).pixels.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_picture_that_cannot_be_decoded_ends_the_loading(tmp_path, on_disk):
    rows = [{"id": str(n), "image": b"no picture", "label": "a", "group": "b"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "images.parquet")
    with pytest.raises(DecodeError, match="cannot be decoded"):
        load([Examples(str(tmp_path / "images.parquet"), "id", ("1",))], Pixels(image_size=8), 2, on_disk)


@pytest.mark.parametrize("made_in", ["1", "2"])
def test_an_edit_that_failed_once_is_trained_on_as_it_was_made_later(tmp_path, made_in):
    picture = encode(Image.new("RGB", (8, 8), (255, 0, 0)))
    made = {"edit_id": "a", "label": "cat", "group": "sea", "image": picture}
    failed = {"edit_id": "a", "label": "an older label", "error": "one flat colour"}
    for name in "12":
        row = made if name == made_in else failed
        pq.write_table(pa.Table.from_pylist([row], schema=EDITS), tmp_path / f"part-{name}.parquet")
    found = load([Examples(str(tmp_path), "edit_id", ("a",))], Pixels(image_size=8), threads=1)
    assert (found.labels, found.groups) == (["cat"], ["sea"])
    assert found.pixels[0, :, 0, 0].tolist() == [255, 0, 0]


def test_an_edit_that_only_failed_is_named_and_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "SEEN_WITHIN_S", 0.0)
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: None)
    pq.write_table(
        pa.Table.from_pylist([{"edit_id": "a", "error": "x"}], schema=EDITS), tmp_path / "part-1.parquet"
    )
    with pytest.raises(ValueError, match=r"1 of 1 ids are not in .*; the first is a"):
        load([Examples(str(tmp_path), "edit_id", ("a",))], Pixels(image_size=8), threads=1)


def test_what_another_machine_has_just_written_is_waited_for(tmp_path, monkeypatch):
    picture = encode(Image.new("RGB", (8, 8)))
    waits: list[float] = []

    def write(seconds: float) -> None:
        waits.append(seconds)
        row = {"edit_id": "b", "label": "dog", "image": picture}
        pq.write_table(pa.Table.from_pylist([row], schema=EDITS), tmp_path / "part-2.parquet")

    first = {"edit_id": "a", "label": "cat", "image": picture}
    pq.write_table(pa.Table.from_pylist([first], schema=EDITS), tmp_path / "part-1.parquet")
    monkeypatch.setattr(patience.time, "sleep", write)
    assert load([Examples(str(tmp_path), "edit_id", ("a", "b"))], Pixels(image_size=8), threads=1).labels == [
        "cat",
        "dog",
    ]
    assert waits == [1]


def test_examples_are_read_in_their_order_and_missing_ones_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "SEEN_WITHIN_S", 0.0)
    painted = paint(tmp_path, "val", 6)
    wanted = Examples(painted.table, "image_id", (painted.ids[4], painted.ids[1]))
    loaded = load([wanted], Pixels(image_size=48), threads=2)
    pictures = {picture.origin: picture for picture in dataset.layout("val", 6, bias=1.0)}
    for place, key in enumerate(wanted.ids):
        picture = pictures[key]
        original = dataset.paint(key, picture.label, picture.background, 0)
        assert torch.equal(loaded.pixels[place].permute(1, 2, 0), torch.from_numpy(original))
        assert (loaded.labels[place], loaded.groups[place]) == (picture.label, picture.background)
    with pytest.raises(ValueError, match=r"1 of 2 ids are not in .*; the first is nowhere"):
        load([Examples(painted.table, "image_id", ("nowhere", painted.ids[0]))], Pixels(), threads=1)
