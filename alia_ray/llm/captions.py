"""Captions before the LLM reads them: in columns, each counted once, cleaned, sampled, and packed into chunks."""

import hashlib
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Captions = pa.ChunkedArray | Sequence[str]
"""A caption for each image: a column, or a list where there are few."""
MAX_REPEATS = 5  # BLIP sometimes loops: "a bird with a long beak and a long beak and a long …"
AT_ONCE = 10_000  # captions as Python's objects
_DIGEST = pa.binary(16)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"[^\W_]+", text.lower())


@dataclass(frozen=True)
class Distinct:
    """Different captions, in the order in which they first occur, and how often each occurs."""

    texts: pa.StringArray
    counts: pa.Int64Array

    def batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Some texts at a time, with their counts."""
        for start in range(0, len(self.texts), AT_ONCE):
            yield self.texts[start : start + AT_ONCE].to_pylist(), self.counts[start : start + AT_ONCE].to_numpy()


def distinct_captions(captions: Captions) -> Distinct:
    """The different captions of a column, whatever their number."""
    column = captions if isinstance(captions, pa.ChunkedArray) else pa.array(captions, pa.string())
    texts, counts = pc.value_counts(column).flatten()
    return Distinct(texts, counts)


def clean_captions(captions: Distinct) -> pa.StringArray:
    """Drop empty captions, those in which one word occurs more than five times, and repetitions.

    Captions that differ only in case or white space are one; the first is kept, its white space collapsed.
    Order is kept.
    """
    texts, keys = [], []
    for batch, _ in captions.batches():
        kept = [text for text in (" ".join(caption.split()) for caption in batch) if _says_something(text)]
        texts.append(pa.array(kept, pa.string()))
        keys.append(pa.array([_digest(text.lower()) for text in kept], _DIGEST))
    return _first_of_each(pa.chunked_array(texts, pa.string()), pa.chunked_array(keys, _DIGEST))


def _says_something(text: str) -> bool:
    words = words_of(text)
    repeated = len(words) - len(set(words))
    return bool(words) and (repeated < MAX_REPEATS or max(Counter(words).values()) <= MAX_REPEATS)


def _digest(text: str) -> bytes:
    """What tells a text from any other in less memory than the text."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST.byte_width).digest()


def _first_of_each(texts: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.StringArray:
    places = pa.table({"key": keys, "place": np.arange(len(keys))})
    first = places.group_by("key").aggregate([("place", "min")]).column("place_min").to_numpy()
    return texts.take(pa.array(np.sort(first))).combine_chunks()


def sample_captions(captions: pa.StringArray, count: int, seed: int) -> pa.StringArray:
    """`count` of the captions without replacement, in their order; all of them where there are no more."""
    if count >= len(captions):
        return captions
    return captions.take(pa.array(sorted(random.Random(seed).sample(range(len(captions)), count))))


def filled(sizes: np.ndarray, room: int) -> list[slice]:
    """Runs of things in their order, each as long as the sizes of its things make at most `room`.

    One that is larger than that is alone.
    """
    ends = np.cumsum(sizes)
    runs = []
    start, before = 0, 0
    while start < len(sizes):
        stop = max(int(np.searchsorted(ends, before + room, side="right")), start + 1)
        runs.append(slice(start, stop))
        start, before = stop, int(ends[stop - 1])
    return runs


def pack_captions(
    captions: pa.StringArray, sizes: np.ndarray, budget: int, count_tokens: Callable[[str], int]
) -> tuple[list[pa.StringArray], list[str]]:
    """Fill chunks with captions in their order, each chunk of at most `budget` tokens.

    sizes: tokens of each caption as a line of the request. A caption that alone is over the budget is cut
    after as many words as fit. Returns the chunks and the captions that were cut.
    Raises ValueError when not even one word fits.
    """
    is_long = sizes > budget
    long = captions.filter(pa.array(is_long)).to_pylist()
    if long:
        cut = [_cut(caption, budget, count_tokens) for caption in long]
        captions = pc.replace_with_mask(captions, is_long, pa.array([text for text, _ in cut], pa.string()))
        sizes = sizes.copy()
        sizes[is_long] = [size for _, size in cut]
    return [captions[run] for run in filled(sizes, budget)], long


def _cut(caption: str, budget: int, count_tokens: Callable[[str], int]) -> tuple[str, int]:
    """As many of the caption's first words as fit, and their tokens."""
    words = caption.split()
    keep = bisect_right(range(1, len(words)), budget, key=lambda count: count_tokens(" ".join(words[:count])))
    if keep == 0:
        raise ValueError(f"not even the first word of the caption {caption[:60]!r} fits into {budget} tokens")
    text = " ".join(words[:keep])
    return text, count_tokens(text)
