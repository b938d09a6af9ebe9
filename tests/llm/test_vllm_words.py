"""vLLM's command line and environment, and what its log means; without vLLM."""

from pathlib import Path

import pytest

from alia_ray.config import Llm, Model
from alia_ray.llm import vllm

LLM = Llm(model=Model(name="miniature:llm"))
SOCKET = Path("/tmp/alia/socket")


def test_the_command_suits_a_machine_without_a_gpu():
    command = vllm.command(LLM, 0, SOCKET)
    assert "--dtype=float32" in command
    assert "--enforce-eager" in command
    assert not any(part.startswith("--tensor-parallel-size") for part in command)
    environment = vllm.environment(LLM, 0)
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_command_suits_a_machine_with_gpus(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    llm = Llm(model=Model(name="Qwen/Qwen2.5-7B-Instruct", revision="a09a354"), gpus=4)
    command = vllm.command(llm, 4, SOCKET)
    assert {"--tensor-parallel-size=4", "--revision=a09a354", "--dtype=auto", f"--uds={SOCKET}"} < set(command)
    assert "--enforce-eager" not in command
    assert not {"HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE"} & set(vllm.environment(llm, 4))


def test_cards_are_those_that_ray_gave_and_none_where_it_gave_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert vllm.environment(LLM, 2)["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert vllm.environment(LLM, 0)["CUDA_VISIBLE_DEVICES"] == ""


def test_options_stand_on_the_command_line_before_ours():
    options = {
        "gpu-memory-utilization": 0.8,
        "enforce_eager": False,
        "quantization": "awq",
        "hf_overrides": {"rope_theta": 10},
        "cudagraph_capture_sizes": [1, 2],
        "lora_modules": [{"name": "a", "path": "b"}],
        "chat_template": "--odd",
    }
    command = vllm.command(Llm(model=Model(name="miniature:llm"), options=options), 0, SOCKET)
    text = "\n".join(command)
    assert "--gpu-memory-utilization=0.8\n--quantization=awq" in text
    assert "--no-enforce-eager" in command
    assert '--hf-overrides={"rope_theta": 10}' in command
    assert "--cudagraph-capture-sizes\n1\n2\n" in text
    assert '--lora-modules\n{"name": "a", "path": "b"}\n' in text
    assert "--chat-template=--odd" in command
    assert command.index("--chat-template=--odd") < command.index("--no-trust-remote-code")


SURROUNDINGS = {
    "VLLM_API_KEY": "somebody's",
    "VLLM_PORT": "tcp://10.0.0.1:8000",  # Kubernetes, of a service called vllm
    "VLLM_HOST_IP": "10.0.0.1",
    "VLLM_DP_SIZE": "8",
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_USE_MODELSCOPE": "1",
    "VLLM_MODEL_REDIRECT_PATH": "/somebody/redirects.json",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_LORA_RESOLVER_CACHE_DIR": "/somebody/loras",
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "3",
    "MASTER_ADDR": "gpu-1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "7",
    "OMP_NUM_THREADS": "1",
    "OPENAI_API_KEY": "sk-secret",
}


def test_variables_that_mislead_vllm_do_not_reach_it_and_others_do(monkeypatch):
    meant = {
        "VLLM_CACHE_ROOT": "/big",
        "HF_TOKEN": "hf_x",
        "https_proxy": "http://p:1",
        "PYTHONPATH": "x",
    }
    for name, value in (SURROUNDINGS | meant).items():
        monkeypatch.setenv(name, value)
    environment = vllm.environment(LLM, 1)
    assert not set(SURROUNDINGS) & set(environment)
    assert meant.items() <= environment.items()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "ValueError: Free memory on device cuda:0 (3.1/79.1 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 71.2 GiB).",
            "llm.options.gpu_memory_utilization",
        ),
        (
            "(EngineCore pid=7) ValueError: To serve at least one request with the model's max seq len (8192), "
            "(7.0 GiB KV cache is needed, which is larger than the available KV cache memory (1.0 GiB).",
            "lower llm.max_model_len",
        ),
        ("ValueError: No available memory for the cache blocks.", "llm.gpus"),
        ("  Value error, User-specified max_model_len (9) is greater than the derived max_model_len", "lower it"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "memory ran out"),
        ("ValueError: Model architectures ['FooForCausalLM'] are not supported for now.", "another llm.model"),
        ("RuntimeError: Cannot find any model weights with `foo/bar`", "no safetensors"),
        ("ValueError: The repository foo/bar contains custom code which must be executed", "never run"),
        ("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.", "float16"),
        ("OSError: libnuma.so.1: cannot open shared object file", "libnuma1"),
        ("RuntimeError: Failed to infer device type, please set", "alia-ray[cpu]"),
        ("/usr/bin/python: No module named vllm", "not installed"),
        ("api_server.py: error: unrecognized arguments: --foo-bar=3", "no option foo-bar;"),
        ("api_server.py: error: argument --quantization/-q: invalid choice: 'x'", "value of quantization;"),
        ("api_server.py: error: argument -q/--quantization: invalid choice: 'x'", "value of quantization;"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error.", "HF_TOKEN"),
        (
            "OSError: foo/bar is not a local folder and is not a valid model identifier listed on",
            "correct llm.model",
        ),
        ("OSError: [Errno 28] No space left on device", "disk"),
        ("supervisor: the command ended with status -9", "(RAM)"),
        ("RuntimeError: Engine core initialization failed. Failed core proc(s): {'EngineCore_0': -9}", "(RAM)"),
    ],
)
def test_common_reasons_are_said_plainly(line, said):
    assert said in vllm.reason(f"INFO all is well\n{line}\nINFO good-bye")


def test_an_ordinary_log_gives_no_reason():
    log = "\n".join(
        [
            "INFO non-default args: {'trust_remote_code': False, 'chat_template': 'x'}",
            "INFO Detected the chat template content format to be 'string'.",
            "INFO Initializing a V1 LLM engine with config: trust_remote_code=False, tensor_parallel_size=2",
            "INFO Resolved architecture: Qwen2ForCausalLM",
            "RuntimeError: something new",
            "supervisor: the command ended with status 1",
        ]
    )
    assert vllm.reason(log) is None


def test_the_latest_phase_is_said():
    assert vllm.phase("") == "starts"
    eager = "WARNING Enforce eager set, disabling torch.compile, CUDAGraphs, and JIT kernel warmup.\n"
    assert vllm.phase(f"{eager}INFO Starting to load model x...") == "loads the weights"
    assert vllm.phase("INFO Starting to load model x...\nINFO torch.compile took 20 s") == "compiles"
