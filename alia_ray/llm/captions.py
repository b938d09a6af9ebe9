"""Captions before the LLM reads them: cleaned, sampled, and packed into chunks that fit its context."""

import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable

MAX_REPEATS = 5  # BLIP sometimes loops: "a bird with a long beak and a long beak and a long …"


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"[^\W_]+", text.lower())


def clean_captions(captions: list[str]) -> list[str]:
    """Drop empty captions, those in which one word occurs more than five times, and repetitions.

    Captions that differ only in case or white space are one; the first is kept, its white space collapsed.
    Order is kept.
    """
    kept: dict[str, str] = {}
    for caption in captions:
        text = " ".join(caption.split())
        counts = Counter(words_of(text))
        if counts and max(counts.values()) <= MAX_REPEATS:
            kept.setdefault(text.lower(), text)
    return list(kept.values())


def sample_captions(captions: list[str], count: int, seed: int) -> list[str]:
    """`count` of the captions without replacement, in their order; all of them where there are no more."""
    if count >= len(captions):
        return list(captions)
    chosen = random.Random(seed).sample(range(len(captions)), count)
    return [captions[i] for i in sorted(chosen)]


def pack_captions(
    captions: list[str], sizes: list[int], budget: int, count_tokens: Callable[[str], int]
) -> tuple[list[list[str]], list[str]]:
    """Fill chunks with captions in their order, each chunk of at most `budget` tokens.

    sizes: tokens of each caption as a line of the request. A caption that alone is over the budget is cut
    after as many words as fit. Returns the chunks and the captions that were cut.
    Raises ValueError when not even one word fits.
    """
    chunks: list[list[str]] = []
    cut = []
    room = 0
    for caption, size in zip(captions, sizes, strict=True):
        text = caption
        if size > budget:
            cut.append(caption)
            text, size = _cut(caption, budget, count_tokens)
        if size > room:
            chunks.append([])
            room = budget
        chunks[-1].append(text)
        room -= size
    return chunks, cut


def _cut(caption: str, budget: int, count_tokens: Callable[[str], int]) -> tuple[str, int]:
    """As many of the caption's first words as fit, and their tokens."""
    words = caption.split()
    keep = bisect_right(range(1, len(words)), budget, key=lambda count: count_tokens(" ".join(words[:count])))
    if keep == 0:
        raise ValueError(f"not even the first word of the caption {caption[:60]!r} fits into {budget} tokens")
    text = " ".join(words[:keep])
    return text, count_tokens(text)
