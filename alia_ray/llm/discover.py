"""Captions -> prompts: the two-turn conversation with the LLM, over as many chunks as the captions need."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from alia_ray.config import Discover, Llm
from alia_ray.config.places import as_given
from alia_ray.errors import StageError
from alia_ray.llm import prompts
from alia_ray.llm.captions import Captions, clean_captions, distinct_captions, sample_captions, words_of
from alia_ray.llm.client import Client
from alia_ray.llm.connection import Endpoint
from alia_ray.llm.kept import KeptAnswers
from alia_ray.llm.reading import TOLD_WHOLE, Reader, Tell, spoken
from alia_ray.store.tables import content_id

SLACK_TOKENS = 8  # captions are counted one by one, and together may differ by a token or two
STOP_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "into", "is", "it", "its", "near"}
    | {"next", "of", "off", "on", "onto", "or", "out", "over", "that", "the", "their", "there", "this", "to"}
    | {"under", "up", "very", "while", "with"}
)


@dataclass(frozen=True)
class Discovery:
    """The discovered domains, as rows of `tables.DOMAINS`, and how they came about, as plain JSON."""

    domains: list[dict[str, Any]]
    transcript: list[dict[str, Any]]


def discover_domains(
    captions: Captions,
    class_names: list[str],
    discover: Discover,
    llm: Llm,
    endpoint: Endpoint,
    seed: int,
    tell: Tell = lambda doing, more, read: None,
    answers: KeptAnswers | None = None,
) -> Discovery:
    """Let the LLM at `endpoint` summarise the captions into at most `max_domains` class-agnostic prompts.

    Captions that do not fit into one request are summarised chunk by chunk, and then their summaries. `tell` hears
    what the LLM is doing. `answers` is where those of chunks are kept, and found by who was killed.
    Raises StageError when nothing is left to read or to keep, and for everything `Client.ask` raises.
    """
    cleaned = clean_captions(distinct_captions(captions))
    read = cleaned if discover.captions == "all" else sample_captions(cleaned, discover.captions, seed)
    if not len(read):
        raise StageError("discover has no usable caption to read; look at the captions table")
    client = Client(endpoint, as_given(llm.model.name), llm.request_timeout_s, seed)
    reader = Reader(client, discover, caption_budget(client, discover, llm), llm.concurrency, answers, tell)
    chunks, cut = reader.pack(read)
    counts = {"captions": len(captions), "clean": len(cleaned), "read": len(read), "cut": cut[:TOLD_WHOLE]}
    left_out = {"cut and left out": len(cut) - TOLD_WHOLE} if len(cut) > TOLD_WHOLE else {}
    transcript: list[dict[str, Any]] = [{"step": "read", **counts, **left_out}]
    lines = reader.reduce_to_one(chunks, transcript)
    tell("the LLM writes the prompts", 0, 0)
    written = _converse(reader, lines, transcript)
    kept, dropped = check_prompts(written, class_names, discover.prefix, discover.max_domains)
    transcript.append({"step": "check", "kept": kept, "dropped": dropped})
    if not kept:
        reasons = "; ".join(f"{drop['prompt']!r} {drop['reason']}" for drop in dropped)
        raise StageError(f"none of the LLM's prompts can be used ({reasons}); try another llm.model")
    return Discovery(domain_rows(kept, captions, discover.prefix, len(read)), transcript)


def given_domains(captions: Captions, discover: Discover) -> Discovery:
    """The user's own `discover.prompts` as domains, which no LLM has read captions for."""
    given = list(dict.fromkeys(discover.prompts or []))
    return Discovery(domain_rows(given, captions, discover.prefix, 0), [{"step": "given", "prompts": given}])


# ------------------------------------------------------------------ reading


def caption_budget(client: Client, discover: Discover, llm: Llm) -> int:
    """Tokens that the captions of one request may take.

    The context holds both turns: their requests, and two answers of at most `discover.max_tokens`.
    Raises StageError when nothing is left.
    """
    empty = prompts.summarise([], discover.prefix, discover.max_domains)
    requests = client.count_message_tokens(prompts.generalise(empty, "", discover.prefix)) + SLACK_TOKENS
    budget = llm.max_model_len - requests - 2 * discover.max_tokens
    if budget < 1:
        raise StageError(
            f"llm.max_model_len of {llm.max_model_len} tokens leaves no room for captions: the requests take "
            f"{requests} and two answers {2 * discover.max_tokens}; raise it or lower discover.max_tokens"
        )
    return budget


def _converse(reader: Reader, lines: list[str], transcript: list[dict[str, Any]]) -> list[str]:
    """Both turns over one chunk. Returns the prompts as written."""
    discover = reader.discover
    first, described = reader.summarise(lines)
    asked = prompts.generalise(first, described.json, discover.prefix)
    schema = prompts.prompts_schema(discover.prefix, discover.max_domains)
    answer = reader.client.ask(asked, schema, discover.max_tokens, discover.temperature)
    transcript.append({"step": "discover", "messages": [*asked, spoken(answer)]})
    return answer.items


# ------------------------------------------------------------------ checking and counting


def check_prompts(
    written: list[str], class_names: list[str], prefix: str, max_domains: int
) -> tuple[list[str], list[dict[str, str]]]:
    """The prompts that can be used, stripped, in their order; and the others, each with its reason.

    class_names: the labels, and what they are called in prompts.
    """
    classes = [words for name in class_names for words in _class_words(name)]
    kept: list[str] = []
    dropped = []
    for prompt in written:
        text = " ".join(prompt.split()).rstrip(" .")
        reason = _fault(text, classes, prefix)
        if reason is None and text.lower() in (other.lower() for other in kept):
            reason = "is there already"
        if reason is None and len(kept) == max_domains:
            reason = f"is one more than discover.max_domains ({max_domains})"
        if reason is None:
            kept.append(text)
        else:
            dropped.append({"prompt": prompt[: longest_prompt(prefix)], "reason": reason})
    return kept, dropped


def domain_rows(kept: list[str], captions: Captions, prefix: str, captions_read: int) -> list[dict[str, Any]]:
    """Rows of `tables.DOMAINS`. `captions` are all there are, as they came from the captioner."""
    added = {prompt: content_words(prompt, prefix) for prompt in kept}
    support = dict.fromkeys(kept, 0)
    for texts, counts in distinct_captions(captions).batches():
        said = [set(words_of(text)) for text in texts]
        for prompt, words in added.items():
            support[prompt] += int(counts[[words <= each for each in said]].sum())
    return [
        {
            "domain_id": content_id(prompt),
            "prompt": prompt,
            "support": support[prompt],
            "captions_read": captions_read,
        }
        for prompt in kept
    ]


def content_words(prompt: str, prefix: str) -> set[str]:
    """The words that the prompt adds to the prefix, without articles, prepositions and the like."""
    return set(words_of(prompt)) - set(words_of(prefix)) - STOP_WORDS


def longest_prompt(prefix: str) -> int:
    """Characters of the longest prompt that the schema allows, which a server may ignore."""
    return len(prompts.clean_prefix(prefix)) + 1 + prompts.MAX_CHARACTERS


def _fault(prompt: str, classes: Iterable[list[str]], prefix: str) -> str | None:
    if len(prompt) > longest_prompt(prefix):
        return f"is longer than {longest_prompt(prefix)} characters"
    if not prompt.isprintable() or "�" in prompt:
        return "has characters that cannot be printed"
    if prompt.count("{}") != 1 or re.search(r"[{}]", prompt.replace("{}", "")):
        return "does not have exactly one {}"
    if not content_words(prompt, prefix):
        return "adds nothing to the prefix"
    start = prompts.clean_prefix(prefix)
    said = prompt.removeprefix(start) if prompt.startswith(start) else prompt
    # iWildCam has a class "background"; "trees in the background" does not name it.
    words = words_of(said.lower().replace("in the background", " "))
    for name in classes:
        windows = (words[i : i + len(name)] for i in range(len(words) - len(name) + 1))
        if any(all(map(_is_word, window, name)) for window in windows):
            return f"names the class {' '.join(name)!r}"
    return None


def _class_words(name: str) -> list[list[str]]:
    """What says a class in a prompt: its words, with and without their numbers; nothing that any prompt may say.

    "2012_Audi_S5" -> ["2012", "audi", "s5"], ["audi", "s5"]; "7", "A" and "in" -> nothing.
    """
    words = words_of(name)
    lettered = [word for word in words if not word.isdigit()]
    ways = [words, lettered] if lettered != words else [words]
    return [way for way in ways if not _is_common(way)]


def _is_common(words: list[str]) -> bool:
    """Whether prompts hold these words whatever their class: none, one number, or articles and single letters."""
    letters = [word for word in words if not word.isdigit()]
    if not letters:
        return len(words) < 2
    return all(word in STOP_WORDS or (len(word) == 1 and word.isascii()) for word in letters)


def _is_word(said: str, word: str) -> bool:
    """Whether the two are the same word, one of them perhaps in the plural."""
    return any(said + a == word + b for a, b in (("", ""), ("s", ""), ("es", ""), ("", "s"), ("", "es")))
