"""What a machine and its cluster have, and what stands in a run's way: a line each, before anything is paid for."""

import importlib.metadata
import os
import platform
import posixpath
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alia_ray.checks import resources
from alia_ray.checks.inputs import check_inputs
from alia_ray.cluster.devices import Sight, logical_gpus, sights
from alia_ray.cluster.joining import available
from alia_ray.cluster.machine import free_memory, usable_cpus
from alia_ray.cluster.memory import uncounted
from alia_ray.cluster.placement import GB
from alia_ray.config import Config, ConfigError
from alia_ray.store.run_folder import RunFolder

PACKAGES = (
    *("alia-ray", "torch", "ray", "diffusers", "transformers", "open_clip_torch", "vllm"),
    *("pyarrow", "pillow"),
)
NODE_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
MOST_SKEW_S = 5.0  # of a node's clock
LITTLE_DISK = 5 * GB


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and whether that is right. None: nothing to be right."""

    what: str
    says: str
    ok: bool | None = None


def examine(settings: Config | None, accelerator: str = "auto") -> Iterator[Finding]:
    """Look at everything; Ray is joined. Without `settings` at machine and cluster only."""
    yield from _versions()
    yield from _machine(settings)
    yield from _nodes(settings, accelerator)
    yield from _gpus(accelerator)
    if settings is not None:
        yield from _configuration(settings)
        yield from _services(settings)


def as_line(finding: Finding) -> str:
    """A finding as it is printed."""
    mark = {True: "ok", False: "wrong", None: ""}[finding.ok]
    return f"{mark:5}  {finding.what:<10}  {finding.says}".rstrip()


# -------------------------------------------------------------------- this machine


def _versions() -> Iterator[Finding]:
    said = [f"Python {platform.python_version()}", *(_version(name) for name in PACKAGES)]
    yield Finding("versions", ", ".join(said))


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"no {package}"


def _machine(settings: Config | None) -> Iterator[Finding]:
    yield Finding("machine", f"{usable_cpus()} CPUs and {free_memory() / GB:.1f} GB of memory may be used")
    folder = RunFolder(settings.run.folder) if settings else None
    if folder is None or folder.fs.type_name != "local":
        return
    there = Path(folder.file())
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    enough = free > LITTLE_DISK
    advice = "" if enough else "; free some, or set run.folder to a larger disk"
    yield Finding("disk", f"{free / GB:.0f} GB free for {settings.run.folder}{advice}", enough)


# -------------------------------------------------------------------- the cluster


def _nodes(settings: Config | None, accelerator: str) -> Iterator[Finding]:
    """Every node, looked at by a task there; all at once."""
    probe = Probe(RunFolder(settings.run.folder)) if settings else None
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    tasks = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        tasks[node] = ray.remote(num_cpus=0, max_retries=0)(_look).options(scheduling_strategy=there).remote(probe)
    here = None
    try:
        for node, has in nodes.items():
            name = f"node {node[:8]}"
            try:
                found = ray.get(tasks[node], timeout=NODE_TIMEOUT_S)
            except (GetTimeoutError, RayError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                yield Finding(name, f"does not answer ({reason}); look at Ray's log there", False)
                continue
            here = here or found
            yield Finding(name, _described(found, has))
            yield from _differences(name, found)
            if probe:
                yield probe.judge(name, found)
    finally:
        if probe:
            probe.remove()


def _look(probe: "Probe | None") -> dict[str, Any]:
    """What one node is, as seen by a task on it."""
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": [_version(name) for name in PACKAGES],
        "memory": free_memory(),
        "time": time.time(),
        "folder": probe.visit() if probe else None,
    }


def _described(found: dict[str, Any], has: dict[str, float]) -> str:
    for_workers = f" ({has['memory'] / GB:.1f} GB for workers)" if "memory" in has else ""
    return (
        f"{found['host']}: {has.get('CPU', 0):g} logical CPUs, {has.get('GPU', 0):g} GPUs, "
        f"{found['memory'] / GB:.1f} GB free{for_workers}"
    )


def _differences(name: str, found: dict[str, Any]) -> Iterator[Finding]:
    """Where a node is another world than this process: other libraries, another clock."""
    mine = [_version(package) for package in PACKAGES]
    other = [
        f"{theirs}, here {ours}" for theirs, ours in zip(found["versions"], mine, strict=True) if theirs != ours
    ]
    if other:
        yield Finding(name, f"has other versions than this machine: {'; '.join(other)}; install the same", False)
    skew = found["time"] - time.time()
    if skew > MOST_SKEW_S:  # in the past it may only have waited
        yield Finding(name, f"its clock is {skew:.0f} s ahead of this machine's; set it", False)


@dataclass(frozen=True)
class Probe:
    """Files of a moment in the run folder: does every node write and read what the driver does?"""

    folder: RunFolder
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f".doctor-{uuid.uuid4().hex}")
        self._try(lambda: self.folder.write_bytes(b"driver", self.name, "driver"))

    def visit(self) -> str | None:
        """On a node: read the driver's file and leave one beside it. Returns what went wrong."""
        node = ray.get_runtime_context().get_node_id()
        return self._try(lambda: self._read("driver")) or self._try(
            lambda: self.folder.write_bytes(node.encode(), self.name, node)
        )

    def judge(self, name: str, found: dict[str, Any]) -> Finding:
        """What came of it, for the driver: the node's file must be seen here, too."""
        written = self._entries()
        error = found["folder"]
        if error is None and name.removeprefix("node ") not in {entry[:8] for entry in written}:
            error = "what it writes is not seen from here"
        if error is None:
            return Finding(name, "the run folder can be written and read", True)
        return Finding(
            name,
            f"run.folder: {self.folder.uri()} is not the same folder there ({error}); set it to a shared filesystem "
            "or an s3:// or gs:// address",
            False,
        )

    def remove(self) -> None:
        """Leave nothing behind."""
        self._try(lambda: self.folder.fs.delete_dir(self.folder.file(self.name)))

    def _read(self, name: str) -> None:
        with self.folder.fs.open_input_stream(self.folder.file(self.name, name)) as stream:
            stream.read()

    def _entries(self) -> list[str]:
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self.folder.file(self.name), allow_not_found=True)
        return [posixpath.basename(info.path) for info in self.folder.fs.get_file_info(selector)]

    @staticmethod
    def _try(action: Callable[[], object]) -> str | None:
        try:
            action()
        except OSError as error:
            return str(error).splitlines()[0]
        return None


def _gpus(accelerator: str) -> Iterator[Finding]:
    """The GPUs of each node, as Ray counts them and as torch sees them."""
    nodes = {n["NodeID"]: n["Resources"].get("GPU", 0.0) for n in ray.nodes() if n["Alive"]}
    counted = {node: gpus for node, gpus in nodes.items() if gpus}
    if not counted:
        wrong = accelerator == "gpu"
        yield Finding("GPUs", "Ray counts none; set run.accelerator to auto" if wrong else "none", not wrong)
    if logical_gpus():
        yield Finding("GPUs", f"{sum(counted.values()):g} logical ones, for ALIA_RAY_LOGICAL_GPUS is set")
        return
    seen = sights(tuple(counted.items())) if counted else {}
    for node, gpus in counted.items():
        yield _of_node(node[:8], gpus, seen.get(node))


def _of_node(name: str, gpus: float, sight: Sight | None) -> Finding:
    counts = f"Ray counts {gpus:g} on node {name}"
    if sight is None:
        return Finding("GPUs", f"{counts}; they are busy, so torch was not asked")
    if sight.problem:
        return Finding("GPUs", f"{counts}, but {sight.problem}; mend that, or set run.accelerator to cpu", False)
    cards = ", ".join(dict.fromkeys(sight.cards))
    free = f"{(sight.free or 0) / GB:.1f} GB free on the fullest"
    return Finding("GPUs", f"{counts}, torch sees {len(sight.cards)} ({cards}), {free}", len(sight.cards) >= gpus)


# -------------------------------------------------------------------- the configuration


def _configuration(settings: Config) -> Iterator[Finding]:
    """All that a run would be refused for."""
    wrong: list[str] = []
    try:
        check_inputs(settings)
    except ConfigError as error:
        wrong += str(error).splitlines()
    try:
        wrong += resources.wrong_things(settings, available(settings.run.accelerator))
    except ConfigError as error:
        wrong += str(error).splitlines()
    for sentence in wrong:
        yield Finding("config", sentence, False)
    if not wrong:
        yield Finding("config", "nothing would be refused", True)
    if unknown := ", ".join(uncounted(settings)):
        yield Finding("memory", f"not counted, for it is not on this machine yet: {unknown}")


def _services(settings: Config) -> Iterator[Finding]:
    """The model hub and a language-model server, if the run needs them."""
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on")
    missing = list(uncounted(settings))
    if offline:
        says = f"HF_HUB_OFFLINE is set, and these are not on this machine: {', '.join(missing)}; fetch them first"
        yield Finding("hub", says if missing else "not asked, HF_HUB_OFFLINE is set", not missing or None)
    else:
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        yield _answer("hub", hub, needed=bool(missing), advice="set HF_ENDPOINT or a proxy, or use local folders")
    if settings.llm.base_url and settings.discover.prompts is None:
        url = f"{settings.llm.base_url.rstrip('/')}/models"
        yield _answer("LLM", url, needed=True, advice="start the server, or correct llm.base_url")


def _answer(what: str, url: str, needed: bool, advice: str) -> Finding:
    shown = httpx.URL(url).copy_with(userinfo=b"", query=None)  # a key may stand in either
    try:
        status = httpx.get(url, timeout=ANSWER_TIMEOUT_S).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            what, f"{shown} does not answer ({type(error).__name__}); {advice}", False if needed else None
        )
    right = status < 500 and status != 404
    return Finding(what, f"{shown} answers with {status}{'' if right else f'; {advice}'}", right or not needed)
