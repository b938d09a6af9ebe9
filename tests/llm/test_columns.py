"""Captions in columns give what captions one by one give, whatever they are."""

import random

import captions_one_by_one as one_by_one
import numpy as np
import pyarrow as pa
import pytest

from alia_ray.config import Discover, Llm, Model
from alia_ray.llm import captions as columns
from alia_ray.llm.client import Client
from alia_ray.llm.discover import caption_budget, discover_domains, domain_rows

WORDS = [
    "bird",
    "Bird",
    "BIRD",
    "tree",
    "lake",
    "of",
    "a",
    "the",
    "_",
    "-",
    "İstanbul",
    "ΟΔΟΣ",
    "straße",
    "海滩",
    "é",
]
SPACES = [" ", "  ", "\t", "\n", "\u00a0", "\u2003", "\x1c", ", ", "-"]
SEEDS = range(20)


def drawn(seed: int, number: int = 300) -> list[str]:
    """Captions of a few words, so that many repeat each other but for case and white space; some are loops."""
    draw = random.Random(seed)
    return [
        "".join(word + draw.choice(SPACES) for word in draw.choices(WORDS, k=draw.choice([0, 1, 2, 3, 9, 40])))
        for _ in range(number)
    ]


def in_chunks(captions: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([captions[:7], [], captions[7:]], pa.string())


@pytest.fixture
def in_small_batches(monkeypatch):
    monkeypatch.setattr(columns, "AT_ONCE", 16)


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_are_counted_and_cleaned_as_one_by_one(seed, in_small_batches):
    captions = drawn(seed)
    distinct = columns.distinct_captions(in_chunks(captions))
    assert distinct.texts.to_pylist() == list(dict.fromkeys(captions))
    assert distinct.counts.to_pylist() == [captions.count(text) for text in distinct.texts.to_pylist()]
    cleaned = columns.clean_captions(distinct).to_pylist()
    assert cleaned == one_by_one.clean_captions(captions)
    assert 10 < len(cleaned) < len(captions)


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_are_drawn_and_packed_as_one_by_one(seed):
    draw, captions = random.Random(seed), one_by_one.clean_captions(drawn(seed))
    count, budget = draw.randrange(1, 400), draw.randrange(3, 60)
    read = columns.sample_captions(pa.array(captions), count, seed)
    assert read.to_pylist() == one_by_one.sample_captions(captions, count, seed)

    def tokens(text: str) -> int:
        return len(text.split()) + 1

    sizes = [tokens(text) for text in read.to_pylist()]
    chunks, cut = columns.pack_captions(read, np.array(sizes), budget, tokens)
    expected = one_by_one.pack_captions(read.to_pylist(), sizes, budget, tokens)
    assert ([chunk.to_pylist() for chunk in chunks], cut) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_support_counts_every_caption_as_one_by_one(seed, in_small_batches):
    captions, prefix = drawn(seed), "a photo of a {}"
    prompts = [
        "a photo of a {} bird",
        "a photo of a {} Tree, lake",
        "a photo of a {} οδος",
        "a photo of a {} İSTANBUL",
    ]
    rows = domain_rows(prompts, in_chunks(captions), prefix, 5)
    assert [row["support"] for row in rows] == [one_by_one.support_of(each, captions, prefix) for each in prompts]
    assert rows[0]["support"] > 20


@pytest.mark.parametrize("tells_tokens", [True, False])
@pytest.mark.parametrize("read", ["all", 150])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_chunks_are_asked_as_one_by_one(fake_llm, tells_tokens, read, seed):
    fake_llm.tells_tokens = tells_tokens
    places = ("on a lake", "in a Forest", "by  the sea at dawn")
    captions = [f"number {n % 260} is a bird {places[n % 3]}" for n in range(400)]
    asked = []

    def reply(request):
        text = request["messages"][0]["content"]
        if len(request["messages"]) == 1:
            asked.append([line[2:] for line in text.split("\n\n")[0].splitlines()[1:]])
            return '{"descriptions":["a photo of a bird on a lake"]}'
        return '{"prompts":["a photo of a {} bird on a lake"]}'

    fake_llm.reply = reply
    discover = Discover(prefix="a photo of a {} bird", max_tokens=16, captions=read)
    llm = Llm(model=Model(name="fake"), max_model_len=768)
    discover_domains(in_chunks(captions), [], discover, llm, fake_llm.endpoint, seed)

    cleaned = one_by_one.clean_captions(captions)
    chosen = cleaned if read == "all" else one_by_one.sample_captions(cleaned, read, seed)
    budget = caption_budget(Client(fake_llm.endpoint, "fake", 10, seed), discover, llm)
    sizes = [len(f"- {text}\n".split()) for text in chosen]
    chunks, _ = one_by_one.pack_captions(chosen, sizes, budget, lambda text: len(f"- {text}\n".split()))
    assert len(chunks) > 1
    assert sorted(asked[:-1]) == sorted(chunks)
    assert asked[-1] == ["a photo of a bird on a lake"]
