"""Labelled examples of a table, by id: how they are shared out among workers and read into memory."""

import random
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Pixels
from alia_ray.store import rows
from alia_ray.store.patience import still_unseen
from alia_ray.store.run_folder import filesystem

if TYPE_CHECKING:
    import torch

    from alia_ray.training.on_disk import OnDisk


Names = Sequence[str | None] | pa.StringArray
_PLACE = "place"  # of an example among the ids


@dataclass(frozen=True)
class Examples:
    """Rows of a table: a folder of Parquet files with the columns `key`, image, label and group."""

    table: str  # a local path or a URI; relative paths are resolved where they are read
    key: str
    ids: tuple[str, ...] | pa.StringArray

    def resolved(self) -> "Examples":
        """The same examples under a path that means the same in a worker's working directory."""
        return self if "://" in self.table else replace(self, table=filesystem(self.table)[1])

    def for_workers(self) -> "Examples":
        """The same, resolved, with the ids as a column: a third of the bytes of Python's strings."""
        return replace(self.resolved(), ids=self.column())

    def column(self) -> pa.StringArray:
        """The ids, each once and sorted."""
        ids = pc.unique(pa.array(self.ids, pa.string()))
        return ids.take(pc.array_sort_indices(ids))


@dataclass(frozen=True)
class Loaded:
    """Decoded examples."""

    pixels: "torch.Tensor | OnDisk"  # uint8 (N, 3, S, S)
    labels: list[str]
    groups: list[str | None]


def count(examples: Sequence[Examples]) -> int:
    """How many different examples there are."""
    return sum(len(source.column()) for source in examples)


def shard(examples: Sequence[Examples], rank: int, world: int, seed: int = 0) -> list[Examples]:
    """The part of one of `world` workers: the sorted ids, permuted by `seed`, every `world`-th from `rank` on.

    Parts differ by at most one example and do not depend on the order of the ids. A part's ids are sorted.
    """
    columns = [source.column() for source in examples]
    ends = list(accumulate(map(len, columns), initial=0))
    order = array("q", range(ends[-1]))
    random.Random(seed).shuffle(order)
    mine = np.sort(np.frombuffer(order, np.int64)[rank::world])
    parts = np.split(mine, np.searchsorted(mine, ends[1:-1]))
    return [
        replace(source, ids=column.take(pa.array(part - first)))
        for source, column, part, first in zip(examples, columns, parts, ends[:-1], strict=True)
    ]


def load(examples: Sequence[Examples], pixels: Pixels, threads: int, on_disk: bool = False) -> Loaded:
    """Read and decode examples, in the order of their ids, with a few threads, into memory or onto the disk.

    Raises ValueError when an id is not in its table, alia_ray.images.DecodeError for broken bytes, and
    FullDiskError.
    """
    import torch  # not above: the driver shares out ids and needs none

    from alia_ray.training.on_disk import OnDisk

    firsts = list(accumulate((len(source.ids) for source in examples), initial=0))
    count, size = firsts.pop(), pixels.image_size
    # Of all tables: to join theirs would take it twice.
    decoded = OnDisk(count, size) if on_disk else torch.empty((count, 3, size, size), dtype=torch.uint8)
    parts = [
        _load_table(source, pixels, threads, decoded, first)
        for source, first in zip(examples, firsts, strict=True)
        if len(source.ids)
    ]
    return Loaded(
        decoded,
        [label for part in parts for label in part.labels],
        [group for part in parts for group in part.groups],
    )


def _load_table(
    examples: Examples, pixels: Pixels, threads: int, decoded: "torch.Tensor | OnDisk", first: int
) -> Loaded:
    """Read and decode the examples of a table into `decoded`, uint8 (N, 3, S, S), from the place `first` on."""
    from alia_ray.models.classifier import pixels_for_training

    names: dict[str | None, str | None] = {}  # so that a label that many have is held once
    labels: list[str | None] = [None] * len(examples.ids)
    groups: list[str | None] = [None] * len(examples.ids)

    def decode(place: int, encoded: bytes) -> None:
        decoded[first + place] = pixels_for_training(encoded, pixels)

    columns = ["image", "label", "group"]
    with ThreadPoolExecutor(threads) as pool:
        for batch in rows.stream(examples.table, _homes(examples), columns):
            under_way = []
            for row in batch.to_pylist():
                place = row[_PLACE]
                labels[place], groups[place] = (names.setdefault(row[of], row[of]) for of in ("label", "group"))
                under_way.append(pool.submit(decode, place, row["image"]))
            for done in under_way:
                done.result()
    return Loaded(decoded, labels, groups)


def _homes(examples: Examples) -> pa.Table:
    """Which file holds each example, and its place among the ids.

    Waits for what another machine has just written. Raises ValueError.
    """
    found, ids = [], pa.array(examples.ids, pa.string())

    def missing() -> pa.StringArray:
        found[:] = [rows.homes(examples.table, examples.key, ids)]
        is_found = pc.is_in(ids, value_set=found[0].column(examples.key).combine_chunks())
        return ids.filter(pc.invert(is_found))

    if unseen := still_unseen(missing):
        raise ValueError(
            f"{len(unseen)} of {len(ids)} ids are not in {examples.table}; the first is {pc.min(unseen)}"
        )
    return found[0].append_column(_PLACE, pc.index_in(found[0].column(examples.key), value_set=ids))


def class_indices(labels: Names, classes: Sequence[str]) -> np.ndarray:
    """The place of each label in `classes`, int64 (N,). Raises ValueError for a label that is not there."""
    labels = pa.array(labels, pa.string())
    places = pc.index_in(labels, value_set=pa.array(classes, pa.string()))
    if places.null_count:
        unknown = labels.filter(places.is_null()).unique().sort()[0].as_py()
        raise ValueError(f"the label {unknown!r} is none of the classes {', '.join(classes)}")
    return places.to_numpy().astype(np.int64)
