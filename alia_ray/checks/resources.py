"""What does not fit the cluster: more than a node has, or more memory than there is."""

from collections.abc import Callable, Iterator

from alia_ray.cluster.memory import caption_needs, edit_needs, train_needs
from alia_ray.cluster.placement import Cluster, check_llm, check_trainers, place
from alia_ray.config import Config, ConfigError


def wrong_things(settings: Config, cluster: Cluster, images: int) -> Iterator[str]:
    """A sentence for each stage that could never be scheduled. images: how many are trained and validated on."""
    checks: list[Callable[[], object]] = []
    if settings.discover.prompts is None:
        checks.append(lambda: place("caption", settings.caption, cluster, caption_needs(settings, cluster)))
        if settings.llm.base_url is None:
            checks.append(lambda: check_llm(settings.llm, cluster))
    baseline = settings.model_copy(update={"edit": settings.text_to_image})
    for making in (settings, baseline) if settings.needs_text_to_image else (settings,):
        checks.append(lambda making=making: place("edit", making.edit, cluster, edit_needs(making, cluster)))
    checks.append(lambda: check_trainers(settings.train, cluster, train_needs(settings.train, images, cluster)))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            yield str(error)
