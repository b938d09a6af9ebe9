"""What vLLM is told, and what it says: its command line, its environment, and the common lines of its log."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from alia_ray.config import ConfigError, Llm
from alia_ray.config.places import as_given
from alia_ray.models.naming import is_random, resolve

NOT_HANDED_ON = frozenset(
    # vLLM's own listening and logging, which are the run's business.
    {"VLLM_API_KEY", "VLLM_PORT", "VLLM_HOST_IP", "VLLM_LOOPBACK_IP", "VLLM_RPC_BASE_PATH"}
    | {"VLLM_CONFIGURE_LOGGING", "VLLM_LOGGING_CONFIG_PATH", "VLLM_KEEP_ALIVE_ON_ENGINE_DEATH"}
    # Doors that a server of somebody's own work may need.
    | {"VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_INSECURE_SERIALIZATION", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"}
    | {"VLLM_TEST_FORCE_LOAD_FORMAT"}
    # Another model than the configuration names, or a longer context than it has.
    | {"VLLM_USE_MODELSCOPE", "VLLM_MODEL_REDIRECT_PATH", "VLLM_ALLOW_LONG_MAX_MODEL_LEN"}
    | {"VLLM_LORA_RESOLVER_CACHE_DIR", "VLLM_LORA_RESOLVER_HF_REPO_LIST"}
    # The job that the node is part of: under torchrun or Slurm vLLM would wait for its other ranks.
    | {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"}
    | {"MASTER_ADDR", "MASTER_PORT"}
    | {"OMP_NUM_THREADS"}  # Ray's, for its own worker
    | {"OPENAI_API_KEY"}  # for llm.base_url alone
)
NOT_HANDED_ON_BEGINNINGS = ("VLLM_DP_", "VLLM_RAY_", "TORCHELASTIC_", "RAY_TRAIN_", "RAY_AUTH_")
"""Variables of the node that must not reach vLLM. All others do, such as HF_TOKEN and VLLM_CACHE_ROOT."""

REASONS = (
    (
        r"is less than desired GPU memory utilization",
        "something else holds memory of the card; lower llm.options.gpu_memory_utilization, or free the card",
    ),
    (
        r"No available memory for the cache blocks",
        "the weights leave no memory for the context; raise llm.options.gpu_memory_utilization or llm.gpus, or "
        "take a smaller or quantised llm.model",
    ),
    (
        r"larger than the available KV cache",
        "the context does not fit beside the weights; lower llm.max_model_len, or raise "
        "llm.options.gpu_memory_utilization",
    ),
    (
        r"greater than the derived max_model_len",
        "llm.max_model_len is longer than the model's own context; lower it",
    ),
    (
        r"CUDA out of memory|OutOfMemoryError",
        "the card's memory ran out; lower llm.max_model_len or llm.options.max_num_seqs, raise llm.gpus, or take "
        "a smaller or quantised llm.model",
    ),
    (
        r"architectures? .*(not supported|is not recognized)|does not recognize this architecture",
        "this version of vLLM does not know the model's architecture; choose another llm.model",
    ),
    (
        r"Cannot find any model weights",
        "the model has no safetensors files, and weights in other forms are not read; choose another llm.model",
    ),
    (
        r"custom code",
        "the model brings Python code of its own, which is never run; choose another llm.model",
    ),
    (
        r"Bfloat16 is only supported|bfloat16 .*compute capability",
        "the card is too old for bfloat16; set llm.model.dtype to float16",
    ),
    (
        r"no kernel image is available|[Cc]ompute capability .*(not supported|at least|only)",
        "the card is too old for this version of vLLM; use a newer card, or llm.base_url",
    ),
    (
        r"divisible by .*tensor.?parallel|must be divisible by tp",
        "the model cannot be split over so many GPUs; set llm.gpus to 1, 2, 4 or 8",
    ),
    (
        r"libnuma\S*: cannot open|No module named 'numa'",
        "the system library libnuma is missing on the node; install it (Debian: libnuma1)",
    ),
    (
        r"Failed to infer device type|libcuda\S*: cannot open",
        "the vLLM that is installed there finds no device it can use; install alia-ray[cpu] on machines without "
        "GPUs, or give llm.base_url or discover.prompts",
    ),
    (
        r"No module named '?vllm",
        "vLLM is not installed on that node; install alia-ray[gpu] or alia-ray[cpu], or give llm.base_url",
    ),
    (
        r"unrecognized arguments?: --(?P<option>[\w.-]+)",
        "vLLM has no option {option}; correct llm.options",
    ),
    (
        r"error: argument (?:-\w+/)?--(?P<option>[\w.-]+)",
        "vLLM does not take this value of {option}; correct llm.options",
    ),
    (
        r"[Gg]ated ?[Rr]epo|401 Client Error",
        "the hub does not give the model away; accept its terms there, and set HF_TOKEN on the nodes",
    ),
    (
        r"RepositoryNotFound|is not a valid model identifier|RevisionNotFound",
        "the hub has no such model or revision; correct llm.model",
    ),
    (
        r"LocalEntryNotFound|[Cc]ouldn't connect to 'https://huggingface|outgoing traffic has been disabled",
        "the model is not on the node and the hub cannot be reached; download it first, or set https_proxy there",
    ),
    (r"No space left on device", "a disk of the node is full; free it, or set HF_HOME to another one"),
    (r"[Aa]ddress already in use|EADDRINUSE", "a port that vLLM wanted was taken in that moment; run it again"),
    (
        r"must provide a chat template|does not have a chat template",
        "the model has no chat template; take one for instructions, or set llm.options.chat_template",
    ),
    (
        r"the command ended with status -9\b|Failed core proc\(s\): .*: -9\b|exit code: -9\b",
        "it was killed, most likely as the node's memory (RAM) ran out; give it more, or take a smaller llm.model",
    ),
)
"""What a line of the log means and what to do; the first that is found counts."""

PHASES = (
    (r"[Cc]apturing CUDA graph|Graph capturing", "captures CUDA graphs"),
    (r"torch\.compile t|Compiling a graph|Dynamo bytecode|[Ww]arming up", "compiles"),
    (r"Starting to load model|Loading safetensors|Loading weights", "loads the weights"),
    (r"Downloading|Fetching \d+ files", "downloads the model"),
)
"""What vLLM is busy with while it starts, by lines of its log; the latest phase first."""

_DEFAULTS: dict[str, Any] = {
    # Without the second setting a weak model fills its answer with white space.
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
_DEFAULTS_ON_CPU: dict[str, Any] = {"enforce_eager": True, "max_num_seqs": 8}


def command(llm: Llm, gpus: int, socket: Path) -> list[str]:
    """The command line of vLLM's OpenAI-compatible server on a Unix socket, with `gpus` GPUs or on the CPU.

    The options of the configuration stand before ours, so that none can undo them.
    Raises ConfigError for a model that vLLM cannot serve by its name.
    """
    dtype = "float32" if llm.model.dtype == "auto" and not gpus else llm.model.dtype
    ours: dict[str, Any] = {
        "model": _model_path(llm),
        "served_model_name": as_given(llm.model.name),
        "uds": str(socket),
        "dtype": dtype,
        "max_model_len": llm.max_model_len,
        "load_format": "safetensors",
        "trust_remote_code": False,
    }
    if llm.model.revision:
        ours |= {"revision": llm.model.revision, "tokenizer_revision": llm.model.revision}
    if gpus:
        ours["tensor_parallel_size"] = gpus
    if gpus > 1:  # all on this node: never vLLM's own use of Ray
        ours["distributed_executor_backend"] = "mp"
    options = {**_DEFAULTS, **({} if gpus else _DEFAULTS_ON_CPU), **llm.options}
    start = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    return [*start, *_arguments(options), *_arguments(ours)]


def environment(llm: Llm, gpus: int) -> dict[str, str]:
    """This process's environment without what would mislead vLLM, and what it needs of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in NOT_HANDED_ON and not name.startswith(NOT_HANDED_ON_BEGINNINGS)
    }
    kept["VLLM_NO_USAGE_STATS"] = "1"
    if not gpus:
        kept["CUDA_VISIBLE_DEVICES"] = ""  # cards of the node are others'
        kept.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    if Path(_model_path(llm)).is_dir():
        kept["HF_HUB_OFFLINE"] = "1"
    return kept


def reason(log: str) -> str | None:
    """What a log says is wrong, in a clause that says what to change; None where it is nothing common."""
    for words, meaning in REASONS:
        if found := re.search(words, log):
            return meaning.format(**found.groupdict())
    return None


def phase(log: str) -> str:
    """What a vLLM that is not ready yet is busy with."""
    return next((doing for words, doing in PHASES if re.search(words, log)), "starts")


def _arguments(options: dict[str, Any]) -> list[str]:
    """Options as vLLM's command line says them."""
    said = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            said.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            said += [f"--{flag}", *(part if isinstance(part, str) else json.dumps(part) for part in value)]
        else:
            said.append(f"--{flag}={json.dumps(value) if isinstance(value, dict) else value}")
    return said


def _model_path(llm: Llm) -> str:
    if is_random(llm.model.name):
        raise ConfigError(
            f"llm.model.name: a language model cannot be {llm.model.name!r}; name a hub id, a local folder "
            "or miniature:llm"
        )
    return resolve(llm.model.name)
