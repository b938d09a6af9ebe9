"""Where training images come from: one file per layout, each giving a listing and a way to read its rows.

A *listing* is a small Arrow table with one row per image (`LISTING`); reading turns some of its rows into
encoded bytes. So a source can be split among workers before any image has been opened.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config.sections import ConfigError
from alia_ray.config.source import Source, WebDataset
from alia_ray.errors import one_line
from alia_ray.plain_text import LONGEST_NAME
from alia_ray.sources import (
    csv_table,
    cub,
    huggingface,
    image_folder,
    iwildcam,
    miniature,
    parquet_table,
    waterbirds,
    webdataset,
)
from alia_ray.sources.files import Content
from alia_ray.sources.limits import limited
from alia_ray.sources.listing import LISTING, Over, here, notes

__all__ = ["list_images", "no_label", "notes", "read_images"]

_SOURCES: dict[str, tuple[Callable[..., pa.Table], Callable[..., list[Content]]]] = {
    "imagefolder": (image_folder.list_images, image_folder.read_images),
    "csv": (csv_table.list_images, csv_table.read_images),
    "parquet": (parquet_table.list_images, parquet_table.read_images),
    "miniature": (miniature.list_images, miniature.read_images),
    "cub": (cub.list_images, cub.read_images),
    "iwildcam": (iwildcam.list_images, iwildcam.read_images),
    "waterbirds": (waterbirds.list_images, waterbirds.read_images),
    "huggingface": (huggingface.list_images, huggingface.read_images),
    "webdataset": (webdataset.list_images, webdataset.read_images),
}
_IN_PARTS = {"imagefolder", "parquet", "webdataset"}
"""What is listed folder by folder, or shard by shard; the other layouts are lists themselves."""


def list_images(source: Source, over: Over = here) -> pa.Table:
    """Every image of a source, or those of its limits: a table of schema LISTING; one without a label has a null.

    `notes` gives what a person should know of it. Raises ConfigError when there is nothing to read, when the
    source's storage does not answer, for an image that is listed twice, and for a label or group that is no name.

    over: what goes over the shards or folders of a source that has them.
    """
    try:
        listing = _SOURCES[source.kind][0]
        rows = listing(source, over) if source.kind in _IN_PARTS else listing(source)
    except OSError as error:
        raise ConfigError(f"source: its images cannot be listed: {one_line(error)}") from error
    rows = rows.cast(LISTING.with_metadata(rows.schema.metadata))
    if not rows.num_rows:
        said = "".join(f"; {note}" for note in notes(rows))
        place = getattr(source, "path", None) or getattr(source, "name", source.kind)
        raise ConfigError(f"source: no image was found in {place}{said}")
    origins = rows.column("origin")
    if pc.count_distinct(origins).as_py() < rows.num_rows:
        counts = origins.value_counts()
        origin, count = counts[pc.index(counts.field("counts"), pc.max(counts.field("counts"))).as_py()].values()
        raise ConfigError(f"source: {origin.as_py()!r} is listed {count} times; keep one row for each image")
    for column in ("label", "group"):
        longest = max(filter(None, rows.column(column).unique().to_pylist()), key=len, default="")
        if len(longest) > LONGEST_NAME:
            raise ConfigError(
                f"source: a {column} has over {LONGEST_NAME} characters, which no name has ({longest[:60]!r}…); "
                f"choose the column or key that holds each image's {column}"
            )
    return limited(source, rows)


def read_images(source: Source, rows: pa.Table) -> list[Content]:
    """The encoded bytes of some rows of a listing, or for each that cannot be read an error that says why."""
    return _SOURCES[source.kind][1](source, rows)


def no_label(source: Source) -> str:
    """Where a label was looked for that is not there, for the reason of a row of errors."""
    if isinstance(source, WebDataset):
        key = source.label_key
        return "its .cls is missing, empty or over 1 MB" if key is None else f"its .json gives no {key!r}"
    column = getattr(source, "label_column", None)
    return f"the column {column!r} names none" if column else "it lies in no class folder below source.path"
