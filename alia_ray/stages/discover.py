"""discover: captions -> domains, by an LLM that runs only as long as it is needed (paper, section 3.1)."""

import contextlib
from collections.abc import Iterator, Mapping

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from alia_ray.cluster.devices import logical_gpus
from alia_ray.cluster.joining import available
from alia_ray.cluster.placement import check_llm
from alia_ray.config import Config, ConfigError, Llm
from alia_ray.config.places import as_given
from alia_ray.errors import StageError
from alia_ray.llm.captions import Captions
from alia_ray.llm.connection import Endpoint
from alia_ray.llm.discover import Discovery, discover_domains, given_domains
from alia_ray.llm.kept import KeptAnswers
from alia_ray.llm.reading import READING, Tell
from alia_ray.llm.simulated import simulated_llm
from alia_ray.models.revisions import pinned
from alia_ray.progress import Progress, inform
from alia_ray.store.run_folder import RunFolder

LOOK_EVERY_S = 1.0


def run_discover(captions: Mapping[str, Captions], class_names: list[str], config: Config) -> list[Discovery]:
    """Discover the domains of some sets of captions; Ray must be initialised unless no server has to be started.

    captions: by the fingerprint of their domains, under which the run folder keeps what is answered until
    `forget_answers`.
    `discover.prompts` needs no LLM and `llm.base_url` no server of our own; otherwise an actor starts vLLM once,
    talks to it on its own node, and stops it in every way out. Raises ConfigError and StageError.
    """
    if config.discover.prompts is not None:
        return [given_domains(each, config.discover) for each in captions.values()]
    if config.llm.base_url is not None:
        inform(f"discover: {as_given(config.llm.model.name)} at {config.llm.base_url} reads the captions")
        with _progress(READING) as progress:
            return _ask(captions, class_names, config, Endpoint(config.llm.base_url), _shown_on(progress))
    if config.llm.model.is_simulated:
        with simulated_llm(config.llm.model.name) as endpoint, _progress(READING) as progress:
            return _ask(captions, class_names, config, endpoint, _shown_on(progress))
    config = config.model_copy(update={"llm": pinned(config.llm)})
    with _host(config) as host:
        try:
            return _wait(host, host.discover.remote(captions, class_names, config))
        except RayTaskError as error:
            if isinstance(error.cause, ConfigError | StageError):
                raise error.cause from error
            raise
        except RayActorError as error:
            raise StageError(
                f"discover: the worker that ran the LLM died ({error}); run it again; vLLM's log is in "
                "alia-vllm-… in its node's folder for temporary files"
            ) from error


def forget_answers(config: Config, fingerprint: str) -> None:
    """Delete what was answered on the way to domains that are committed."""
    KeptAnswers(RunFolder(config.run.folder), fingerprint).delete()


def _progress(at_first: str) -> Progress:
    return Progress("discover", None, unit="parts", at_first=at_first)


def _shown_on(progress: Progress) -> Tell:
    """Shows what the LLM is doing, and of the parts that it reads how many are left, once there are several."""

    def tell(doing: str, more: int, read: int) -> None:
        if more:
            progress.expect((progress.total or 0) + more, doing=doing)
        if read:
            progress.advance(read)
        elif progress.total is None:
            progress.waits_for(doing)
        else:
            progress.sees(0)

    return tell


def _wait(host: ActorHandle, found: "ray.ObjectRef[list[Discovery]]") -> list[Discovery]:
    """What the host finds; what it is busy with is shown meanwhile."""
    with _progress("vLLM starts") as progress:
        tell = _shown_on(progress)
        while not ray.wait([found], timeout=LOOK_EVERY_S)[0]:
            doing, parts, read = ray.get(host.doing.remote())
            tell(doing, parts - (progress.total or 0), read - progress.done)
    return ray.get(found)


def _ask(
    captions: Mapping[str, Captions], class_names: list[str], config: Config, endpoint: Endpoint, tell: Tell
) -> list[Discovery]:
    discover, llm, seed = config.discover, config.llm, config.run.seed
    folder = RunFolder(config.run.folder)
    return [
        discover_domains(each, class_names, discover, llm, endpoint, seed, tell, KeptAnswers(folder, fingerprint))
        for fingerprint, each in captions.items()
    ]


@contextlib.contextmanager
def _host(config: Config) -> Iterator[ActorHandle]:
    """The actor that owns the server, once it is scheduled. On leaving, its server is stopped."""
    cluster = available(config.run.accelerator)
    check_llm(config.llm, cluster)
    gpus = config.llm.gpus if cluster.gpus else 0
    host = _LlmHost.options(num_cpus=1, num_gpus=gpus).remote(0 if logical_gpus() else gpus)
    try:
        _wait_until_scheduled(host, gpus, config.llm)
        inform(f"discover: starting vLLM with {as_given(config.llm.model.name)}; this takes a minute or more")
        yield host
    finally:
        # Its server's supervisor sees the end of the actor and ends the server with it.
        ray.kill(host)


def _wait_until_scheduled(host: ActorHandle, gpus: int, llm: Llm) -> None:
    try:
        ray.get(host.is_there.remote(), timeout=llm.startup_timeout_s)
    except GetTimeoutError as error:
        resources = ray.cluster_resources()
        raise StageError(
            f"discover: no node had one CPU and {gpus} GPUs free for the LLM's server within "
            f"{llm.startup_timeout_s:g} s (the cluster has {resources.get('CPU', 0):g} CPUs and "
            f"{resources.get('GPU', 0):g} GPUs); lower llm.gpus, or give llm.base_url of a server that runs"
        ) from error


@ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=2)  # it can be asked what it does
class _LlmHost:
    """Owns a vLLM server on its node, on the GPUs that Ray gave it, for as long as the discoveries take."""

    def __init__(self, gpus: int) -> None:
        self._gpus, self._doing, self._parts, self._read = gpus, "vLLM starts", 0, 0

    def is_there(self) -> bool:
        return True

    def doing(self) -> tuple[str, int, int]:
        """What it is busy with, how many parts there are to read as far as is known, and how many it has read."""
        return self._doing, self._parts, self._read

    def discover(
        self, captions: Mapping[str, Captions], class_names: list[str], config: Config
    ) -> list[Discovery]:
        from alia_ray.llm.server import serving

        folder = RunFolder(config.run.folder)
        with serving(config.llm, self._gpus, folder, lambda phase: self._note(f"vLLM {phase}")) as endpoint:
            self._note(READING)
            return _ask(captions, class_names, config, endpoint, self._note)

    def _note(self, doing: str, more: int = 0, read: int = 0) -> None:
        self._doing, self._parts, self._read = doing, self._parts + more, self._read + read
