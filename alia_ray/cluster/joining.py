"""Joining Ray, or starting it here."""

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

# Ray reads these variables when it is imported.
# It repeats these lines at every pool and every second of a training; they say nothing that one could mend.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "Failed to query Ray Train|constructor arguments in the object store"
)
# Of workers' lines it would colour the prefix, in a log too.
os.environ.setdefault("RAY_COLOR_PREFIX", "0")
# Under `uv run` Ray would start every worker through uv again, at many seconds each.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
# A task that Ray's memory monitor kills would be tried again for ever.
os.environ.setdefault("RAY_task_oom_retries", "3")
# A worker without a GPU sees all of them since Ray 2.60, and libraries take the first: hidden, as before.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
import ray
from ray._private.services import find_bootstrap_address
from ray.exceptions import AuthenticationError

from alia_ray.cluster.devices import logical_gpus, sights
from alia_ray.cluster.environment import taking_it
from alia_ray.cluster.gpus import wait_for_gpus
from alia_ray.cluster.machine import free_memory, machine_memory, usable_cpus
from alia_ray.cluster.placement import Cluster, Node
from alia_ray.config import ConfigError, Run
from alia_ray.errors import one_line
from alia_ray.progress import inform, say

_HIDE_GPUS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}  # the same where Ray runs already
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # where Ray looks before ~/.ray/auth_token
_ANSWER_TIMEOUT_S = 5.0
_LONGEST_FOLDER = 30  # bytes; the sockets in it have up to 75 more, of 107 that Linux takes
_folders: list[str] = []  # of a Ray that was started here, for as long as it runs
_FOR_OBJECTS = 0.3  # of the memory that is free: Ray's own share for what it keeps between workers


@contextmanager
def joined(run: Run) -> Iterator[Cluster]:
    """Ray for the time of a `with` block: what `join` gives, and left in every way out.

    One that this process had before, as a notebook has that called `ray.init`, is the caller's, and stays.
    With one that was started here its folder goes, unless the block fails: Ray's logs in it may say of what.
    """
    is_ours, has_failed = not ray.is_initialized(), False
    try:
        yield join(run)
    except (ConfigError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        has_failed = True
        raise
    finally:
        if is_ours:
            ray.shutdown()
            while _folders:
                folder = _folders.pop()
                if not has_failed:
                    shutil.rmtree(folder, ignore_errors=True)


def join(run: Run) -> Cluster:
    """Connect to Ray and say what it has.

    Joins `run.address`, a cluster that RAY_ADDRESS names (a submitted job), or one that `ray start` started on
    this machine; else, or where the address is "local", starts Ray here. There, one logical CPU more than this
    process may use is declared, so that reading and writing go on beside the workers. With `run.gpus` it returns
    once they are up. Raises ConfigError when the address does not answer or GPUs are wanted that cannot be there,
    and StageError when they did not come in time.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans and timings; ours are shorter
    address = run.address or os.environ.get("RAY_ADDRESS")
    options = {"log_to_driver": True, "logging_level": "WARNING", "ignore_reinit_error": True}
    if not address and not ray.is_initialized() and (found := _started_here()):
        say(f"cluster: joining the Ray that runs here, at {found}")
        address = "auto"  # then Ray takes the token that `ray start` took
    address = None if address == "local" else address
    if address:
        _connect(address, options)
    elif not ray.is_initialized():
        inform("cluster: starting Ray here")
        # Nobody announces that this machine will go, and a process less starts sooner.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        if free_memory() < machine_memory():  # a control group's limit, which Ray may not see
            options["object_store_memory"] = int(_FOR_OBJECTS * free_memory())
        _make_token()
        _folders.append(_private_folder())
        options["_temp_dir"] = f"{_folders[-1]}/ray"  # this itself Ray opens to everybody
        ray.init(address="local", num_cpus=usable_cpus() + 1, include_dashboard=False, **options)
    if run.gpus:
        wait_for_gpus(run.gpus, run.gpu_timeout_s if address else 0.0)
    return available(run.accelerator)


def _started_here() -> str | None:
    """The address of a cluster that `ray start` started on this machine, if it lives.

    Ray itself would take one that was killed for alive, and wait for it.
    """
    address = find_bootstrap_address(None)
    return address if address and _answers(address) else None


def _make_token() -> None:
    """A token of this process and what it starts, where the person has named none.

    Ray asks for one where it starts by itself, all its ports included, and would leave one in the home folder.
    It is in no file and on no command line. RAY_AUTH_MODE=disabled, in the person's environment, turns it off.
    """
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # which says so at every start
    if not any(os.environ.get(name) for name in _TOKENS):
        os.environ[_TOKENS[0]] = secrets.token_hex(32)


def _private_folder() -> str:
    """A new folder that only this user may enter, for Ray's sockets, logs and what does not fit its memory."""
    if chosen := os.environ.get("RAY_TMPDIR"):
        os.makedirs(chosen, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="ray-", dir=chosen)
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return folder
    os.rmdir(folder)
    return tempfile.mkdtemp(prefix="ray-", dir="/tmp")


def _connect(address: str, options: dict[str, object]) -> None:
    """Join the cluster at an address; its workers get this process's keys and proxies.

    Raises ConfigError where none is, or one of another Ray, Python or token.
    """
    if ":" in address and "://" not in address and not _answers(address):
        raise ConfigError(
            f"run.address: nothing answers at {address}; start a Ray cluster, or correct the address"
        )
    if "://" in address and not address.startswith("ray://"):  # Ray would import a module of that name
        raise ConfigError(
            f"run.address: {address} (or RAY_ADDRESS) is no address of a cluster; give HOST:PORT, auto, local or "
            "ray://HOST:PORT, and unset RAY_ADDRESS where it is for submitting jobs"
        )
    at_start: dict[str, object] = {"env_vars": dict(_HIDE_GPUS)}  # Ray writes into it
    if not address.startswith("ray://"):  # Ray Client hands no function on
        at_start["worker_process_setup_hook"] = taking_it()
    try:
        ray.init(address=address, runtime_env=at_start, **options)
    except (ConnectionError, AuthenticationError) as error:
        raise ConfigError(
            f"run.address: no Ray cluster at {address} lets this process in; correct the address or, if it asks "
            "for a token, set RAY_AUTH_MODE=token and bring that in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        ) from error
    except RuntimeError as error:  # "Version mismatch: …" of a driver, "… versions differ …" of a Ray Client
        if "version" not in str(error).lower():
            raise
        raise ConfigError(
            f"run.address: the Ray at {address} cannot be joined ({one_line(error)}); install the same versions "
            "here and there, or set run.address to local, which starts Ray here"
        ) from error


def _answers(address: str) -> bool:
    """Whether something listens at HOST:PORT; Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def available(accelerator: str, try_gpus: bool = True) -> Cluster:
    """The cluster's nodes as they are now, with the GPUs that torch can use.

    accelerator: "cpu" leaves GPUs out; "gpu" raises ConfigError where there is none or torch cannot use one;
    "auto" says so in a line and leaves out those that it cannot use. try_gpus: without it all count as usable, and
    none is taken to try it.
    """
    nodes = {node["NodeID"]: _node(node) for node in ray.nodes() if node["Alive"]}
    if accelerator == "cpu":
        return Cluster.of(tuple(replace(node, gpus=0.0) for node in nodes.values()))
    if try_gpus and not logical_gpus():
        nodes = _usable(nodes, accelerator)
    cluster = Cluster.of(tuple(nodes.values()))
    if accelerator == "gpu" and not cluster.gpus:
        raise ConfigError("run.accelerator is 'gpu', but the cluster has no GPU; set it to 'auto' or 'cpu'")
    return cluster


def _node(node: dict[str, object]) -> Node:
    """A node's resources; of the driver's own no more memory than is free to this process now."""
    has = node["Resources"]
    memory = has.get("memory")
    if memory is not None and node["NodeID"] == ray.get_runtime_context().get_node_id():
        memory = min(memory, (1 - _FOR_OBJECTS) * free_memory())
    return Node(has.get("CPU", 0.0), has.get("GPU", 0.0), memory)


_said: set[str] = set()


def _usable(nodes: dict[str, Node], accelerator: str) -> dict[str, Node]:
    """The nodes without the GPUs that torch cannot use, and with the memory of those that it can."""
    seen = sights({name: node.gpus for name, node in nodes.items() if node.gpus})
    for name, sight in seen.items():
        if sight.problem is None:
            nodes[name] = replace(nodes[name], gpu_memory=sight.free)
            continue
        problem = f"run.accelerator: Ray counts {nodes[name].gpus:g} GPUs on node {name[:8]}, but {sight.problem}"
        if accelerator == "gpu":
            raise ConfigError(f"{problem}; mend that, or set run.accelerator to 'auto' or 'cpu'")
        if problem not in _said:
            _said.add(problem)
            say(f"{problem}; it goes on without them")
        nodes[name] = replace(nodes[name], gpus=0.0)
    return nodes
