"""What is found out about `llm.base_url` before the first stage."""

import pyarrow as pa
import pytest

from alia_ray.checks.inputs import check_inputs
from alia_ray.checks.servers import wrong_things
from alia_ray.config import Config, ConfigError, parse_config
from alia_ray.state import State
from alia_ray.store.tables import DOMAINS, content_id


def settings(base_url: str, folder: str = "nowhere", **sections) -> Config:
    llm = {"base_url": base_url, "model": {"name": "fake"}, "request_timeout_s": 5}
    return parse_config({"run": {"folder": folder}, "source": {"kind": "miniature"}, "llm": llm, **sections})


def test_a_server_that_has_the_model_is_asked_for_its_list_alone(fake_llm, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert list(wrong_things(settings(fake_llm.base_url))) == []
    assert fake_llm.calls == [("/v1/models", "Bearer sk-secret")]


def test_a_server_that_is_not_there_is_one_sentence():
    [said] = wrong_things(settings("http://127.0.0.1:9/v1"))
    assert "no LLM answers at http://127.0.0.1:9/v1" in said
    assert "llm.base_url" in said


def test_nothing_is_asked_when_the_prompts_are_given():
    given = {"prompts": ["a photo of a {} at sea"]}
    assert list(wrong_things(settings("http://127.0.0.1:9/v1", discover=given))) == []


def test_a_model_that_is_not_served_is_told_what_is(fake_llm):
    fake_llm.models = [{"id": "qwen3:8b"}]
    fake_llm.reply = lambda request: (404, "model 'fake' not found")
    [said] = wrong_things(settings(fake_llm.base_url))
    assert "no model 'fake' but qwen3:8b; set llm.model.name" in said


@pytest.mark.parametrize("models", [None, [], [{"id": "/models/qwen.gguf"}]])
def test_a_server_with_another_list_or_none_is_believed_when_it_answers(fake_llm, models):
    fake_llm.models, fake_llm.reply = models, lambda request: "yes"
    assert list(wrong_things(settings(fake_llm.base_url))) == []
    [request] = fake_llm.requests
    assert request["messages"] == [{"role": "user", "content": "Say yes."}]


def test_a_shorter_context_than_configured_is_said(fake_llm):
    fake_llm.models = [{"id": "fake", "max_model_len": 4096}]
    [said] = wrong_things(settings(fake_llm.base_url))
    assert said.startswith("llm.max_model_len:")
    assert "4096" in said


def test_a_path_that_is_no_api_is_said(fake_llm):
    fake_llm.raw = "<html>Welcome</html>"
    [said] = wrong_things(settings(fake_llm.base_url))
    assert "OpenAI-compatible" in said


def test_a_run_stops_before_its_first_stage(tmp_path):
    with pytest.raises(ConfigError, match=r"no LLM answers"):
        check_inputs(settings("http://127.0.0.1:9/v1", str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_run_whose_domains_are_there_needs_no_server(tmp_path, monkeypatch):
    monkeypatch.setattr(State, "captions", lambda self: pa.chunked_array([["a bird at sea"]]))
    monkeypatch.setattr(State, "classes", ["gull"])
    configured = settings("http://127.0.0.1:9/v1", str(tmp_path))
    prompt = "a photo of a {} bird at sea"
    row = {"domain_id": content_id(prompt), "prompt": prompt, "support": 1, "captions_read": 1}
    State(configured).domains_table().commit(DOMAINS.empty_table().from_pylist([row], schema=DOMAINS))
    check_inputs(configured, ["discover"])


def test_a_server_is_asked_by_the_name_that_is_written_though_a_folder_has_it_too(fake_llm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake").mkdir()
    configured = settings(fake_llm.base_url)
    assert configured.llm.model.name == str(tmp_path / "fake")
    assert list(wrong_things(configured)) == []
    assert [path for path, _ in fake_llm.calls] == ["/v1/models"]
