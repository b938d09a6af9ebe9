"""The tokens of many lines by one request, wherever a server says where a line ends."""

import pytest

from alia_ray.config import Discover, Llm, Model
from alia_ray.errors import StageError
from alia_ray.llm import reading
from alia_ray.llm.client import Client
from alia_ray.llm.discover import discover_domains

LINES = ["- a bird\n", "- a bird at sea\n", "- bird\n"]


def client_of(fake_llm) -> Client:
    return Client(fake_llm.endpoint, "fake", 10, seed=0)


def tokenized(fake_llm, monkeypatch, answer) -> None:
    """Have /tokenize answer `answer(request)`: a status, a body and headers."""
    others = fake_llm.respond
    monkeypatch.setattr(
        fake_llm,
        "respond",
        lambda path, request: answer(request) if path == "/tokenize" else others(path, request),
    )


def counts(fake_llm) -> int:
    return [path for path, _ in fake_llm.calls].count("/tokenize")


def test_a_server_that_tells_tokens_is_asked_once_for_all_lines(fake_llm):
    fake_llm.tells_tokens = True
    assert client_of(fake_llm).count_lines(LINES, one_by_one=False) == [3, 5, 2]
    assert counts(fake_llm) == 1


@pytest.mark.parametrize(
    "tokens",
    [
        ["-", "Ġa", "Ġbird", "Ċ", "-", "Ġa", "Ġbird", "Ġat", "Ġsea", ".Ċ", "-", "Ġbird", "Ċ"],
        ["▁-", "▁a", "▁bird", "<0x0A>", "-", "▁a", "▁bird", "▁at", "▁sea", "<0x0A>", "-", "▁bird", "<0x0A>"],
    ],
    ids=["byte-level BPE", "SentencePiece"],
)
def test_a_line_ends_where_the_tokenizers_spelling_of_its_end_stands(fake_llm, monkeypatch, tokens):
    tokenized(fake_llm, monkeypatch, lambda request: (200, {"count": len(tokens), "token_strs": tokens}, {}))
    assert client_of(fake_llm).count_lines(LINES, one_by_one=False) == [4, 6, 3]


@pytest.mark.parametrize(
    "tokens",
    [
        ["-", " a", " bird", "\n-", " a", " bird", " at", " sea", "\n", "-", " bird", "\n"],
        ["-", " a", " bird", "\n", "-", " a", " bird", "\n", "-", " bird"],
        ["\n", "\n", "\n", "\n"],
        [1, 2, 3],
        "\n\n\n",
        [],
    ],
)
def test_tokens_that_do_not_end_as_the_lines_do_are_no_sizes_of_lines(fake_llm, monkeypatch, tokens):
    def answer(request):
        told = {"token_strs": tokens} if "return_token_strs" in request else {}
        return 200, {"count": len(request["prompt"].split()), **told}, {}

    tokenized(fake_llm, monkeypatch, answer)
    client = client_of(fake_llm)
    assert client.count_lines(LINES, one_by_one=True) == [3, 5, 2]
    estimated = client.count_lines(LINES, one_by_one=False)
    assert all(estimate > true for estimate, true in zip(estimated, [3, 5, 2], strict=True))


def test_a_server_that_counts_otherwise_is_asked_for_each_of_a_few_lines_and_none_of_many(fake_llm):
    client = client_of(fake_llm)
    assert client.count_lines(LINES, one_by_one=True) == [3, 5, 2]
    assert counts(fake_llm) == 4  # once for all, in vain
    assert client.count_lines(LINES, one_by_one=False) == [5, 9, 4]
    assert counts(fake_llm) == 4


def test_a_server_that_does_not_count_is_asked_once(fake_llm):
    fake_llm.counts = False
    client = client_of(fake_llm)
    assert client.count_lines(LINES, one_by_one=True) == client.count_lines(LINES, one_by_one=True) == [5, 9, 4]
    assert counts(fake_llm) == 1


def test_a_busy_server_is_waited_for_and_counts_as_before(fake_llm, pauses, monkeypatch):
    fake_llm.tells_tokens = True
    others, busy = fake_llm.respond, iter([(429, {}, {"retry-after": "3"}), (503, {}, {})])
    tokenized(fake_llm, monkeypatch, lambda request: next(busy, None) or others("/tokenize", request))
    assert client_of(fake_llm).count_lines(LINES, one_by_one=False) == [3, 5, 2]
    assert pauses == [3.0, 2.0]


def test_a_server_that_ceases_to_count_is_given_up_and_its_chunks_still_fit(fake_llm, pauses, monkeypatch):
    monkeypatch.setattr(reading, "BYTES_AT_ONCE", 1000)
    fake_llm.tells_tokens = True
    others = fake_llm.respond

    def answer(request):
        return others("/tokenize", request) if counts(fake_llm) <= 3 else (500, {"error": "out of memory"}, {})

    tokenized(fake_llm, monkeypatch, answer)
    fake_llm.reply = lambda request: (
        '{"descriptions":["a photo of a subject at sea"]}'
        if len(request["messages"]) == 1
        else '{"prompts":["a photo of a {} at sea"]}'
    )
    discover, llm = Discover(max_tokens=16, captions="all"), Llm(model=Model(name="fake"), max_model_len=768)
    llm = llm.model_copy(update={"concurrency": 1})
    captions = [f"number {n} is a bird in a forest" for n in range(300)]
    discover_domains(captions, [], discover, llm, fake_llm.endpoint, 0)
    assert sum(pauses) == 31
    assert all(_words(request) + 16 <= 768 for request in fake_llm.requests)
    read = [line for request in fake_llm.requests[:-2] for line in _listed(request)]
    assert read == captions


def _words(request) -> int:
    return sum(len(message["content"].split()) for message in request["messages"])


def _listed(request) -> list[str]:
    return [line[2:] for line in request["messages"][0]["content"].split("\n\n")[0].splitlines()[1:]]


def test_a_thousand_captions_take_a_few_requests_to_count(fake_llm):
    fake_llm.tells_tokens = True
    fake_llm.reply = lambda request: "no"
    captions = [f"number {n} is a bird in a forest" for n in range(5000)]
    with pytest.raises(StageError, match="gave no JSON object"):
        discover_domains(
            captions,
            [],
            Discover(captions="all"),
            Llm(model=Model(name="fake"), max_model_len=300_000),
            fake_llm.endpoint,
            0,
        )
    assert counts(fake_llm) == 1 + -(-sum(len(caption) + 3 for caption in captions) // reading.BYTES_AT_ONCE)


def test_a_caption_longer_than_the_context_is_cut_and_named(fake_llm):
    fake_llm.tells_tokens = True
    fake_llm.reply = lambda request: (
        '{"descriptions":["a photo of a subject at sea"]}'
        if len(request["messages"]) == 1
        else '{"prompts":["a photo of a {} at sea"]}'
    )
    long = [" ".join(f"{word}x{n}" for word in range(2000)) for n in range(10)]
    discover, llm = Discover(max_tokens=16, captions="all"), Llm(model=Model(name="fake"), max_model_len=768)
    found = discover_domains(["a bird at sea", *long], [], discover, llm, fake_llm.endpoint, 0)
    assert all(_words(request) + 16 <= 768 for request in fake_llm.requests)
    assert found.transcript[0]["cut"] == long[: reading.TOLD_WHOLE]
    assert found.transcript[0]["cut and left out"] == 10 - reading.TOLD_WHOLE
