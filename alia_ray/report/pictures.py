"""Pictures for a page: read by id, shrunk, as data URIs; and a grid of them as one picture."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.dataset as ds

from alia_ray import tables
from alia_ray.run_folder import Table

LARGEST = 192  # pixels of a thumbnail's longer side
TINY = 96  # a longer side below this is enlarged with hard pixel edges
_TEXT = 13  # font size of a grid's captions


@dataclass(frozen=True)
class Thumbnail:
    """A picture for an `img` element."""

    uri: str  # data:image/…
    tiny: bool  # to be enlarged with hard edges


def read_images(table: Table, ids: Iterable[str]) -> dict[str, bytes]:
    """The encoded pictures of rows of a table, by id; rows without a picture are left out.

    Reads the id column of all its files, and picture bytes only of the files that hold a wanted id.
    """
    key = tables.KEYS[table.name]
    wanted = ds.field(key).isin(sorted(set(ids))) & ds.field("image").is_valid()
    if not table.exists():
        return {}
    found = _dataset(table, table.files()).to_table(
        columns=["__filename"], filter=ds.field(key).isin(sorted(set(ids)))
    )
    files = found.column(0).unique().to_pylist()
    if not files:
        return {}
    rows = _dataset(table, files).to_table(columns=[key, "image"], filter=wanted)
    return dict(zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True))
