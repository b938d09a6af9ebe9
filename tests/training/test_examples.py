"""Labelled examples: how they are shared out among workers, and read into memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alia_ray.config import Pixels
from alia_ray.images import encode
from alia_ray.training.examples import Examples, load, shard


def test_shards_share_out_every_example_once_whatever_the_order():
    sources = [
        Examples("table", "image_id", tuple(f"id{number}" for number in range(7))),
        Examples("edits", "edit_id", ("e2", "e1", "e0")),
    ]
    shards = [shard(sources, rank, 3, seed=5) for rank in range(3)]
    sizes = [sum(len(part.ids) for part in parts) for parts in shards]
    assert sorted(sizes) == [3, 3, 4]
    for number, source in enumerate(sources):
        together = [key for parts in shards for key in parts[number].ids]
        assert sorted(together) == sorted(source.ids)
        assert shards[0][number].table == source.table
    backwards = [Examples(s.table, s.key, s.ids[::-1]) for s in sources]
    assert shard(backwards, 1, 3, seed=5) == shards[1]
    assert shard(sources, 1, 3, seed=6) != shards[1]


def test_the_examples_of_several_tables_lie_one_after_the_other(tmp_path: Path):
    tables = []
    for name, greys in [("images", (10, 20, 30)), ("edits", (40,)), ("extra", ())]:
        rows = [
            {"id": str(grey), "image": encode(Image.new("L", (9, 9), grey)), "label": str(grey), "group": name}
            for grey in greys
        ]
        if rows:
            pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / name)
        tables.append(Examples(str(tmp_path / name), "id", tuple(str(grey) for grey in greys)))
    loaded = load(tables, Pixels(image_size=8), threads=2)
    assert loaded.pixels.shape == (4, 3, 8, 8)
    assert loaded.pixels[:, 0, 4, 4].tolist() == [10, 20, 30, 40]
    assert (loaded.labels, loaded.groups) == (["10", "20", "30", "40"], ["images"] * 3 + ["edits"])
    assert load(tables[2:], Pixels(image_size=8), threads=1).pixels.shape == (0, 3, 8, 8)
