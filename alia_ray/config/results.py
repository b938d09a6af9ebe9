"""What names the results of a configuration: every key but those that say how fast or where they are made."""

from alia_ray.config.identity import fingerprint, plain
from alia_ray.config.run import Config, Experiment
from alia_ray.config.sections import Pool

_POOL = frozenset(Pool.model_fields)
_WITHOUT: dict[str, frozenset[str]] = {
    "run": frozenset(
        {"folder", "address", "accelerator", "gpus", "gpu_timeout_s"}
        | {"max_error_rate", "retry_errors", "source_changes"}
    ),
    "caption": _POOL,
    "edit": _POOL | {"compile"},
    "train": frozenset({"workers", "cpus_per_worker", "max_failures", "trackers"}),
}


def results_name(settings: Config, is_experiment: bool) -> str:
    """Twelve hex digits: the same for configurations that ask for the same results, however they are made.

    is_experiment: of `alia-ray experiment`, whose section a run does not read.
    """
    asked = {
        name: plain(value, _WITHOUT.get(name, frozenset())) for name, value in settings if name != "experiment"
    }
    compared = [settings.experiment or Experiment()] if is_experiment else []
    return fingerprint({**asked, "llm": settings.llm.identity}, settings.source.class_names, *compared)
