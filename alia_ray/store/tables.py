"""The Arrow schema of every table of a run folder, and how ids and seeds are made.

Ids come from content, never from a counter, a worker or a block: the same inputs give the same rows on one
worker or a hundred, and a seed derived from an id does not depend on the batch it is drawn in.
Image bytes stay encoded in every table; only a model's worker decodes them.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPLITS = ("train", "val", "test", "extra")
"""`extra` is real data that training does not see; the arm `real_data` adds it."""
VERDICTS = ("kept", "semantic", "too_similar", "mislabelled", "unsafe", "error")

IMAGES = pa.schema(
    [
        ("image_id", pa.string()),  # of the decoded pixels and the label's place in the source
        ("image", pa.binary()),  # encoded RGB, the right way up
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("label", pa.string()),  # the class name
        ("split", pa.string()),  # one of SPLITS
        ("group", pa.string()),  # for group accuracy; the label where the source has none
        ("origin", pa.string()),  # where it came from: a path, or a row of a file
        ("content", pa.string()),  # of the decoded pixels alone: the same for the same picture under any name
    ]
)

CAPTIONS = pa.schema([("image_id", pa.string()), ("caption", pa.string())])

DOMAINS = pa.schema(
    [
        ("domain_id", pa.string()),
        ("prompt", pa.string()),  # with one {} where the class name goes
        ("support", pa.int64()),  # captions that contain every word the prompt adds to the prefix
        ("captions_read", pa.int64()),
    ]
)

EDITS = pa.schema(
    [
        ("edit_id", pa.string()),
        ("image_id", pa.string()),
        ("domain_id", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),
        ("prompt", pa.string()),  # the class name filled in
        ("method", pa.string()),
        ("parameters", pa.string()),  # JSON: model, revision, steps, strength, guidance, size
        ("seed", pa.int64()),
        ("image", pa.binary()),  # encoded; null when the edit failed, or was rejected and is not to be kept
        ("image_bytes", pa.int64()),  # its length, which says without reading it whether there is one
        ("semantic_score", pa.float32()),  # CLIP probability of all positive texts together
        ("semantic_text", pa.string()),  # the likeliest text
        ("predicted_label", pa.string()),  # by the base classifier
        ("confidence", pa.float32()),  # its top probability
        ("label_probability", pa.float32()),  # its probability of the edit's own label
        ("label_rank", pa.int32()),  # 1: the label is the likeliest class
        ("class_probabilities", pa.list_(pa.float32())),  # of every class, in the order of the sorted names
        ("unsafe", pa.bool_()),  # what the safety checker says, if one is configured
        ("verdict", pa.string()),  # one of VERDICTS, under the filters configured when it was written
        ("error", pa.string()),
        ("edit_seconds", pa.float32()),  # this edit's share of its batch
        ("judge_seconds", pa.float32()),
        ("node", pa.string()),
    ]
)

HOW = ("prompt", "method", "parameters", "seed", "node")
"""Columns of EDITS that are read of a few edits alone."""

ERRORS = pa.schema(
    [
        ("stage", pa.string()),
        ("key", pa.string()),  # the origin of an image that could not be ingested, else the id of the row
        ("reason", pa.string()),
        ("kind", pa.string()),  # one of ERROR_KINDS; null in the tables of older releases
        ("twin_of", pa.string()),  # of the kind twin: the image_id of the copy that stays
    ]
)


class ErrorKind(NamedTuple):
    """What is to be done about an error."""

    final: bool  # only tried again under `run.retry_errors`; else the next run tries it by itself
    counts: bool = True  # towards `run.max_error_rate`


ERROR_KINDS = {
    "read": ErrorKind(final=False),  # the source did not give it
    "decode": ErrorKind(final=True),  # what the source gave is no picture
    "label": ErrorKind(final=True),  # it has no label
    "twin": ErrorKind(final=True, counts=False),  # a more important split holds the same picture
    "model": ErrorKind(final=True),  # a model made nothing of it
}

SCHEMAS = {
    "images": IMAGES,
    "captions": CAPTIONS,
    "domains": DOMAINS,
    "edits": EDITS,
    "errors": ERRORS,
}
KEYS = {
    "images": "image_id",
    "captions": "image_id",
    "domains": "domain_id",
    "edits": "edit_id",
    "errors": "key",
}


def content_id(*parts: str | bytes) -> str:
    """A 32-digit hex id of its parts: parts are length-prefixed, so ("ab", "c") differs from ("a", "bc")."""
    return content_id_of(parts)


def content_id_of(parts: Iterable[str | bytes | pa.StringArray]) -> str:
    """The same of parts that come one after the other, or a column of them at once, which has no null."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_column_as_hashed(part) if isinstance(part, pa.Array) else as_hashed(part))
    return digest.hexdigest()[:32]


def _column_as_hashed(texts: pa.StringArray) -> pa.Buffer:
    """What `as_hashed` gives of the texts of a column."""
    texts = texts.cast(pa.binary())
    lengths = pc.binary_length(texts).cast(pa.int64())  # in little endian, as Arrow is
    prefixes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(texts), lengths.buffers())
    joined = pc.binary_join_element_wise(prefixes.cast(pa.binary()), texts, b"")
    _, ends, data = joined.buffers()
    return data.slice(0, np.frombuffer(ends, np.int32)[len(joined)]) if data else pa.py_buffer(b"")


def as_hashed(*parts: str | bytes) -> bytes:
    """What `content_id` hashes of its parts, for those who hash elsewhere."""
    raw = (part.encode() if isinstance(part, str) else part for part in parts)
    return b"".join(len(each).to_bytes(8, "little") + each for each in raw)


def draw_key(seed: int, edit_id: str) -> str:
    """An edit's place in a seeded random order: an image's edits are tried, and survivors drawn, by it."""
    return content_id("select", str(seed), edit_id)


def seed_of(*parts: str) -> int:
    """A seed in [0, 2^63) derived from ids, for torch and NumPy generators alike."""
    return int(content_id("seed", *parts)[:16], 16) >> 1
