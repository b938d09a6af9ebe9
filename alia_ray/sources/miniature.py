"""The miniature's painted datasets as a source: rows are painted where they are read."""

import pyarrow as pa
from PIL import Image

from alia_ray.config.source import MiniatureWorld
from alia_ray.images import encode
from alia_ray.miniature import dataset
from alia_ray.sources.files import Content
from alia_ray.sources.listing import LISTING


def list_images(source: MiniatureWorld) -> pa.Table:
    """List every split; the group is class and background, "tarrel/forest", or the place alone in `places`."""
    counts = {"train": source.train, "val": source.val, "test": source.test, "extra": source.extra}
    if source.task == "biased":
        rows = [row for split, count in counts.items() for row in dataset.layout(split, count, source.bias)]
        groups = [f"{row.label}/{row.background}" for row in rows]
    else:
        rows = [row for split, count in counts.items() for row in dataset.layout_places(split, count)]
        groups = [row.background for row in rows]
    columns = [[row.origin for row in rows], [row.label for row in rows], [row.split for row in rows], groups]
    return pa.table([*columns, pa.nulls(len(rows))], schema=LISTING)


def read_images(source: MiniatureWorld, rows: pa.Table) -> list[Content]:
    """Paint some rows and encode them as PNG."""
    contents: list[Content] = []
    for row in rows.to_pylist():
        background = row["group"].rpartition("/")[2]
        pixels = dataset.paint(row["origin"], row["label"], background, source.seed)
        contents.append(encode(Image.fromarray(pixels)))
    return contents
