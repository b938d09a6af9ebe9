"""A cluster without a GPU that gets some when a run asks; prints as JSON what runs hold, and what workers see.

Run by test_scaling.py, which starts it, as it starts its runs, as processes of their own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CANARIES = {"HF_TOKEN": "canary-of-hf", "https_proxy": "http://user:canary-of-proxy@proxy:1", "OTHER": "not-ours"}


def driver(address: str, gpus: int) -> None:
    """A run that has its GPUs, says what a worker sees, and stays."""
    from alia_ray.cluster import gpus as waiting
    from alia_ray.cluster.joining import join
    from alia_ray.config import Run

    waiting._POLL_S = 0.5
    import ray

    os.environ |= CANARIES
    cluster = join(Run(folder="x", address=address, gpus=gpus, gpu_timeout_s=60))
    seen = ray.get(ray.remote(num_gpus=gpus)(lambda: {name: os.environ.get(name) for name in CANARIES}).remote())
    print(json.dumps({"gpus": cluster.gpus, "seen": seen}), flush=True)
    time.sleep(600)


def started(address: str, gpus: int) -> subprocess.Popen:
    """A run as a process that can be killed with all that it started itself."""
    command = [sys.executable, __file__, address, str(gpus)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def told_by(process: subprocess.Popen) -> dict[str, Any]:
    """What a run prints; Ray's autoscaler speaks on standard output too, a few seconds after a cluster began."""
    return json.loads(next(line for line in process.stdout if line.startswith("{")))


def until(reached: Callable[[], bool]) -> bool:
    """Whether something comes to hold."""
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.3)
    return reached()


def main() -> None:
    """Start the cluster and two runs, kill one after the other, print."""
    from ray._raylet import GcsClient
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, "object_store_memory": 10**8}
    )
    client = GcsClient(address=cluster.address)

    def gpu_node() -> Any:
        return next(
            node for node in get_cluster_resource_state(client).node_states if "GPU" in node.total_resources
        )

    def groups() -> list[str]:
        return [gang.details for gang in get_cluster_resource_state(client).pending_gang_resource_requests]

    def is_idle() -> bool:
        return gpu_node().idle_duration_ms > 2000

    first = started(cluster.address, 2)
    found: dict[str, Any] = {"asked": until(lambda: len(groups()) == 1)}
    cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=10**8)
    found["first"] = told_by(first)
    time.sleep(4)
    found["kept"] = {"idle": is_idle(), "free": gpu_node().available_resources["GPU"], "groups": groups()}
    second = started(cluster.address, 1)
    found["second"] = told_by(second)
    os.killpg(second.pid, signal.SIGKILL)
    time.sleep(6)
    found["kept_by_first"] = not is_idle()
    os.killpg(first.pid, signal.SIGKILL)
    found["let_go"] = until(is_idle)
    session = cluster.head_node.get_session_dir_path()
    found["leaks"] = subprocess.run(["grep", "-rl", "canary-of", session], capture_output=True, text=True).stdout
    print(json.dumps(found))
    cluster.shutdown()


if __name__ == "__main__":
    driver(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main()
