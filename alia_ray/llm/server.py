"""The life of a vLLM server: a child process on a private Unix socket that cannot outlive its owner.

The socket lies in a folder that only this user may enter, so no port has to be free, nobody else on the machine
can answer in vLLM's place or ask it, and no proxy comes between.
"""

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pyarrow.fs as pafs

from alia_ray.config import Llm
from alia_ray.errors import StageError
from alia_ray.llm import vllm
from alia_ray.llm.connection import Endpoint, ServerFailure, open_client
from alia_ray.plain_text import plain
from alia_ray.store.run_folder import LOGS, RunFolder

LOG_LINES, FIRST_ERRORS = 25, 5  # of the server's log in an error: its end, and what went wrong first
STOP_TIMEOUT_S = 30.0  # longer than the supervisor's grace
GROUP_TIMEOUT_S = 5.0  # for the kernel to take down what was killed
DYING_S = 5.0  # for a server that failed to write down why
LONGEST_SOCKET_PATH = 100  # bytes; 107 on Linux, 103 on macOS


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and how it is watched and stopped."""

    folder: Path  # nobody else's: its socket and its log
    group: int  # process group of the supervisor and of everything vLLM starts
    link: socket.socket  # to the supervisor; its closing, by either side, ends the server

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint("http://vllm/v1", str(self.folder / "socket"))

    @property
    def log(self) -> Path:
        """What vLLM writes, and the supervisor at its end."""
        return self.folder / "log"


@contextlib.contextmanager
def serving(
    llm: Llm, gpus: int, run: RunFolder, tell: Callable[[str], None] = lambda phase: None
) -> Iterator[Endpoint]:
    """Run a vLLM server on `gpus` GPUs of this machine, or its CPU, for the `with` block; gives where it answers.

    Its log goes to RUN/logs/ in every way out. `tell` hears what vLLM is busy with while it starts.
    Raises ConfigError for a model that vLLM cannot serve by its name, and StageError, with what is wrong and the
    end of the log, when the server dies, is not ready after `llm.startup_timeout_s`, or fails in the block.
    """
    server = launch(llm, gpus)
    failure = None
    try:
        wait_until_healthy(server, llm, tell)
        yield server.endpoint
    except ServerFailure as error:
        died = " and ended" if has_ended(server.link, DYING_S) else ""
        failure = StageError(f"{error}{died}")
    finally:
        stop_server(server)
        log = server.log.read_text(errors="replace")
        place = _keep_log(server, run)
    if failure is not None:
        reason = vllm.reason(f"{log}\n{failure}")
        raise StageError(f"{failure}{f': {reason}' if reason else ''}; {_excerpt(log, place)}") from failure


def launch(llm: Llm, gpus: int) -> Server:
    """Start vLLM. Raises ConfigError for a model that it cannot serve by its name."""
    folder = _private_folder()
    try:
        command, environment = vllm.command(llm, gpus, folder / "socket"), vllm.environment(llm, gpus)
    except BaseException:
        shutil.rmtree(folder)
        raise
    link, theirs = socket.socketpair()
    with theirs, (folder / "log").open("w") as output:
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("supervisor.py")), *command],
            stdin=theirs,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=True,
        )
    with link.makefile("r") as lines:
        return Server(folder, int(lines.readline()), link)


def wait_until_healthy(server: Server, llm: Llm, tell: Callable[[str], None] = lambda phase: None) -> None:
    """Return once vLLM answers. Raises ServerFailure when it dies first, or takes too long."""
    deadline = time.monotonic() + llm.startup_timeout_s
    with open_client(server.endpoint, 5.0) as client:
        while time.monotonic() < deadline:
            if has_ended(server.link, 0.5):
                raise ServerFailure(f"vLLM ended before it was ready to serve {llm.model.name}")
            tell(vllm.phase(server.log.read_text(errors="replace")))
            with contextlib.suppress(httpx2.TransportError):  # not listening yet
                if client.get("http://vllm/health").is_success:
                    return
    raise ServerFailure(
        f"vLLM was not ready to serve {llm.model.name} after {llm.startup_timeout_s:g} s; raise "
        "llm.startup_timeout_s if it only needs longer"
    )


def stop_server(server: Server) -> None:
    """Stop the server and wait until all its processes are gone. Harmless when it is gone already."""
    with server.link as link:
        with contextlib.suppress(OSError):  # the other end is gone
            link.shutdown(socket.SHUT_WR)
        has_ended(link, STOP_TIMEOUT_S)
    deadline = time.monotonic() + GROUP_TIMEOUT_S
    with contextlib.suppress(ProcessLookupError):  # what is left: dying, or its supervisor was killed alone
        while time.monotonic() < deadline:
            os.killpg(server.group, signal.SIGKILL)
            time.sleep(0.05)


def has_ended(link: socket.socket, wait_s: float) -> bool:
    """Whether the supervisor, and with it the server, ends within `wait_s`."""
    link.settimeout(wait_s)
    try:
        return link.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def _private_folder() -> Path:
    """A new folder that only this user may enter, with a path short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="alia-vllm-"))
    if len(os.fsencode(folder / "socket")) <= LONGEST_SOCKET_PATH:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="alia-vllm-", dir="/tmp"))


def _keep_log(server: Server, run: RunFolder) -> str:
    """Move the log into the run folder and delete the server's own. Returns where the log is."""
    name = f"vllm-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}.log"
    try:
        run.write_bytes(plain(server.log.read_text(errors="replace")).encode(), LOGS, name)
        if isinstance(run.fs, pafs.LocalFileSystem):
            os.chmod(run.file(LOGS, name), 0o600)  # as the other logs there
    except OSError as error:  # what stopped the server matters more
        logging.getLogger(__name__).warning("vLLM's log stays in %s: %s", server.log, error)
        return str(server.log)
    shutil.rmtree(server.folder, ignore_errors=True)
    return run.uri(LOGS, name)


def _excerpt(log: str, place: str) -> str:
    """The log's end, and before it the first errors in it: vLLM's last words only point to them."""
    lines = log.splitlines()
    errors = [line for line in lines[:-LOG_LINES] if re.search(r"\b\w+(Error|Exception)\b *[:(]", line)]
    first = "".join(f"{line}\n" for line in errors[:FIRST_ERRORS])
    return f"its log, {place}, says:\n{first}…\n" + "\n".join(lines[-LOG_LINES:])
