"""The server's life, with small Python programs in vLLM's place."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from alia_ray.config import ConfigError, Llm, Model
from alia_ray.errors import StageError
from alia_ray.llm import server

HEALTHY = """
import http.server, os, pathlib, subprocess, sys
port, pids = int(sys.argv[1]), pathlib.Path(sys.argv[2])
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
pids.write_text(f"{os.getpid()} {grandchild.pid}")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
LLM = Llm(model=Model(name="miniature:llm"), startup_timeout_s=20)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: list[int], seconds: float) -> list[int]:
    """The processes that still run after so long."""
    deadline = time.monotonic() + seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [pid for pid in pids if is_running(pid)]


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> None:
    """Run a Python program where vLLM would run."""
    monkeypatch.setattr(
        server, "server_command", lambda llm, port: [sys.executable, "-c", program, str(port), *arguments]
    )


def test_a_server_answers_while_it_is_needed_and_leaves_nothing(monkeypatch, tmp_path):
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with server.serving(LLM) as base_url:
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert httpx.get(base_url.removesuffix("/v1") + "/health").is_success
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))


def test_an_error_in_the_block_stops_the_server_too(monkeypatch, tmp_path):
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with pytest.raises(RuntimeError, match="in the block"), server.serving(LLM):
        raise RuntimeError("in the block")
    assert wait_until_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()], 1) == []


@pytest.mark.parametrize("killed", ["owner", "supervisor and owner's stop"])
def test_a_killed_owner_or_supervisor_leaves_no_process(tmp_path, killed):
    program = textwrap.dedent(f"""
        import sys, time
        from alia_ray.llm import server
        from alia_ray.config import Llm, Model
        command = [sys.executable, "-c", {HEALTHY!r}]
        server.server_command = lambda llm, port: [*command, str(port), {str(tmp_path / "pids")!r}]
        running = server.start_server(Llm(model=Model(name="miniature:llm"), startup_timeout_s=20))
        print(running.group, flush=True)
        sys.stdin.readline()
        server.stop_server(running)
        print("stopped", flush=True)
    """)
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    group = int(owner.stdout.readline())
    pids = [group, *(int(pid) for pid in (tmp_path / "pids").read_text().split())]
    assert all(map(is_running, pids))
    if killed == "owner":
        owner.kill()
    else:
        os.kill(group, signal.SIGKILL)
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert owner.stdout.readline() == "stopped\n"
    assert wait_until_gone(pids, 15) == []
    owner.kill()
    owner.wait()


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(monkeypatch):
    stand_in(monkeypatch, "import sys; print('there is no such model'); sys.exit(3)")
    started = time.monotonic()
    with pytest.raises(StageError, match=r"(?s)ended before it was ready.*no such model.*status 3"):
        server.start_server(LLM)
    assert time.monotonic() - started < 10


def test_a_server_that_never_gets_ready_is_stopped_and_reported(monkeypatch, tmp_path):
    program = "import os, sys, time; open(sys.argv[2], 'w').write(str(os.getpid())); time.sleep(600)"
    stand_in(monkeypatch, program, str(tmp_path / "pid"))
    with pytest.raises(StageError, match=r"not ready.*after 2 s; raise llm\.startup_timeout_s"):
        server.start_server(LLM.model_copy(update={"startup_timeout_s": 2}))
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_the_command_suits_a_machine_without_a_gpu(monkeypatch):
    monkeypatch.setattr(server.torch.cuda, "is_available", lambda: False)
    command = server.server_command(LLM, 8000)
    assert command[command.index("--dtype") + 1] == "float32"
    assert "--enforce-eager" in command
    assert "--tensor-parallel-size" not in command
    environment = server.server_environment(LLM)
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_command_suits_a_machine_with_gpus(monkeypatch):
    monkeypatch.setattr(server.torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    llm = Llm(model=Model(name="Qwen/Qwen2.5-7B-Instruct", revision="a09a354"), gpus=4)
    command = server.server_command(llm, 8000)
    assert command[command.index("--tensor-parallel-size") + 1] == "4"
    assert command[command.index("--revision") + 1] == "a09a354"
    assert command[command.index("--dtype") + 1] == "auto"
    assert "--enforce-eager" not in command
    assert not {"HF_HUB_OFFLINE", "VLLM_CPU_KVCACHE_SPACE"} & set(server.server_environment(llm))


def test_random_weights_are_refused_for_the_llm():
    with pytest.raises(ConfigError, match=r"llm\.model\.name"):
        server.start_server(Llm(model=Model(name="random:llama")))
