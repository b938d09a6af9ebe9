"""Discovery over captions that are Python's strings, one by one: what the columns must give as well."""

import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable

from alia_ray.llm.discover import content_words


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def clean_captions(captions: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    for caption in captions:
        text = " ".join(caption.split())
        counts = Counter(words_of(text))
        if counts and max(counts.values()) <= 5:
            kept.setdefault(text.lower(), text)
    return list(kept.values())


def sample_captions(captions: list[str], count: int, seed: int) -> list[str]:
    if count >= len(captions):
        return list(captions)
    chosen = random.Random(seed).sample(range(len(captions)), count)
    return [captions[i] for i in sorted(chosen)]


def pack_captions(
    captions: list[str], sizes: list[int], budget: int, count_tokens: Callable[[str], int]
) -> tuple[list[list[str]], list[str]]:
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
    words = caption.split()
    keep = bisect_right(range(1, len(words)), budget, key=lambda count: count_tokens(" ".join(words[:count])))
    text = " ".join(words[:keep])
    return text, count_tokens(text)


def support_of(prompt: str, captions: list[str], prefix: str) -> int:
    added = content_words(prompt, prefix)
    return sum(added <= set(words_of(caption)) for caption in captions)
