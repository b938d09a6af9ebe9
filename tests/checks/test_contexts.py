"""A context that leaves no room is found before the captions are made."""

import json

import pytest

from alia_ray.checks.contexts import wrong_things
from alia_ray.config import load_config
from alia_ray.miniature.recipes import DEMO


def said(*overrides: str) -> list[str]:
    return list(wrong_things(load_config(DEMO, list(overrides))))


def test_the_demo_has_room_and_given_prompts_need_none():
    assert said() == []
    assert said("llm.max_model_len=9999", "discover.prompts=['a {} at sea']") == []


def test_a_context_that_the_answers_fill_is_refused():
    [sentence] = said("discover.max_tokens=128")
    assert sentence.startswith("llm.max_model_len: 256 tokens leave no room for captions")


def test_so_is_one_that_the_requests_fill_where_the_tokenizer_is_here():
    [sentence] = said("discover.max_tokens=125")
    taken = int(sentence.rpartition("what is asked ")[2].partition(";")[0])
    assert taken >= 6
    assert said("discover.max_tokens=125", "llm.base_url=http://127.0.0.1:9/v1") == []  # its tokens are its own


@pytest.mark.parametrize(
    ("about", "refused"),
    [
        ({"max_position_embeddings": 4096}, True),
        ({"text_config": {"max_position_embeddings": 4096}}, True),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, False),
        ({"max_position_embeddings": 8192}, False),
        ({}, False),
    ],
)
def test_a_context_longer_than_the_models_own_is_refused(tmp_path, about, refused):
    (tmp_path / "config.json").write_text(json.dumps(about))
    sentences = said(f"llm.model.name={tmp_path}", "llm.max_model_len=8192")
    assert ["has a context of 4096 tokens" in each for each in sentences] == [True] * refused
