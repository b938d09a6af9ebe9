"""The section `llm`: which language model, where it answers, and what is handed on to vLLM."""

import json
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from alia_ray.config.identity import NEVER
from alia_ray.config.sections import Model, Section

_LISTENING = "has no use: the run's own server listens on a private socket alone; leave it out"
_PLACING = "is set by llm.gpus, on one node; leave it out"
_CODE = "would run code that the configuration names; leave it out"
_REFUSED = {
    **dict.fromkeys(("model", "served_model_name"), "is llm.model.name; set that"),
    **dict.fromkeys(("revision", "tokenizer_revision", "code_revision"), "is llm.model.revision; set that"),
    "dtype": "is llm.model.dtype; set that",
    "max_model_len": "is llm.max_model_len; set that",
    "seed": "is run.seed, which goes with every request; leave it out",
    "load_format": "is safetensors, always: weights in other forms can hold code; leave it out",
    "config": "names another file of options; write them here",
    "hf_token": "is a secret; set HF_TOKEN in the environment of the nodes",
    "trust_remote_code": "would run code that the model brings; choose a model that vLLM knows",
    **dict.fromkeys(("host", "port", "uds", "api_key", "root_path", "grpc_port", "headless"), _LISTENING),
    **dict.fromkeys(("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "enable_ssl_refresh"), _LISTENING),
    **dict.fromkeys(("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "nnodes"), _PLACING),
    **dict.fromkeys(("node_rank", "master_addr", "device_ids", "distributed_executor_backend"), _PLACING),
    **dict.fromkeys(("worker_cls", "worker_extension_cls", "scheduler_cls", "logits_processors"), _CODE),
    **dict.fromkeys(("tool_parser_plugin", "reasoning_parser_plugin", "io_processor_plugin", "middleware"), _CODE),
    **dict.fromkeys(("kv_transfer_config", "ec_transfer_config", "additional_config"), _CODE),
    **dict.fromkeys(("model_class_overrides", "log_config_file", "logging_config"), _CODE),
}
"""Options of vLLM that a configuration cannot hand on, and what to do instead."""

_SPEED_ONLY = frozenset(
    {"gpu_memory_utilization", "enforce_eager", "max_num_seqs", "max_num_batched_tokens"}
    | {"cpu_offload_gb", "kv_cache_memory_bytes", "enable_prefix_caching", "enable_chunked_prefill", "block_size"}
    | {"compilation_config", "disable_custom_all_reduce", "download_dir", "max_parallel_loading_workers"}
    | {"disable_log_stats", "enable_log_requests", "uvicorn_log_level", "safetensors_load_strategy"}
)
"""Options that say how fast and in how much memory vLLM answers, not what."""


def _can_be_handed_on(options: dict[str, Any]) -> dict[str, Any]:
    """The options under vLLM's own names, with underscores. Raises ValueError for one that is refused."""
    named: dict[str, Any] = {}
    for key, value in options.items():
        name = key.replace("-", "_").lower()
        if not re.fullmatch(r"[a-z][a-z0-9_]+(\.\w+)*", name):
            raise ValueError(f"{key!r} is no option of vLLM; write its name without the dashes before it")
        if name.startswith("no_"):
            raise ValueError(f"{key}: write {name.removeprefix('no_')}: false instead")
        bare = name.split(".")[0]
        for refused, why in _REFUSED.items():
            # vLLM takes the beginning of a name for the name, unless it is one of its own.
            if refused.startswith(bare) and bare not in ("tokenizer", "reasoning_parser"):
                raise ValueError(f"{key} {why}" if refused == bare else f"{key}, short for {refused}, {why}")
        if name in named:
            raise ValueError(f"{key} is there twice; leave one out")
        if value is None:
            raise ValueError(f"{key} has no value; give one, or leave it out")
        if any(str(part).startswith("-") for part in (value if isinstance(value, list) else [])):
            raise ValueError(f"{key}: a part of a list cannot begin with a dash")
        named[name] = value
    try:
        json.dumps(named)
    except TypeError as error:
        raise ValueError("an option's value is a number, a text, true, false, a list or a mapping") from error
    return named


def _is_base_url(url: str) -> str:
    """The URL as requests are built on it. Raises ValueError with what is wrong with it.

    Every server known puts its API under /v1 unless it says another path, so a bare host means that.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be the address of a server, such as http://gpu-7:8000/v1")
    if parts.username or parts.password:
        raise ValueError("must hold no name and no password, which messages would show; set OPENAI_API_KEY")
    if parts.query or parts.fragment:
        raise ValueError("must end with a path, such as /v1, without ? and #")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


BaseUrl = Annotated[str, AfterValidator(_is_base_url)]
Options = Annotated[dict[str, Any], AfterValidator(_can_be_handed_on)]


class Llm(Section):
    """The language model that discovers the domains: a vLLM server the run starts, or `base_url`."""

    model: Model = Model(name="Qwen/Qwen2.5-7B-Instruct")
    base_url: BaseUrl | None = Field(
        None, description="an OpenAI-compatible server that already runs, http://…/v1"
    )
    max_model_len: int = Field(8192, ge=256, description="the context window in tokens")
    gpus: int = Field(1, ge=1, description="GPUs of the server (tensor parallel); ignored without GPUs")
    startup_timeout_s: float = Field(
        900, gt=0, description="how long the server may take to start; more for large models on slow disks"
    )
    request_timeout_s: float = Field(300, gt=0, description="how long one answer may take")
    concurrency: Annotated[int, NEVER] = Field(
        64, ge=1, description="requests at once; fewer where a slow server takes too long to answer that many"
    )
    options: Options = Field(
        {},
        description="other options of vLLM by their names, such as gpu_memory_utilization: 0.8",
    )

    @model_validator(mode="after")
    def _options_have_a_server(self) -> "Llm":
        if self.options and self.base_url:
            raise ValueError("options are for a server that the run starts; leave them out, or base_url")
        return self

    @property
    def identity(self) -> list[Any]:
        """What the answers depend on, as plain JSON: the model, its context, and what else alters its answers."""
        altering = {name: value for name, value in self.options.items() if name.split(".")[0] not in _SPEED_ONLY}
        if self.model.dtype != "auto":
            altering["dtype"] = self.model.dtype  # no option has this name
        return [self.model.name, self.model.revision, self.max_model_len, *([altering] if altering else [])]
