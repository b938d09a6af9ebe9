"""What every source lists, and how one without splits gets them."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from functools import lru_cache
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import ConfigError
from alia_ray.plain_text import plain_line
from alia_ray.store.tables import content_id

LISTING = pa.schema(
    [
        ("origin", pa.string()),  # names the image within the source; unique, the same on every machine
        ("label", pa.string()),  # null where the source has none, which `ingest` makes an error row
        ("split", pa.string()),
        ("group", pa.string()),
        ("version", pa.string()),  # changes when the image may have; null where a source cannot say
    ]
)

FOUND = pa.schema([(name, pa.string()) for name in ("origin", "label", "given", "group", "version")])
"""What `make_listing` takes, as files give it: `given` is the split that the source names, if any."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "extra": "extra",
}
_ALMOST = {
    **dict.fromkeys(("trn", "tr"), "train"),
    **dict.fromkeys(("validate", "vld"), "val"),
    **dict.fromkeys(("tst", "tests", "eval", "evaluation", "holdout", "heldout"), "test"),
}
"""What is no split's name, but meant as one: "eval" is test to Hugging Face's `datasets` too."""
_BEHIND = re.compile(r"[\W\d_]*(?:data|dataset|images|imgs|set|split)?[\W\d_]*$")  # "val2017", "test_images"
_NOTES = b"notes"  # a listing's schema metadata: what a person should know of it


Column = Sequence[str | None] | pa.StringArray | pa.ChunkedArray
"""Texts and nulls; of Arrow where there may be millions."""
AT_ONCE = 10_000  # rows as Python's objects
THREADS = 8  # that list parts of a source here, each of which waits for its storage
Part, Listed = TypeVar("Part"), TypeVar("Listed")
Over = Callable[[Callable[[Part], Listed], Sequence[Part]], Iterable[Listed]]
"""Like `map`: gives what a function finds in each part of a source, a shard or a folder, in their order.

Where a source has many, it may call the function on other machines: both are to be sent there.
"""


def here(find: Callable[[Part], Listed], parts: Sequence[Part]) -> Iterator[Listed]:
    """The `Over` of this process: some parts at a time."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(find, parts)


def values(column: Column) -> Iterator[str | None]:
    """The values of a column, of which few are Python's objects at a time."""
    for start in range(0, len(column), AT_ONCE):
        some = column[start : start + AT_ONCE]
        yield from some if isinstance(some, Sequence) else some.to_pylist()


def make_listing(
    origins: Column,
    labels: Column,
    given: Column,
    groups: Column,
    versions: Column,
    val_fraction: float,
    test_fraction: float,
    notes: Iterable[str] = (),
) -> pa.Table:
    """A listing of columns as they were found; `given` are the splits that the source names. See `assign_splits`.

    Labels and groups lose spaces around them, ends of lines and characters that do harm, and become NFC, the form
    that most systems write: archives made on a Mac hold "é" as two characters, which would be another class.
    """
    labels, groups = _plain_column(labels), _plain_column(groups)
    origins = pa.array(values(origins), pa.string())
    splits = assign_splits(origins, labels, given, val_fraction, test_fraction)
    rows = pa.table([origins, labels, splits, groups, versions], schema=LISTING)
    return rows.replace_schema_metadata({_NOTES: "\n".join(notes)})


def count_of(listing: pa.Table, split: str) -> int:
    """How many images of a listing a split has."""
    return pc.sum(pc.equal(listing.column("split"), split)).as_py() or 0


def notes(listing: pa.Table) -> list[str]:
    """What a person should know of a listing, such as what was passed over: sentences without a full stop."""
    return (listing.schema.metadata or {}).get(_NOTES, b"").decode().splitlines()


def with_note(listing: pa.Table, note: str) -> pa.Table:
    """The listing with one more note."""
    return listing.replace_schema_metadata({_NOTES: "\n".join([*notes(listing), note])})


def _plain_column(texts: Column) -> pa.StringArray:
    plain = lru_cache(maxsize=AT_ONCE)(_plain)  # classes repeat
    return pa.array(map(plain, values(texts)), pa.string())


def _plain(text: str | None) -> str | None:
    if text is None:
        return None
    text = plain_line(text.encode(errors="replace").decode())
    return unicodedata.normalize("NFC", text).strip() or None


def meant_split(name: str, guessing: bool = False) -> str | None:
    """The split that a name is meant to say, as "val", "trainset", "tst" and "val2017" do; None for another one.

    guessing: also by letters alone, as "trian", which may be a word of its own.
    """
    core = re.sub(r"[\W_]", "", _BEHIND.sub("", name.lower()))
    known = SPLIT_NAMES | _ALMOST
    near = get_close_matches(core, SPLIT_NAMES, n=1, cutoff=0.75) if guessing else []
    return known.get(core) or next((known[other] for other in near), None)


def assign_splits(
    origins: pa.StringArray, labels: pa.StringArray, given: Column, val_fraction: float, test_fraction: float
) -> pa.StringArray:
    """A split for each image: the given one, or one drawn per class by the hash of its origin.

    Where a source names some splits, only what it lacks is made: a val is held out of train when there is
    none, a test only when there is neither val nor test. Raises ConfigError for a split of another name.
    """
    names = set(values(given))
    unknown = {name for name in names if name is not None and name.lower() not in SPLIT_NAMES}
    if unknown:
        name = min(unknown)
        hint = f"; did you mean {meant_split(name)}?" if meant_split(name) else ";"
        raise ConfigError(
            f"source: the split {name!r} is none of {', '.join(SPLIT_NAMES)}{hint} rename it, or leave its images "
            "out"
        )
    splits = pa.array((SPLIT_NAMES[(name or "train").lower()] for name in values(given)), pa.string())
    named = {SPLIT_NAMES[name.lower()] for name in names if name is not None}
    if named.isdisjoint(("val", "test")):
        splits = _held_out(origins, labels, splits, "test", test_fraction)
    if "val" not in named:
        splits = _held_out(origins, labels, splits, "val", val_fraction)
    return splits


def _held_out(
    origins: pa.StringArray, labels: pa.StringArray, splits: pa.StringArray, name: str, fraction: float
) -> pa.StringArray:
    """The splits with `fraction` of each class's training images in `name`, at least one where it can."""
    classes = pc.dictionary_encode(pc.if_else(pc.equal(splits, "train"), labels, None))
    codes = classes.indices.fill_null(-1).to_numpy()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(classes.dictionary) + 1))
    is_out = np.zeros(len(codes), dtype=bool)
    for label, first, end in zip(classes.dictionary.to_pylist(), starts[:-1], starts[1:], strict=True):
        count = min(math.ceil(fraction * (end - first)), end - first - 1) if label else 0
        if count:
            places = order[first:end]
            hashes = [content_id(name, origin) for origin in origins.take(pa.array(places)).to_pylist()]
            is_out[places[np.argsort(hashes, kind="stable")[:count]]] = True
    return pc.if_else(pa.array(is_out), name, splits)
