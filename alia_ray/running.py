"""What a run stands on: a configuration that can run, and a Ray that is joined quietly."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

from alia_ray.config import Config, Run, load_config
from alia_ray.progress import note

if TYPE_CHECKING:
    import pyarrow as pa

    from alia_ray.cluster.placement import Cluster


@contextmanager
def on_cluster(run: Run, command: str | None, *, writes: bool = False) -> Iterator["Cluster"]:
    """Ray, joined quietly: what only the log is told lies in the run folder, under the command's name if any.

    A command that writes there has the folder to itself.
    """
    import ray

    from alia_ray.cluster.joining import joined
    from alia_ray.log import quiet
    from alia_ray.store.lease import held
    from alia_ray.store.run_folder import RunFolder

    at_sigterm = signal.getsignal(signal.SIGTERM)
    folder = RunFolder(run.folder) if command else None
    alone = held(folder, command) if writes else nullcontext()
    with quiet(folder, command or "plan"), alone, joined(run) as cluster:
        if writes:
            folder.sweep()
        if current_thread() is main_thread():  # the others may set none
            signal.signal(signal.SIGTERM, at_sigterm)  # Ray has put one of its own there, which prints a stack
        about = ray.get_runtime_context()
        note(f"Ray's own logs, kept where this fails: {about.get_temp_dir()}/{about.get_session_name()}/logs")
        yield cluster


def load(path: Path, overrides: list[str] | None) -> tuple[Config, "pa.Table | None"]:
    """A configuration that can run, and the source's listing where it was read for that. Raises as `ready`."""
    settings = load_config(path, overrides)
    return settings, ready(settings)


def ready(settings: Config) -> "pa.Table | None":
    """Look whether a configuration can run. Returns the source's listing where it was read for that.

    Raises one ConfigError with all that is wrong, with the cluster too: Ray is joined for what that would say.
    """
    from alia_ray.checks.inputs import look_at_inputs, refuse

    listing, wrong = look_at_inputs(settings)
    if wrong:
        refuse([wrong, _wrong_with_the_cluster(settings, listing)])
    return listing


def _wrong_with_the_cluster(settings: Config, listing: "pa.Table | None") -> Iterator[str]:
    """What the cluster would be refused for; no GPU is taken, and those that are still to come are not counted."""
    from alia_ray.checks.plan import misfits
    from alia_ray.cluster.joining import available

    with on_cluster(settings.run.without_gpus(), None):
        if settings.run.gpus is None:
            yield from misfits(settings, available(settings.run.accelerator, try_gpus=False), listing)
