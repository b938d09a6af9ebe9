"""Whether the filters can drop anything of the classes that there are."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Config
from alia_ray.config.arms import ARMS


def wrong_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """The rule top_k, configured or compared by name, where every label is among the k likeliest of all."""
    judge = settings.judge
    variants = [ARMS[name].variant for name in settings.named_arms]
    is_configured = judge.confidence_rule == "top_k" and "mislabelled" in judge.filters
    if is_configured or any(variant and variant.rule == "top_k" for variant in variants):
        yield from _keeps_all(settings, listing)


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """The same where an experiment compares all arms, and so those with that rule."""
    if settings.experiment is not None and settings.experiment.arms is None:
        yield from _keeps_all(settings, listing)


def _keeps_all(settings: Config, listing: pa.Table) -> Iterator[str]:
    labels = listing.filter(pc.equal(listing.column("split"), "train")).column("label")
    classes = len({label for label in labels.unique().to_pylist() if label})
    if 0 < classes <= settings.judge.top_k:
        yield (
            f"judge.top_k: every label is among the {settings.judge.top_k} likeliest of {classes} classes, so the "
            "rule top_k calls no edit mislabelled; lower it"
        )
