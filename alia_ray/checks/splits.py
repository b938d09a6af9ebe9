"""Whether the source's splits hold what the configuration needs of them."""

from collections.abc import Iterator

import pyarrow as pa

from alia_ray.config import Config
from alia_ray.config.arms import ARMS


def wrong_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """What the images of the source (a table of schema LISTING) do not allow."""
    if "extra" not in listing.column("split").unique().to_pylist():
        yield from _without_extra(settings)


def _without_extra(settings: Config) -> Iterator[str]:
    """What needs the split `extra`, which the source does not have."""
    for arm in settings.named_arms:
        if ARMS[arm].real:
            yield f"train.arms: {arm} needs images in the split 'extra', and the source has none"
    if settings.select.num_extra == "extra":
        yield (
            "select.num_extra: 'extra' counts the images of the split 'extra', and the source has none; give a "
            "number, or all"
        )
