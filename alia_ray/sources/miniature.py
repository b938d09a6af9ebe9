"""The miniature's painted dataset as a source: rows are painted where they are read."""

import pyarrow as pa
from PIL import Image

from alia_ray.config import MiniatureWorld
from alia_ray.images import encode
from alia_ray.miniature import dataset
from alia_ray.sources.files import Content
from alia_ray.sources.listing import LISTING


def list_images(source: MiniatureWorld) -> pa.Table:
    """List train, val and test; the group of an image is its class and background, "tarrel/forest"."""
    counts = {"train": source.train, "val": source.val, "test": source.test}
    rows = [row for split, count in counts.items() for row in dataset.layout(split, count, source.bias)]
    groups = [f"{row.label}/{row.background}" for row in rows]
    columns = [[row.origin for row in rows], [row.label for row in rows], [row.split for row in rows], groups]
    return pa.table(columns, schema=LISTING)


def read_images(source: MiniatureWorld, rows: pa.Table) -> list[Content]:
    """Paint some rows and encode them as PNG."""
    contents: list[Content] = []
    for row in rows.to_pylist():
        background = row["group"].split("/")[1]
        pixels = dataset.paint(row["origin"], row["label"], background, source.seed)
        contents.append(encode(Image.fromarray(pixels)))
    return contents
