import re

import pytest

from alia_ray.llm import prompts

PREFIX = "a photo of a {} bird"


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        ("a photo of a {} bird", "a photo of a bird"),
        ("a photo of a {}", "a photo of a subject"),
        ("a iNaturalist photo of a {} bird.", "a iNaturalist photo of a bird"),
    ],
)
def test_descriptions_have_the_form_of_the_prefix_without_the_class(prefix: str, form: str):
    assert prompts.description_form(prefix) == form


def test_the_first_request_holds_every_caption_the_limit_and_three_examples():
    [message] = prompts.summarise(["a red bird", "a bird in the dark"], PREFIX, 7)
    assert message["role"] == "user"
    assert "\n- a red bird\n- a bird in the dark\n" in message["content"]
    assert "at most 7 " in message["content"]
    assert message["content"].count("\n- a photo of a bird ") == 3
    assert "{}" not in message["content"]


def test_the_second_request_goes_on_from_the_first():
    first = prompts.summarise(["a red bird"], PREFIX, 7)
    talk = prompts.generalise(first, '{"descriptions":["x"]}', PREFIX)
    assert talk[:1] == first
    assert [message["role"] for message in talk] == ["user", "assistant", "user"]
    assert talk[1]["content"] == '{"descriptions":["x"]}'
    assert '"a photo of a {} bird ..."' in talk[2]["content"]


@pytest.mark.parametrize(
    ("prompt", "allowed"),
    [
        ("a photo of a {} bird in the snow", True),
        ("a photo of a {} bird sur un lac, à l'aube", True),
        ("a photo of a {} bird", False),
        ("a photo of a bird in the snow", False),
        ("a photo of a {} bird near a {}", False),
        ("I say: a photo of a {} bird in the snow", False),
    ],
)
def test_the_schema_lets_only_prompts_of_the_form_through(prompt: str, allowed: bool):
    pattern = prompts.prompts_schema(PREFIX, 9)["properties"]["prompts"]["items"]["pattern"]
    assert bool(re.search(pattern, prompt)) is allowed


def test_a_prefix_with_signs_of_regular_expressions_is_taken_as_it_is():
    schema = prompts.prompts_schema("a (blurry?) photo of a {}", 9)
    pattern = schema["properties"]["prompts"]["items"]["pattern"]
    assert re.search(pattern, "a (blurry?) photo of a {} at night")
    assert not re.search(pattern, "a blurr photo of a {} at night")


def test_the_schemas_bound_the_lists():
    assert prompts.descriptions_schema(4)["properties"]["descriptions"]["maxItems"] == 4
    assert prompts.prompts_schema(PREFIX, 4)["properties"]["prompts"]["maxItems"] == 4
