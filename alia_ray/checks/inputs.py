"""What is refused before Ray starts: the sentences of all checks, collected, and raised as one error.

A check is a generator of sentences, `wrong_things`, in a file for each theme. It yields a sentence for each thing
that must be changed, and takes what it looks at.
"""

from collections.abc import Collection, Iterable, Iterator

import pyarrow as pa

from alia_ray.checks import models, names, paths, splits, texts, training
from alia_ray.config import Config, ConfigError
from alia_ray.sources import list_images

STAGES = ("ingest", "caption", "discover", "train_base", "judge", "edit", "train", "evaluate")
"""The stages of a run that need more than the run folder holds."""
_PROMPTING = {"caption", "discover", "judge", "edit"}
"""Those whose models read texts."""


def check_inputs(settings: Config, stages: Collection[str] = STAGES) -> pa.Table | None:
    """Raise one ConfigError with everything that would stop one of `stages`, a line each.

    Returns the source's listing where a stage reads the source: listing can be slow, so it is to be handed on.
    Stages that do not read it are checked against the images that the run folder took from it, as is `ingest`
    where it cannot be listed any more.
    """
    refuse([paths.wrong_things(settings)])  # the other checks follow them
    listing, unlisted = None, []
    try:
        listing = list_images(settings.source) if "ingest" in stages else None
    except ConfigError as error:
        unlisted = [str(error)]
    images = _ingested(settings) if listing is None else listing
    checks = [models.wrong_things(settings, stages), training.wrong_things(settings.train, stages)]
    checks.append(iter(unlisted) if images is None else splits.wrong_things(settings, images, stages))
    if images is not None and not _PROMPTING.isdisjoint(stages):
        checks += [names.wrong_things(settings, images), texts.wrong_things(settings, images)]
    if listing is not None and _ingested(settings) is None:  # what was ingested needs its files no more
        checks.append(splits.unreadable(settings, listing))
    refuse(checks)
    return listing


def check_ingested(settings: Config) -> None:
    """Raise ConfigError where what `ingest` left out, unreadable or in two splits, leaves too little for a run."""
    images = _ingested(settings)
    if images is not None:
        refuse([splits.wrong_things(settings, images, STAGES)])


def listing_of(settings: Config) -> pa.Table:
    """The images of the source, or of the run folder where it cannot be listed any more.

    A table of origin, label, split and group at least. Raises ConfigError where there are neither.
    """
    try:
        return list_images(settings.source)
    except ConfigError:
        images = _ingested(settings)
        if images is None:
            raise
        return images


def _ingested(settings: Config) -> pa.Table | None:
    """The images that the run folder holds, as they were listed; None before `ingest`."""
    from alia_ray.stages.ingest import images_table  # not above: it imports Ray

    rows = images_table(settings).read(["origin", "label", "split", "group"])
    return rows if rows.num_rows else None


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """What is not wrong, but worth a look before a long run."""
    for check in (names, texts):
        yield from check.doubtful_things(settings, listing)


def refuse(checks: Iterable[Iterator[str]]) -> None:
    """Raise one ConfigError that holds the sentences of all checks, a line each; nothing where there is none.

    A check that raises ConfigError, or OSError as storage and networks do, has said a sentence by it.
    """
    said = list(dict.fromkeys(sentence for check in checks for sentence in _sentences(check)))
    if said:
        raise ConfigError("\n".join(said))


def _sentences(check: Iterator[str]) -> Iterator[str]:
    try:
        yield from check
    except (ConfigError, OSError) as error:
        yield str(error)
