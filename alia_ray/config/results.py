"""What names the results of a configuration: every key but those that say how fast or where they are made."""

from functools import cache

from alia_ray.config.identity import fingerprint, plain
from alia_ray.config.keys import ASKING, changed_names, keys
from alia_ray.config.run import Config, Experiment


def results_name(settings: Config, is_experiment: bool) -> str:
    """Twelve hex digits: the same for configurations that ask for the same results, however they are made.

    is_experiment: of `alia-ray experiment`, whose section a run does not read.
    """
    sections = {name: value for name, value in settings if name != "experiment"}
    asked = {name: plain(value, without=_without(name)) for name, value in sections.items()}
    compared = [settings.experiment or Experiment()] if is_experiment else []
    return fingerprint({**asked, "llm": settings.llm.identity}, settings.source.class_names, *compared)


@cache
def _without(section: str) -> frozenset[str]:
    """The keys of a section that change nothing but how fast or where something is made."""
    idle = (key.name for key in keys(Config) if not changed_names(key.name) and key.name not in ASKING)
    return frozenset(name.partition(".")[2] for name in idle if name.startswith(f"{section}."))
