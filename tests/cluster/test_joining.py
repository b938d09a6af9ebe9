import os
import platform
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import ray

from alia_ray.cluster import gpus, joining
from alia_ray.cluster.joining import join
from alia_ray.config import ConfigError, Run
from alia_ray.errors import StageError

JOIN = """
import json
from alia_ray.cluster import joining
from alia_ray.cluster.joining import join
from alia_ray.cluster.machine import usable_cpus
from alia_ray.config import Run
print(json.dumps(join(Run(folder="x")).cpus))
"""


@pytest.fixture
def without_address(tmp_path_factory, monkeypatch):
    """An environment that names no cluster, where Ray keeps its files in a folder of its own."""
    folder = tmp_path_factory.mktemp("ray")
    short = f"/tmp/{folder.name}-{os.getpid()}"  # sockets have short names
    os.symlink(folder, short)
    environment = {**os.environ, "RAY_TMPDIR": short}
    environment.pop("RAY_ADDRESS", None)
    yield environment
    os.unlink(short)


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "a_module_of_somebody://x"])
def test_an_address_that_ray_would_take_for_a_module_is_refused(tmp_path, monkeypatch, address):
    (tmp_path / "a_module_of_somebody.py").write_text("raise SystemExit('this code must not run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=rf"run\.address: {address} .*HOST:PORT"):
        joining._connect(address, {})


def cpus_of_join(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-c", JOIN]
    return subprocess.run(code, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_without_an_address_a_cluster_that_was_started_here_is_joined_and_a_dead_one_is_not(without_address):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["start", "--head", "--block", f"--port={port}", "--num-cpus=7", "--include-dashboard=false"]
    head = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *command, "--object-store-memory=100000000"],
        env=without_address,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        written = os.path.join(without_address["RAY_TMPDIR"], "ray", "ray_current_cluster")
        while not os.path.exists(written) and head.poll() is None:
            time.sleep(0.5)
        time.sleep(3)
        running = cpus_of_join(without_address)
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
    assert running.stdout == "7.0\n", running.stderr
    assert "cluster: joining the Ray that runs here" in running.stderr
    assert os.path.exists(written)  # it was killed, and could not take back what it wrote
    dead = cpus_of_join({**without_address, "SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "1"})
    assert dead.stdout == "2.0\n", dead.stderr  # one CPU that may be used, and one more


@pytest.mark.parametrize("in_environment", [False, True])
def test_the_address_local_starts_ray_here_as_no_address_does(monkeypatch, in_environment):
    started = []
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(joining.ray, "init", lambda **options: started.append(options))
    monkeypatch.setattr(joining, "available", lambda accelerator: None)
    monkeypatch.setattr(joining, "usable_cpus", lambda: 3)  # other than the machine's
    monkeypatch.setenv("RAY_ADDRESS", "local" if in_environment else "")
    join(Run(folder="x", address=None if in_environment else "local"))
    [options] = started
    assert (options["address"], options["num_cpus"]) == ("local", 4)
    assert "runtime_env" not in options


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ConfigError, match=rf"run\.address: nothing answers at 127\.0\.0\.1:{port}"):
        join(Run(folder="x", address=f"127.0.0.1:{port}"))
    assert time.monotonic() - started < 10


def test_a_cluster_of_another_python_is_refused_in_a_line_that_names_both(monkeypatch):
    def mismatch(**options: object) -> None:
        ray._private.utils.check_version_info(
            {"ray_version": ray.__version__, "python_version": "3.9.1"}, "this node", raise_on_mismatch=True
        )

    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(joining.ray, "init", mismatch)
    with pytest.raises(
        ConfigError, match=rf"run\.address: .*3\.9\.1.*{platform.python_version()}.* local"
    ) as refused:
        join(Run(folder="x", address="auto"))
    assert "\n" not in str(refused.value)


def test_gpus_that_do_not_come_are_not_waited_for_for_ever(ray_cluster, monkeypatch):
    monkeypatch.setattr(gpus, "_POLL_S", 0.1)
    with pytest.raises(StageError, match=r"run\.gpus: 2 GPUs were not free after 0\.5 s \(0 are up"):
        join(Run(folder="x", address="auto", gpus=2, gpu_timeout_s=0.5))
    said = r"^run\.gpus: 2 GPUs are not on this machine \(0 are up, 0 of them free\); lower run\.gpus$"
    with pytest.raises(StageError, match=said):  # where no autoscaler can bring them, and no timeout is waited for
        join(Run(folder="x", gpus=2))


def test_a_cluster_that_asks_for_a_token_is_named_with_what_to_set(monkeypatch):
    def refused(**options: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(joining.ray, "init", refused)
    with pytest.raises(
        ConfigError, match=r"run\.address: .*set RAY_AUTH_MODE=token and bring that in RAY_AUTH_TOKEN"
    ):
        join(Run(folder="x", address="auto"))


@pytest.mark.parametrize(("address", "handed_on"), [("auto", True), ("ray://head:10001", False)])
def test_workers_of_a_cluster_that_is_joined_are_told_what_to_take(monkeypatch, address, handed_on):
    started = []
    monkeypatch.setattr(joining.ray, "init", lambda **options: started.append(options))
    monkeypatch.setattr(joining, "available", lambda accelerator: None)
    monkeypatch.setenv("HF_TOKEN", "a-secret")
    join(Run(folder="x", address=address))
    [options] = started
    assert ("worker_process_setup_hook" in options["runtime_env"]) == handed_on  # Ray Client takes no function
    assert "a-secret" not in str(options)


TOKENS = """
import os, subprocess, sys
from alia_ray.cluster.joining import joined
from alia_ray.config import Run
import ray
with joined(Run(folder="x", address="local")):
    address = ray.get_runtime_context().gcs_address
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    code = "import ray, sys; ray.init(address=sys.argv[1]); print('IN', ray.cluster_resources())"
    answer = subprocess.run([sys.executable, "-c", code, address], env=stranger, capture_output=True, text=True)
    print("IN" in answer.stdout, "InvalidAuthToken" in answer.stderr, ray.get(ray.remote(lambda: 7).remote()))
    processes = subprocess.run(["ps", "-e", "-ww", "-o", "args"], capture_output=True, text=True).stdout
    print(os.environ["RAY_AUTH_TOKEN"] in processes)
    above = os.path.dirname(ray.get_runtime_context().get_temp_dir())
    print(oct(os.stat(above).st_mode & 0o777))
print(os.path.exists(above))
"""


@pytest.mark.slow
def test_a_ray_that_a_run_starts_lets_no_stranger_in_and_leaves_no_token_behind(without_address, tmp_path):
    environment = {name: value for name, value in without_address.items() if not name.startswith("RAY_AUTH")}
    environment |= {"HOME": str(tmp_path), "RAY_gcs_rpc_server_reconnect_timeout_s": "2"}
    command = [sys.executable, "-c", TOKENS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["False", "True", "7", "False", "0o700", "False"], done.stderr
    assert "oken authentication" not in done.stderr
    assert not (tmp_path / ".ray").exists()


@pytest.mark.parametrize(
    ("failure", "stays"),
    [(None, False), (ConfigError("no"), False), (KeyboardInterrupt(), False), (OSError(), True)],
)
def test_what_ray_wrote_stays_only_where_a_command_fails(monkeypatch, tmp_path, failure, stays):
    folder = tmp_path / "ray-x"
    folder.mkdir()
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(joining.ray, "shutdown", lambda: None)
    monkeypatch.setattr(joining, "join", lambda run: joining._folders.append(str(folder)))
    with suppress(BaseException), joining.joined(Run(folder="x")):
        if failure:
            raise failure
    assert folder.exists() == stays
    assert joining._folders == []
