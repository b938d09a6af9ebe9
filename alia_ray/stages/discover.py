"""discover: captions -> domains, by an LLM that runs only as long as it is needed (paper, section 3.1)."""

import contextlib
from collections.abc import Iterator, Sequence

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from alia_ray.cluster.joining import available, check_llm
from alia_ray.config import Config, ConfigError, Llm
from alia_ray.errors import StageError
from alia_ray.llm.discover import Discovery, discover_domains, given_domains


def run_discover(captions: Sequence[list[str]], class_names: list[str], config: Config) -> list[Discovery]:
    """Discover the domains of some sets of captions; Ray must be initialised unless no server has to be started.

    `discover.prompts` needs no LLM and `llm.base_url` no server of our own; otherwise an actor starts vLLM once,
    talks to it on its own node, and stops it in every way out. Raises ConfigError and StageError.
    """
    if config.discover.prompts is not None:
        return [given_domains(each, config.discover) for each in captions]
    if config.llm.base_url is not None:
        return _ask(captions, class_names, config, config.llm.base_url)
    with _host(config) as host:
        try:
            return ray.get(host.discover.remote(captions, class_names, config))
        except RayTaskError as error:
            if isinstance(error.cause, ConfigError | StageError):
                raise error.cause from error
            raise
        except RayActorError as error:
            raise StageError(f"discover: the worker that ran the LLM died ({error}); run it again") from error


def _ask(captions: Sequence[list[str]], class_names: list[str], config: Config, base_url: str) -> list[Discovery]:
    discover, llm, seed = config.discover, config.llm, config.run.seed
    return [discover_domains(each, class_names, discover, llm, base_url, seed) for each in captions]


@contextlib.contextmanager
def _host(config: Config) -> Iterator[ActorHandle]:
    """The actor that owns the server, once it is scheduled. On leaving, its server is stopped."""
    cluster = available(config.run.accelerator)
    check_llm(config.llm, cluster)
    gpus = config.llm.gpus if cluster.gpus else 0
    host = _LlmHost.options(num_cpus=1, num_gpus=gpus).remote()
    try:
        _wait_until_scheduled(host, gpus, config.llm)
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


@ray.remote(max_restarts=0, max_task_retries=0)
class _LlmHost:
    """Owns a vLLM server on its node for as long as the discoveries take."""

    def is_there(self) -> bool:
        return True

    def discover(self, captions: Sequence[list[str]], class_names: list[str], config: Config) -> list[Discovery]:
        from alia_ray.llm.server import serving

        with serving(config.llm) as base_url:
            return _ask(captions, class_names, config, base_url)
