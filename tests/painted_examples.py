"""Labelled examples as trainings read them, of the miniature's pictures."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alia_ray.images import encode
from alia_ray.miniature import dataset
from alia_ray.training.examples import Examples


def paint(folder: Path, split: str, count: int) -> Examples:
    """Pictures of the biased miniature, whose backgrounds give the classes away."""
    rows = [
        {
            "image_id": picture.origin,
            "image": encode(Image.fromarray(dataset.paint(picture.origin, picture.label, picture.background, 0))),
            "label": picture.label,
            "group": picture.background,
        }
        for picture in dataset.layout(split, count, bias=1.0)
    ]
    (folder / split).mkdir(parents=True)
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(rows[part::2]), folder / split / f"part-{part}.parquet")
    return Examples(str(folder / split), "image_id", tuple(row["image_id"] for row in rows))
