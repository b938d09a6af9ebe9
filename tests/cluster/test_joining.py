import os
import platform
import signal
import socket
import subprocess
import sys
import time

import pytest
import ray

from alia_ray.cluster import joining
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
    environment = {**os.environ, "RAY_TMPDIR": short, "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    yield environment
    os.unlink(short)


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
    with pytest.raises(ConfigError, match=rf"run\.address: no Ray cluster answers at 127\.0\.0\.1:{port}"):
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


def test_the_gpus_of_a_run_are_asked_for_and_waited_for_but_not_for_ever(ray_cluster, monkeypatch):
    monkeypatch.setattr("alia_ray.cluster.joining._GPU_POLL_S", 0.1)
    asked = []
    monkeypatch.setattr("alia_ray.cluster.joining.request_resources", lambda bundles: asked.append(bundles))
    with pytest.raises(StageError, match=r"run\.gpus: 0 of 2 GPUs were there"):
        join(Run(folder="x", address="auto", gpus=2, gpu_timeout_s=0.5))
    assert asked == [[{"GPU": 1}, {"GPU": 1}]]


def test_gpus_that_no_autoscaler_can_bring_are_refused_at_once(ray_cluster):
    with pytest.raises(StageError, match=r"run\.gpus: 0 of 2 GPUs"):
        join(Run(folder="x", gpus=2))
