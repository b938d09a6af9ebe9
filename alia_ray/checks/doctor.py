"""What a machine and its cluster have, and what stands in a run's way: a line each."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import httpx2
import ray
from huggingface_hub import constants

from alia_ray.checks import servers
from alia_ray.checks.disk import free_bytes
from alia_ray.checks.inputs import look_at_inputs, refuse
from alia_ray.checks.nodes import lacking
from alia_ray.checks.plan import misfits
from alia_ray.cluster.devices import LOGICAL_GPUS, Sight, logical_gpus, sights
from alia_ray.cluster.joining import available
from alia_ray.cluster.machine import free_memory, usable_cpus
from alia_ray.cluster.memory import uncounted
from alia_ray.cluster.placement import GB
from alia_ray.cluster.visits import Visit, versions, visit_all
from alia_ray.config import Config, ConfigError
from alia_ray.errors import first_line
from alia_ray.store.run_folder import RunFolder

_ANSWER_TIMEOUT_S = 5.0
_MOST_SKEW_S = 5.0  # of a node's clock
_LITTLE_DISK = 5 * GB
_SHARED, _LITTLE_SHARED = "/dev/shm", GB
_FEW_FILES = 4096


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and whether that is right; None where nothing can be wrong."""

    what: str
    says: str
    ok: bool | None = None

    def __str__(self) -> str:
        """A line of the doctor's."""
        mark = {True: "ok", False: "wrong", None: ""}[self.ok]
        return f"{mark:5}  {self.what:13}  {self.says}"


def examine(settings: Config | None) -> Iterator[Finding]:
    """Look at everything, with Ray joined; without `settings` at machine and cluster only."""
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    yield Finding("versions", ", ".join(versions()))
    yield Finding("this process", f"{usable_cpus()} CPUs and {free_memory() / GB:.1f} GB of memory may be used")
    yield from _limits()
    folder = RunFolder(settings.run.folder) if settings else None
    if folder is not None and folder.fs.type_name == "local":
        yield _disk(folder)
    yield from _nodes(nodes, folder, partial(lacking, settings) if settings and len(nodes) > 1 else list)
    yield from _gpus(nodes, settings.run.accelerator if settings else "auto")
    if settings is not None:
        services = list(_services(settings))
        yield from _configuration(settings, told={finding.says for finding in services})
        yield from services


# -------------------------------------------------------------------- machine and cluster


def _limits() -> Iterator[Finding]:
    """Limits of a process or a container that Ray or vLLM meets in the middle of a run."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # which Ray raises the other one to
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        yield Finding("open files", f"a process may open {files} only; raise it by ulimit -Hn {_FEW_FILES}", False)
    if os.path.isdir(_SHARED) and (free := shutil.disk_usage(_SHARED).free) < _LITTLE_SHARED:
        yield Finding(
            "shared memory",
            f"{free / GB:.2f} GB free in {_SHARED}: Ray is slow then, and a vLLM of several GPUs may not start; "
            "in a container set --shm-size=8g",
            False,
        )


def _disk(folder: RunFolder) -> Finding:
    free = free_bytes(folder)
    advice = "" if free > _LITTLE_DISK else "; free some, or set run.folder to a larger disk"
    return Finding("disk", f"{free / GB:.0f} GB free for {folder.file()}{advice}", free > _LITTLE_DISK)


def _nodes(
    nodes: dict[str, dict[str, float]], folder: RunFolder | None, lacks: Callable[[], list[str]]
) -> Iterator[Finding]:
    try:
        visits = visit_all(list(nodes), folder, lacks)
    except OSError as error:
        says = f"{folder.path} cannot be written from here ({first_line(error)}); set another one"
        yield Finding("run.folder", says, False)
        folder, visits = None, visit_all(list(nodes), None, lacks)
    for node, visit in visits.items():
        name = f"node {node[:8]}"
        if isinstance(visit, str):
            yield Finding(name, f"does not answer ({visit}); look at Ray's log there", False)
            continue
        yield Finding(name, _described(visit, nodes[node]), True)
        yield from _differences(name, visit)
        yield from (Finding(name, sentence, False) for sentence in visit.lacks)
        if folder:
            yield _of_folder(name, visit, folder)


def _described(visit: Visit, has: dict[str, float]) -> str:
    workers = f", {has['memory'] / GB:.1f} GB of it for workers" if "memory" in has else ""
    return (
        f"{visit.host}: {has.get('CPU', 0):g} logical CPUs, {has.get('GPU', 0):g} GPUs, "
        f"{visit.memory / GB:.1f} GB of memory free{workers}"
    )


def _differences(name: str, visit: Visit) -> Iterator[Finding]:
    """Where a node is another world than this process: other libraries, another clock."""
    pairs = zip(visit.versions, versions(), strict=True)
    if other := [f"{theirs} (here {ours})" for theirs, ours in pairs if theirs != ours]:
        yield Finding(name, f"has {', '.join(other)}; install the same on every node", False)
    ahead = visit.time - time.time()
    if ahead > _MOST_SKEW_S:  # a clock that is behind cannot be told from an answer that waited
        yield Finding(name, f"its clock is {ahead:.0f} s ahead of this one; set them by NTP", False)


def _of_folder(name: str, visit: Visit, folder: RunFolder) -> Finding:
    if visit.folder_error is None:
        return Finding(name, "run.folder can be written and read there, and is the same as here", True)
    return Finding(
        name,
        f"run.folder: {folder.uri()} is another place there, or shut ({visit.folder_error}); set it to a "
        "filesystem that all nodes share, or an s3:// or gs:// address",
        False,
    )


def _gpus(nodes: dict[str, dict[str, float]], accelerator: str) -> Iterator[Finding]:
    """The GPUs of each node, as Ray counts them and as torch sees them."""
    counted = {node: has["GPU"] for node, has in nodes.items() if has.get("GPU")}
    if not counted:
        refused = accelerator == "gpu"
        yield Finding("GPUs", f"none{'; set run.accelerator to auto or cpu' if refused else ''}", not refused)
    elif logical_gpus():
        yield Finding("GPUs", f"{sum(counted.values()):g} that are only counted, as {LOGICAL_GPUS} says")
    else:
        seen = sights(counted)
        for node, gpus in counted.items():
            yield _of_card(node[:8], gpus, seen.get(node))


def _of_card(name: str, gpus: float, sight: Sight | None) -> Finding:
    counts = f"Ray counts {gpus:g} on node {name}"
    if sight is None:
        return Finding("GPUs", f"{counts}; they are busy, so torch was not asked")
    if sight.problem:
        return Finding("GPUs", f"{counts}, but {sight.problem}; mend that, or set run.accelerator to cpu", False)
    cards = ", ".join(dict.fromkeys(sight.cards))
    says = (
        f"{counts}, torch sees {len(sight.cards)} ({cards}), at least {(sight.free or 0) / GB:.1f} GB free on each"
    )
    return Finding("GPUs", says, len(sight.cards) >= gpus)


# -------------------------------------------------------------------- the configuration


def _configuration(settings: Config, told: set[str]) -> Iterator[Finding]:
    """All that a run would be refused for, but for what is told beside it."""
    listing, wrong = look_at_inputs(settings)
    try:
        refuse([misfits(settings, available(settings.run.accelerator), listing)])
    except ConfigError as error:
        wrong += str(error).splitlines()
    yield from (Finding("configuration", sentence, False) for sentence in wrong if sentence not in told)
    if not wrong:
        yield Finding("configuration", "nothing in it would be refused", True)


def _services(settings: Config) -> Iterator[Finding]:
    """The model hub and a language-model server, as far as the run needs them."""
    missing = ", ".join(uncounted(settings))
    absent = f"not here, and not counted in memory: {missing}" if missing else "all are on this machine"
    if missing and constants.HF_HUB_OFFLINE:
        yield Finding("models", f"{absent}; fetch it first, HF_HUB_OFFLINE is set", False)
    else:
        yield Finding("models", absent, None if missing else True)
    if missing and not constants.HF_HUB_OFFLINE:
        yield _hub(constants.ENDPOINT)
    if settings.llm.base_url and settings.discover.prompts is None:
        wrong = [Finding("LLM", sentence, False) for sentence in servers.wrong_things(settings)]
        yield from wrong or [Finding("LLM", "the server of llm.base_url answers", True)]


def _hub(url: str) -> Finding:
    """Whether the model hub answers."""
    try:
        status = httpx2.get(url, timeout=_ANSWER_TIMEOUT_S, follow_redirects=True).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        advice = "set HF_ENDPOINT or a proxy, or name local folders"
        return Finding("hub", f"{url} does not answer ({type(error).__name__}); {advice}", False)
    return Finding("hub", f"{url} answers with {status}", status < 500)
