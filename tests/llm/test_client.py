import pytest

from alia_ray.errors import StageError
from alia_ray.llm import prompts
from alia_ray.llm.client import Client
from alia_ray.llm.connection import Endpoint

SCHEMA = prompts.descriptions_schema(9)
MESSAGES = [{"role": "user", "content": "four words are here"}]


def client_of(fake_llm, timeout_s: float = 10) -> Client:
    return Client(fake_llm.endpoint, "fake", timeout_s, seed=5)


def ask(client: Client):
    return client.ask(MESSAGES, SCHEMA, max_tokens=64, temperature=0.0)


def test_an_answer_is_asked_for_by_schema_and_seed(fake_llm):
    fake_llm.reply = lambda request: '{"descriptions":["a","b"]}'
    answer = ask(client_of(fake_llm))
    assert answer.items == ["a", "b"]
    assert answer.text == '{"descriptions":["a","b"]}'
    [request] = fake_llm.requests
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (request["seed"], request["max_tokens"], request["temperature"]) == (5, 64, 0.0)


def test_an_answer_cut_at_the_limit_says_which_limit_to_raise(fake_llm):
    fake_llm.reply = lambda request: '{"descriptions":["a'
    fake_llm.finish_reason = "length"
    with pytest.raises(StageError, match=r"cut after 64 tokens; raise discover\.max_tokens"):
        ask(client_of(fake_llm))
    assert len(fake_llm.requests) == 1


@pytest.mark.parametrize(
    "bad", ["no JSON", "[]", '{"descriptions":[]}', '{"descriptions":[1]}', '{"descriptions":["...","..."]}']
)
def test_a_bad_answer_is_asked_for_again_with_another_seed(fake_llm, bad: str):
    replies = iter([bad, '{"descriptions":["a"]}'])
    fake_llm.reply = lambda request: next(replies)
    assert ask(client_of(fake_llm)).items == ["a"]
    first, second = fake_llm.requests
    assert first["seed"] != second["seed"]
    assert second["temperature"] > 0


def test_three_bad_answers_are_an_error_that_shows_the_last(fake_llm):
    fake_llm.reply = lambda request: "Sure! Here you are"
    with pytest.raises(StageError, match=r"in 3 attempts.*Sure! Here"):
        ask(client_of(fake_llm))
    assert len(fake_llm.requests) == 3


def test_a_refusal_shows_what_the_server_said(fake_llm):
    fake_llm.reply = lambda request: (400, "the prompt is too long")
    with pytest.raises(StageError, match=r"refused \(400\).*the prompt is too long"):
        ask(client_of(fake_llm))


def test_a_server_that_is_not_there_is_an_error_of_the_key():
    with pytest.raises(StageError, match=r"no LLM answers.*llm\.base_url"):
        ask(Client(Endpoint("http://127.0.0.1:9/v1"), "fake", 1, seed=0))


def test_tokens_are_counted_by_the_server(fake_llm):
    client = client_of(fake_llm)
    assert client.count_tokens("three words here") == 3
    assert client.count_message_tokens(MESSAGES) == 4


def test_without_a_counting_server_the_estimate_is_on_the_safe_side(fake_llm):
    fake_llm.counts = False
    client = client_of(fake_llm)
    text = "there is a small bird perched on a branch of a tree"
    assert len(text.split()) < client.count_tokens(text) < len(text)
    assert client.count_message_tokens(MESSAGES) > client.count_tokens(MESSAGES[0]["content"])
