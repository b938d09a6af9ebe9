"""The life of a vLLM server: a child process on 127.0.0.1 that cannot outlive its owner."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import torch

from alia_ray.config import ConfigError, Llm
from alia_ray.errors import StageError
from alia_ray.models.loading import is_random, resolve

LOG_LINES, FIRST_ERRORS = 25, 5  # of the server's log in an error: its end, and what went wrong first
STOP_TIMEOUT_S = 30.0  # longer than the supervisor's grace
GROUP_TIMEOUT_S = 5.0  # for the kernel to take down what was killed


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and how it is watched and stopped."""

    base_url: str
    log: Path
    group: int  # process group of the supervisor and of everything vLLM starts
    link: socket.socket  # to the supervisor; its closing, by either side, ends the server


@contextlib.contextmanager
def serving(llm: Llm) -> Iterator[str]:
    """Run a vLLM server for the `with` block; gives its base URL (http://127.0.0.1:PORT/v1)."""
    server = start_server(llm)
    try:
        yield server.base_url
    finally:
        stop_server(server)


def start_server(llm: Llm) -> Server:
    """Start vLLM and wait until it is healthy.

    Raises ConfigError for a model that vLLM cannot serve by its name, and StageError, with the end of the
    log, when the server dies or is not ready after `llm.startup_timeout_s`; nothing is left running then.
    """
    port = _free_port()
    command, environment = server_command(llm, port), server_environment(llm)
    descriptor, log = tempfile.mkstemp(prefix="vllm-", suffix=".log")
    link, theirs = socket.socketpair()
    with theirs, os.fdopen(descriptor, "w") as output:
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("supervisor.py")), *command],
            stdin=theirs,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=True,
        )
    with link.makefile("r") as lines:
        group = int(lines.readline())
    server = Server(f"http://127.0.0.1:{port}/v1", Path(log), group, link)
    try:
        _wait_until_healthy(server, llm)
    except BaseException:
        stop_server(server, keep_log=True)
        raise
    return server


def stop_server(server: Server, keep_log: bool = False) -> None:
    """Stop the server and wait until all its processes are gone. Harmless when it is gone already."""
    with server.link as link:
        link.shutdown(socket.SHUT_WR)
        _has_ended(link, STOP_TIMEOUT_S)
    deadline = time.monotonic() + GROUP_TIMEOUT_S
    with contextlib.suppress(ProcessLookupError):  # what is left: dying, or its supervisor was killed alone
        while time.monotonic() < deadline:
            os.killpg(server.group, signal.SIGKILL)
            time.sleep(0.05)
    if not keep_log:
        server.log.unlink(missing_ok=True)


def server_command(llm: Llm, port: int) -> list[str]:
    """The command line of vLLM's OpenAI-compatible server for `llm` on this machine."""
    cuda = torch.cuda.is_available()
    dtype = "float32" if llm.model.dtype == "auto" and not cuda else llm.model.dtype
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", _model_path(llm), "--served-model-name", llm.model.name]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", dtype, "--max-model-len", str(llm.max_model_len), "--load-format", "safetensors"]
    # Without the second setting a weak model fills its answer with white space.
    command += ["--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}']
    if llm.model.revision:
        command += ["--revision", llm.model.revision, "--tokenizer-revision", llm.model.revision]
    if cuda:
        command += ["--tensor-parallel-size", str(llm.gpus)]
    else:
        command += ["--enforce-eager", "--max-num-seqs", "8"]
    if cuda and llm.gpus > 1:  # all on this node: never vLLM's own use of Ray
        command += ["--distributed-executor-backend", "mp"]
    return command


def server_environment(llm: Llm) -> dict[str, str]:
    """This process's environment and what vLLM needs of its own."""
    environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
    if not torch.cuda.is_available():
        environment["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GiB
    if Path(_model_path(llm)).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    return environment


def _model_path(llm: Llm) -> str:
    if is_random(llm.model.name):
        raise ConfigError(
            f"llm.model.name: a language model cannot be {llm.model.name!r}; name a hub id, a local folder "
            "or miniature:llm"
        )
    return resolve(llm.model.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_healthy(server: Server, llm: Llm) -> None:
    url = server.base_url.removesuffix("/v1") + "/health"
    deadline = time.monotonic() + llm.startup_timeout_s
    while time.monotonic() < deadline:
        if _has_ended(server.link, 0.5):
            raise StageError(f"vLLM ended before it was ready to serve {llm.model.name}; {_log_tail(server)}")
        with contextlib.suppress(httpx.TransportError):  # not listening yet
            if httpx.get(url, timeout=5.0).is_success:
                return
    raise StageError(
        f"vLLM was not ready to serve {llm.model.name} after {llm.startup_timeout_s:g} s; raise "
        f"llm.startup_timeout_s if it only needs longer; {_log_tail(server)}"
    )


def _has_ended(link: socket.socket, wait_s: float) -> bool:
    """Whether the supervisor, and with it the server, ends within `wait_s`."""
    link.settimeout(wait_s)
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def _log_tail(server: Server) -> str:
    """The log's end, and before it the first errors in it: vLLM's last words only point to them."""
    lines = server.log.read_text(errors="replace").splitlines()
    errors = [line for line in lines[:-LOG_LINES] if re.search(r"\b\w+(Error|Exception)\b *[:(]", line)]
    first = "".join(f"{line}\n" for line in errors[:FIRST_ERRORS])
    return f"its log, {server.log}, says:\n{first}…\n" + "\n".join(lines[-LOG_LINES:])
