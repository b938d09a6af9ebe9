"""A visit to every node: what is there, what it lacks, and whether the run folder there is the driver's."""

import importlib.metadata
import platform
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow.fs as pafs
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alia_ray.cluster.machine import free_memory
from alia_ray.errors import first_line
from alia_ray.store.run_folder import RunFolder

_PACKAGES = (
    *("alia-ray", "torch", "ray", "diffusers", "transformers", "open_clip_torch", "vllm", "pyarrow", "pillow"),
)
_TIMEOUT_S = 60.0
_OURS = "driver"  # the driver's file


@dataclass(frozen=True)
class Visit:
    """What a task found on its node."""

    host: str
    versions: tuple[str, ...]
    memory: int  # free bytes
    time: float  # of its clock, as it answered
    lacks: tuple[str, ...] = ()  # what a run needs and is not there, a sentence each
    folder_error: str | None = None  # what went wrong with the run folder there


def versions() -> tuple[str, ...]:
    """What is installed where this is called."""
    return (f"Python {platform.python_version()}", *map(installed, _PACKAGES))


def installed(package: str) -> str:
    """A package and its version, as installed where this is called, or that there is none."""
    for name in (package, f"{package}-cpu"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"no {package}"


def visit_all(
    nodes: list[str], folder: RunFolder | None, lacking: Callable[[], list[str]] = list
) -> dict[str, Visit | str]:
    """Visit nodes, by Ray's ids, all at once: what was found, or why one did not answer.

    lacking: says there what the node lacks. Where a folder is given, the driver leaves a file in it that each node
    must read, and each node one that the driver must see; nothing of it stays. Raises OSError where the driver
    itself cannot write there.
    """
    place = _place(folder) if folder else None
    try:
        tasks = {node: _task(node).remote(node, place, lacking) for node in nodes}
        found = {node: _answer(task) for node, task in tasks.items()}
        return {node: _checked(node, visit, place) for node, visit in found.items()}
    finally:
        if folder and place:
            _clear(folder, place)


def _task(node: str) -> ray.remote_function.RemoteFunction:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(_visit).options(scheduling_strategy=there)


def _visit(node: str, place: RunFolder | None, lacking: Callable[[], list[str]]) -> Visit:
    """Runs on the node."""
    error = None
    try:
        if place:
            with place.fs.open_input_stream(place.file(_OURS)) as stream:
                stream.read()
            place.write_bytes(node.encode(), node)
    except OSError as raised:
        error = first_line(raised)
    lacks = tuple(lacking())
    return Visit(socket.gethostname(), versions(), free_memory(), time.time(), lacks, error)


def _answer(task: ray.ObjectRef) -> Visit | str:
    try:
        return ray.get(task, timeout=_TIMEOUT_S)
    except GetTimeoutError:
        return f"no answer in {_TIMEOUT_S:g} s"
    except RayError as error:
        return first_line(error)


# -------------------------------------------------------------------- the folder


def _place(folder: RunFolder) -> RunFolder:
    """A folder of a moment in the run folder, with the driver's file in it."""
    place = RunFolder(folder.uri(f".visits-{uuid.uuid4().hex}"))
    place.write_bytes(b"", _OURS)
    return place


def _checked(node: str, visit: Visit | str, place: RunFolder | None) -> Visit | str:
    """A visit with the driver's own look at what the node wrote."""
    if place is None or isinstance(visit, str) or visit.folder_error:
        return visit
    if place.has_file(node):
        return visit
    return replace(visit, folder_error="what it writes is not seen from here")


def _clear(folder: RunFolder, place: RunFolder) -> None:
    """Take the place away, and the run folder where it was made for it alone."""
    fs = folder.fs
    fs.delete_dir(place.file())
    if not fs.get_file_info(pafs.FileSelector(folder.file(), allow_not_found=True)):
        fs.delete_dir(folder.file())
