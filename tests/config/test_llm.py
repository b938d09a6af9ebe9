import pytest

from alia_ray.config import ConfigError, Llm, Model, parse_config


def llm(**keys) -> Llm:
    return parse_config({"run": {"folder": "x"}, "source": {"kind": "miniature"}, "llm": keys}).llm


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://gpu-7:8000", "http://gpu-7:8000/v1"),
        ("http://gpu-7:8000/", "http://gpu-7:8000/v1"),
        ("http://gpu-7:8000/v1/", "http://gpu-7:8000/v1"),
        (" https://gateway/team/llm/v1 ", "https://gateway/team/llm/v1"),
        ("https://host/v1beta/openai/", "https://host/v1beta/openai"),
        ("http://[::1]:11434/v1/chat/completions", "http://[::1]:11434/v1"),
    ],
)
def test_a_base_url_is_taken_as_it_is_mostly_typed(typed, meant):
    assert llm(base_url=typed).base_url == meant


@pytest.mark.parametrize("typed", ["gpu-7:8000", "localhost:8000/v1", "ftp://gpu-7", "http://", "/v1"])
def test_a_base_url_that_is_none_is_refused_with_an_example(typed):
    with pytest.raises(ConfigError, match=r"^llm\.base_url: must be the address.*http://gpu-7:8000/v1"):
        llm(base_url=typed)


@pytest.mark.parametrize("typed", ["https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_a_base_url_with_a_secret_is_refused_without_showing_it(typed):
    with pytest.raises(ConfigError, match=r"^llm\.base_url: must") as failure:
        llm(base_url=typed)
    assert "secret" not in str(failure.value)


def test_options_are_taken_under_either_spelling():
    assert llm(options={"gpu-memory-utilization": 0.8, "enforce_eager": True}).options == {
        "gpu_memory_utilization": 0.8,
        "enforce_eager": True,
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_model_len": 10}, r"max_model_len is llm\.max_model_len; set that"),
        ({"max-model-len": 10}, r"set that"),
        ({"tensor-parallel-size": 2}, r"llm\.gpus"),
        ({"served_model_name": "x"}, r"llm\.model\.name"),
        ({"port": 80}, "private socket"),
        ({"api_key": "x"}, "private socket"),
        ({"trust_remote_code": True}, "code that the model brings"),
        ({"trust_remote": True}, "short for trust_remote_code"),
        ({"hf_token": "x"}, "HF_TOKEN"),
        ({"load_format": "pt"}, "safetensors"),
        ({"middleware": ["os.system"]}, "run code"),
        ({"additional_config.a": 1}, "run code"),
        ({"no_enforce_eager": True}, "write enforce_eager: false"),
        ({"--enforce-eager": True}, "without the dashes"),
        ({"a b": 1}, "no option"),
        ({"quantization": None}, "no value"),
        ({"lora_modules": ["--trust-remote-code"]}, "begin with a dash"),
        ({"enforce-eager": True, "enforce_eager": True}, "twice"),
    ],
)
def test_options_that_cannot_be_handed_on_are_refused_with_what_to_do(options, said):
    with pytest.raises(ConfigError, match=rf"^llm\.options.*{said}"):
        llm(options=options)


@pytest.mark.parametrize(
    "name", ["tokenizer", "reasoning_parser", "tokenizer_mode", "model_impl", "config_format", "hf_overrides"]
)
def test_options_of_like_names_are_taken(name):
    assert llm(options={name: "x"}).options == {name: "x"}


def test_options_need_a_server_of_ours():
    with pytest.raises(ConfigError, match="options are for a server that the run starts"):
        llm(base_url="http://gpu-7:8000/v1", options={"enforce_eager": True})


def test_the_answers_depend_on_options_that_alter_them_and_on_no_others():
    model = Model(name="m", revision="r")
    assert Llm(model=model).identity == ["m", "r", 8192]
    assert Llm(model=model, options={"gpu_memory_utilization": 0.5, "enforce_eager": True}).identity == [
        "m",
        "r",
        8192,
    ]
    assert Llm(model=model, options={"quantization": "awq"}).identity == ["m", "r", 8192, {"quantization": "awq"}]
