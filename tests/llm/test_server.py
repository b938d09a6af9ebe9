"""The server's life, with small Python programs in vLLM's place."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from alia_ray.config import ConfigError, Llm, Model
from alia_ray.errors import StageError
from alia_ray.llm import server, vllm
from alia_ray.llm.client import Client
from alia_ray.llm.connection import open_client
from alia_ray.store.run_folder import RunFolder

vllm_command = vllm.command
HEALTHY = """
import http.server, os, pathlib, socketserver, subprocess, sys
socket, pids = sys.argv[1], pathlib.Path(sys.argv[2])
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
pids.write_text(f"{os.getpid()} {grandchild.pid}")
class Handler(http.server.BaseHTTPRequestHandler):
    def address_string(self):
        return "somebody"
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        print("EngineDeadError: the engine is gone", flush=True)
        os._exit(7)
socketserver.UnixStreamServer(socket, Handler).serve_forever()
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
        vllm, "command", lambda llm, gpus, socket: [sys.executable, "-c", program, str(socket), *arguments]
    )


def test_a_server_answers_while_it_is_needed_and_leaves_nothing(monkeypatch, tmp_path):
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with server.serving(LLM, 0, RunFolder(str(tmp_path))) as endpoint:
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        with open_client(endpoint, 5) as client:
            assert client.get("http://vllm/health").is_success
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert not Path(endpoint.socket).parent.exists()


def test_an_error_in_the_block_stops_the_server_too(monkeypatch, tmp_path):
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with pytest.raises(RuntimeError, match="in the block"), server.serving(LLM, 0, RunFolder(str(tmp_path))):
        raise RuntimeError("in the block")
    assert wait_until_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()], 1) == []


@pytest.mark.parametrize("killed", ["owner", "supervisor and owner's stop"])
def test_a_killed_owner_or_supervisor_leaves_no_process(tmp_path, killed):
    program = textwrap.dedent(f"""
        import sys, time
        from alia_ray.llm import server, vllm
        from alia_ray.config import Llm, Model
        command = [sys.executable, "-c", {HEALTHY!r}]
        vllm.command = lambda llm, gpus, socket: [*command, str(socket), {str(tmp_path / "pids")!r}]
        llm = Llm(model=Model(name="miniature:llm"), startup_timeout_s=20)
        running = server.launch(llm, 0)
        server.wait_until_healthy(running, llm)
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


def test_a_server_that_dies_is_reported_with_its_log_which_stays_in_the_run_folder(monkeypatch, tmp_path):
    stand_in(monkeypatch, "import sys; print('there is no such model at http://me:secret@proxy'); sys.exit(3)")
    started = time.monotonic()
    with (
        pytest.raises(StageError, match=r"(?s)ended before it was ready.*no such model.*status 3") as failure,
        server.serving(LLM, 0, RunFolder(str(tmp_path))),
    ):
        pass
    assert time.monotonic() - started < 10
    [log] = (tmp_path / "logs").glob("vllm-*.log")
    assert str(log) in str(failure.value)
    assert "there is no such model" in log.read_text()
    assert "secret" not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_server_that_dies_while_answering_is_reported_as_our_own(monkeypatch, tmp_path):
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with (
        pytest.raises(StageError, match=r"(?s)the run's own vLLM .*ended.*EngineDeadError.*status 7") as failure,
        server.serving(LLM, 0, RunFolder(str(tmp_path))) as endpoint,
    ):
        Client(endpoint, "fake", 10, seed=0).ask([], {"properties": {"prompts": {}}}, 16, 0)
    assert "base_url" not in str(failure.value)
    [log] = (tmp_path / "logs").glob("vllm-*.log")
    assert str(log) in str(failure.value)


def test_a_log_that_cannot_be_kept_does_not_hide_what_stopped_the_server(monkeypatch, tmp_path):
    stand_in(monkeypatch, "import sys; print('there is no such model'); sys.exit(3)")
    (tmp_path / "logs").write_text("a file where the folder should be")
    with (
        pytest.raises(StageError, match=r"(?s)ended before.*its log, (\S+), says.*no such model") as failure,
        server.serving(LLM, 0, RunFolder(str(tmp_path))),
    ):
        pass
    place = Path(str(failure.value).split("its log, ")[1].split(", says")[0])
    assert "no such model" in place.read_text()


def test_a_server_that_never_gets_ready_is_stopped_and_reported(monkeypatch, tmp_path):
    program = "import os, sys, time; open(sys.argv[2], 'w').write(str(os.getpid())); time.sleep(600)"
    stand_in(monkeypatch, program, str(tmp_path / "pid"))
    slow = LLM.model_copy(update={"startup_timeout_s": 2})
    with (
        pytest.raises(StageError, match=r"not ready.*after 2 s; raise llm\.startup_timeout_s"),
        server.serving(slow, 0, RunFolder(str(tmp_path))),
    ):
        pass
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_proxy_of_the_environment_does_not_come_between(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with server.serving(LLM.model_copy(update={"startup_timeout_s": 5}), 0, RunFolder(str(tmp_path))):
        pass


def test_nobody_else_can_answer_in_the_place_of_our_server(monkeypatch, tmp_path):
    """A server has no port that another process could take: its socket lies where only this user may go."""
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with server.serving(LLM, 0, RunFolder(str(tmp_path))) as endpoint:
        assert stat.S_IMODE(Path(endpoint.socket).parent.stat().st_mode) == 0o700
        command = vllm_command(LLM, 0, Path(endpoint.socket))
    assert f"--uds={endpoint.socket}" in command
    assert not any(part.startswith(("--port", "--host")) for part in command)


def test_a_long_folder_for_temporary_files_still_has_room_for_a_socket(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    stand_in(monkeypatch, HEALTHY, str(tmp_path / "pids"))
    with server.serving(LLM, 0, RunFolder(str(tmp_path))) as endpoint:
        assert len(endpoint.socket) < 100
    assert list(deep.iterdir()) == []


def test_random_weights_are_refused_for_the_llm(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"llm\.model\.name"),
        server.serving(Llm(model=Model(name="random:llama")), 0, RunFolder(str(tmp_path))),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
