"""Answers as servers and models are known to write them."""

import json

import pytest

from alia_ray.llm.answers import find_strings, is_plain
from alia_ray.plain_text import plain

OBJECT = '{"prompts": ["a {} at sea", "a {} at night"]}'
FOUND = ["a {} at sea", "a {} at night"]


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"Sure! Here are your prompts [as you asked]:\n\n{OBJECT}\n\nTell me if {{anything}} is amiss [1].",
        f'<think>Three? {{no}}, [two]: {{"prompts": ["a {{}} draft"]}}</think>\n{OBJECT}',
        f"<think>I count two of them.\n\n{OBJECT}",
        f'a draft: ["a {{}} draft"]</think>{json.dumps(FOUND)}',
        *(
            f'{{"prompts": ["a {{}} draft"]}}{end}{json.dumps(FOUND)}'
            for end in (
                *("</think>", "</thinking>", "</reasoning>", "</thought>", "[/THINK]", "◁/think▷"),
                "<|channel|>final<|message|>",
                "<|channel|>final <|constrain|>json<|message|>",
            )
        ),
        f'[THINK]{{"prompts": ["a {{}} draft"]}}[/THINK]{OBJECT}',
        f'<|channel|>analysis<|message|>{{"prompts":["a {{}} draft"]}}<|channel|>final<|message|>{OBJECT}',
        json.dumps(FOUND),
        json.dumps({"results": FOUND}),
        json.dumps({"answer": {"prompts": FOUND}}),
        json.dumps({"prompts": FOUND, "count": 2, "notes": ["none"]}),
        json.dumps({"prompts": [{"prompt": text} for text in FOUND]}),
        json.dumps({"prompts": [{"id": i, "prompt": text} for i, text in enumerate(FOUND)]}),
        json.dumps([{"text": text} for text in FOUND]),
        f'I was asked for {{"prompts": ["...", "..."]}}, so {OBJECT}',
        f'{OBJECT} is of the form {{"prompts": ["...", "..."]}}',
    ],
)
def test_the_list_is_found_in(text):
    assert find_strings(text, "prompts") == FOUND


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure!",
        OBJECT[:-3],
        '{"prompts": ["...", "..."]}',
        '{"prompts": "a {} at sea"}',
        '{"prompts": [["a {} at sea"]]}',
        '{"prompts": [1, 2], "others": null}',
        "[" * 100_000,
        '{"a":' * 5_000,
    ],
)
def test_no_list_is_found_in(text):
    assert find_strings(text, "prompts") is None


def test_only_the_bare_object_is_plain():
    assert is_plain(OBJECT, "prompts")
    for text in (f"```{OBJECT}```", json.dumps(FOUND), '{"others": []}', "", "[" * 100_000):
        assert not is_plain(text, "prompts")


def test_halves_of_surrogate_pairs_become_writable():
    [found] = find_strings(r'{"prompts": ["a {} \ud83d at sea"]}', "prompts")
    found.encode()
    plain("\ud83d").encode()
