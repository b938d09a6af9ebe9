"""What a language model or its server says is bounded before it goes anywhere."""

import json

import pytest

from alia_ray.llm.client import Client
from alia_ray.llm.connection import ServerFailure

CLEARS_THE_SCREEN = "\x1b[2J"
TURNS_ROUND = "\u202e"
SCHEMA = {"properties": {"prompts": {"type": "array"}}}


def is_harmless(text: str) -> bool:
    return CLEARS_THE_SCREEN not in text and TURNS_ROUND not in text


def test_a_language_models_answer_is_cut_and_cleaned_before_it_is_kept(fake_llm):
    answer = json.dumps({"prompts": [f"a {{}} at sea{CLEARS_THE_SCREEN}"]})
    fake_llm.reply = lambda request: f"{TURNS_ROUND}{'x' * 300_000}{answer}"
    said = Client(fake_llm.endpoint, "fake", 10, seed=0).ask([], SCHEMA, 100, 0.0)
    assert said.items == ["a {} at sea�[2J"]
    assert len(said.text) <= 100_000
    assert is_harmless(said.text)


@pytest.mark.parametrize("status", [400, 401])
def test_what_a_server_says_of_an_error_is_cut_and_cleaned(fake_llm, status):
    fake_llm.reply = lambda request: (status, f"{CLEARS_THE_SCREEN}{TURNS_ROUND}{'x' * 10_000}")
    with pytest.raises(ServerFailure) as refused:
        Client(fake_llm.endpoint, "fake", 10, seed=0).says_anything()
    assert is_harmless(str(refused.value))
    assert len(str(refused.value)) < 800


def test_an_answer_that_does_not_end_is_not_read_to_its_end(fake_llm, monkeypatch):
    monkeypatch.setattr("alia_ray.llm.connection.MOST_BYTES", 10_000)
    fake_llm.reply = lambda request: "x" * 20_000
    with pytest.raises(ServerFailure, match="answers with more than 10000 bytes"):
        Client(fake_llm.endpoint, "fake", 10, seed=0).says_anything()
