"""Finding the list of strings in what a language model wrote.

A server that enforces the schema gives the bare object. Others put it into a Markdown fence, between words, after
`<think>…</think>`, call its key otherwise, leave the object out, or make objects of the strings. All that is JSON
in the answer is looked at; JSON that is broken is not mended but asked for again.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from alia_ray.plain_text import plain_line

MOST_CHARACTERS = 100_000  # of an answer that are looked at: its end, where the last word stands
THOUGHTS_END = re.compile(
    r"</(?:think(?:ing)?|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final[^{\[]*?<\|message\|>",
    re.IGNORECASE,
)


def find_strings(text: str, key: str) -> list[str] | None:
    """The strings of the list that an answer gives under `key`, or None where there is none.

    What stands after the thoughts counts first, then an object over a bare list, then what stands last.
    """
    text = text[-MOST_CHARACTERS:]
    for part in (THOUGHTS_END.split(text)[-1], text):
        values = list(_json_values(part))
        for wanted in (dict, list):
            for value in reversed([value for value in values if isinstance(value, wanted)]):
                if strings := _strings(value, key):
                    return strings
    return None


def is_plain(text: str, key: str) -> bool:
    """Whether an answer is the object that was asked for and nothing else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and list(value) == [key]


def _json_values(text: str) -> Iterator[Any]:
    """The objects and lists that stand in a text, in their order."""
    decoder = json.JSONDecoder()
    start = re.search(r"[{\[]", text)
    while start:
        end = start.end()
        try:
            value, end = decoder.raw_decode(text, start.start())
            yield value
        except ValueError:  # a bracket of the prose, or a value that was cut
            pass
        except RecursionError:  # thousands of brackets: no answer
            return
        start = re.compile(r"[{\[]").search(text, end)


def _strings(value: Any, key: str) -> list[str] | None:
    """The strings of a list, or of the list in an object: under `key`, else under its only key."""
    if isinstance(value, dict):
        inner = value.get(key, next(iter(value.values())) if len(value) == 1 else None)
        return _strings(inner, key) if isinstance(inner, dict | list) else None
    strings = [_string(item, key) for item in value]
    if any(string is None for string in strings):
        return None
    # A thought may quote the form that was asked for: ["...", "..."].
    return [plain_line(string) for string in strings if string and re.search(r"\w", string)] or None


def _string(item: Any, key: str) -> str | None:
    """An item that is a string, or an object around one: {"prompt": "…"}."""
    if isinstance(item, dict):
        item = item.get(key.removesuffix("s"), next(iter(item.values())) if len(item) == 1 else None)
    return item if isinstance(item, str) else None
