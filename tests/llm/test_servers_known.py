"""What OpenAI-compatible servers are known to refuse, and how they answer."""

import pytest

from alia_ray.errors import StageError
from alia_ray.llm import prompts
from alia_ray.llm.client import Client
from alia_ray.llm.connection import Endpoint

SCHEMA = prompts.descriptions_schema(9)
MESSAGES = [{"role": "user", "content": "four words are here"}]
GOOD = '{"descriptions":["a","b"]}'


def ask(client: Client):
    return client.ask(MESSAGES, SCHEMA, max_tokens=64, temperature=0.0)


def client_of(fake_llm) -> Client:
    return Client(fake_llm.endpoint, "fake", 5, seed=5)


# ------------------------------------------------------------------ what they refuse


def no_json_schema(request):
    """DeepSeek."""
    if request.get("response_format", {}).get("type") == "json_schema":
        return 400, "This response_format type is unavailable now"
    return GOOD


def only_text(request):
    """A server without any structured output, which says so as pydantic does."""
    return (
        (422, "body -> response_format: Extra inputs are not permitted") if "response_format" in request else GOOD
    )


def grammar_fails(request):
    """llama.cpp with a pattern that its grammars do not know."""
    schema = request.get("response_format", {}).get("type") == "json_schema"
    return (500, "failed to parse grammar") if schema else GOOD


def wordless(request):
    return (400, "Bad Request") if "response_format" in request else GOOD


def no_seed(request):
    """Mistral calls it random_seed."""
    return (422, '[{"type": "extra_forbidden", "loc": ["body", "seed"]}]') if "seed" in request else GOOD


def openai_reasoning(request):
    if "max_tokens" in request:
        return (
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'",
        )
    if "temperature" in request:
        return 400, "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1)"
    return GOOD


@pytest.mark.parametrize(
    ("server", "left"),
    [
        (no_json_schema, {"response_format", "max_tokens", "seed", "temperature"}),
        (only_text, {"max_tokens", "seed", "temperature"}),
        (grammar_fails, {"response_format", "max_tokens", "seed", "temperature"}),
        (wordless, {"max_tokens", "seed", "temperature"}),
        (no_seed, {"response_format", "max_tokens", "temperature"}),
        (openai_reasoning, {"response_format", "max_completion_tokens", "seed"}),
    ],
)
def test_a_part_that_a_server_refuses_is_left_out_and_stays_out(fake_llm, pauses, server, left):
    fake_llm.reply = server
    client = client_of(fake_llm)
    assert ask(client).items == ["a", "b"]
    refused = len(fake_llm.requests)
    assert ask(client).items == ["a", "b"]
    assert len(fake_llm.requests) == refused + 1
    assert set(fake_llm.requests[-1]) - {"model", "messages"} == left
    assert pauses == []


def test_a_refusal_that_nothing_helps_against_is_shown(fake_llm):
    fake_llm.reply = lambda request: (400, "no such luck")
    with pytest.raises(StageError, match=r"refused \(400\): no such luck"):
        ask(client_of(fake_llm))


def test_a_context_that_is_too_short_names_its_key_at_once(fake_llm):
    fake_llm.reply = lambda request: (400, "This model's maximum context length is 4096 tokens; lower max_tokens")
    with pytest.raises(StageError, match=r"4096 tokens.*lower llm\.max_model_len"):
        ask(client_of(fake_llm))
    assert len(fake_llm.requests) == 1


def test_an_unknown_model_is_told_what_there_is(fake_llm):
    fake_llm.models = [{"id": "qwen3:8b"}, {"id": "llama3:latest"}]
    fake_llm.reply = lambda request: (404, 'model "fake" not found')
    with pytest.raises(StageError, match=r"no model 'fake' but qwen3:8b, llama3:latest; set llm\.model\.name"):
        ask(client_of(fake_llm))


def test_a_key_that_is_missing_or_wrong_is_said_and_never_shown(fake_llm, monkeypatch):
    fake_llm.reply = lambda request: (401, "Unauthorized")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(StageError, match=r"does not take the key \(401\).*set OPENAI_API_KEY"):
        ask(client_of(fake_llm))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(StageError, match=r"is OPENAI_API_KEY the right one\?") as failure:
        ask(client_of(fake_llm))
    assert "sk-secret" not in str(failure.value)
    assert fake_llm.calls[-1][1] == "Bearer sk-secret"


def test_a_server_that_has_moved_says_where(fake_llm):
    fake_llm.reply = lambda request: (308, "", {"location": "https://gateway/v1/chat/completions"})
    with pytest.raises(StageError, match=r"is at https://gateway/v1/chat/completions now; correct llm\.base_url"):
        ask(client_of(fake_llm))


# ------------------------------------------------------------------ when they are busy


@pytest.mark.parametrize(
    ("busy", "waited"),
    [
        ((429, "slow down", {"retry-after": "7"}), [7.0]),
        ((429, "slow down", {"retry-after": "86400"}), [60.0]),
        ((503, "Loading model", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), [1.0]),
        ((502, "bad gateway"), [1.0]),
        ((529, "overloaded"), [1.0]),
        (None, [1.0]),
    ],
)
def test_a_busy_server_or_one_that_hangs_up_is_asked_again(fake_llm, pauses, busy, waited):
    replies = iter([busy, GOOD])
    fake_llm.reply = lambda request: next(replies)
    assert ask(client_of(fake_llm)).items == ["a", "b"]
    assert pauses == waited
    assert fake_llm.requests[0] == fake_llm.requests[1]


def test_a_server_that_stays_busy_is_given_up(fake_llm, pauses):
    fake_llm.reply = lambda request: (503, "Loading model")
    with pytest.raises(StageError, match=r"refused \(503\): Loading model"):
        ask(client_of(fake_llm))
    assert pauses == [1, 2, 4, 8, 16]


def test_a_server_that_always_hangs_up_is_given_up(fake_llm, pauses):
    fake_llm.reply = lambda request: None
    with pytest.raises(StageError, match=r"no LLM answers at .*llm\.base_url"):
        ask(client_of(fake_llm))
    assert len(pauses) == 5


# ------------------------------------------------------------------ how they answer


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"```json\n{GOOD}\n```"},
        {"content": f"<think>hm</think>{GOOD}"},
        {"content": None, "reasoning_content": GOOD},
        {"content": "", "reasoning": f"The answer is {GOOD}"},
        {"content": [{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}]},
    ],
)
def test_the_answer_is_found_wherever_it_stands_and_goes_on_without_thoughts(fake_llm, message):
    fake_llm.reply = lambda request: message
    answer = ask(client_of(fake_llm))
    assert (answer.items, answer.json) == (["a", "b"], GOOD)
    assert len(fake_llm.requests) == 1


def test_a_schema_that_leads_to_nothing_is_left_out_at_last(fake_llm):
    fake_llm.reply = lambda request: "" if "response_format" in request else GOOD
    assert ask(client_of(fake_llm)).items == ["a", "b"]
    assert ["response_format" in request for request in fake_llm.requests] == [True, True, False]


def test_a_filtered_answer_is_an_error_that_says_so(fake_llm):
    fake_llm.reply, fake_llm.finish_reason = lambda request: "", "content_filter"
    with pytest.raises(StageError, match=r"content filter.*another llm\.model"):
        ask(client_of(fake_llm))


def test_a_refusing_model_is_quoted(fake_llm):
    fake_llm.reply = lambda request: {"content": None, "refusal": "I cannot help with that"}
    with pytest.raises(StageError, match="I cannot help with that"):
        ask(client_of(fake_llm))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("<html>Welcome to nginx</html>", r"not answer as an OpenAI-compatible API.*/v1"),
        ('{"choices": []}', "not answer as an OpenAI-compatible API"),
        ('{"choices": null, "error": {"message": "upstream is gone", "code": 502}}', "refused: upstream is gone"),
        ('{"choices": [{"message": null}]}', "not answer as an OpenAI-compatible API"),
    ],
)
def test_a_success_that_is_none_is_an_error(fake_llm, raw, said):
    fake_llm.raw = raw
    with pytest.raises(StageError, match=said):
        ask(client_of(fake_llm))


@pytest.mark.parametrize(
    "raw", ["<html></html>", '{"tokens": [1, 2]}', "[3]", '{"count": "3"}', '{"count": null}', '{"count": -1}']
)
def test_another_tokenize_is_no_count_and_is_asked_once(fake_llm, raw):
    fake_llm.raw = raw
    client = client_of(fake_llm)
    assert client.count_tokens("a bird at sea") == client.count_tokens("a bird at sea") == 7
    assert len(fake_llm.calls) == 1


def test_the_key_goes_to_the_api_and_nowhere_else(fake_llm, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    fake_llm.reply = lambda request: GOOD
    client = client_of(fake_llm)
    client.count_tokens("a bird")
    ask(client)
    assert fake_llm.calls == [("/tokenize", None), ("/v1/chat/completions", "Bearer sk-secret")]
    assert Endpoint("http://vllm/v1", "/tmp/socket").headers == {}
