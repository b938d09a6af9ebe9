"""What is refused before the first stage: the sentences of all checks, collected, and raised as one error.

A check is a generator of sentences, `wrong_things`, in a file for each theme. It yields a sentence for each thing
that must be changed, and takes what it looks at.
"""

from collections.abc import Collection, Iterable, Iterator

import pyarrow as pa

from alia_ray.checks import contexts, filters, models, names, paths, servers, splits, texts, training, unread
from alia_ray.config import Config, ConfigError
from alia_ray.plain_text import plain_line
from alia_ray.stages.ingest import list_source, unfinished
from alia_ray.state import State

STAGES = ("ingest", "caption", "discover", "train_base", "judge", "edit", "train", "evaluate")
"""The stages of a run that need more than the run folder holds."""
_SELECTING = {"judge", "edit", "train"}
"""Those that go by verdicts."""
_PROMPTING = {"caption", "discover", "judge", "edit"}
"""Those whose models read texts."""


def check_inputs(settings: Config, stages: Collection[str] = STAGES) -> pa.Table | None:
    """What `look_at_inputs` gives. Raises one ConfigError with everything that would stop one of `stages`."""
    listing, wrong = look_at_inputs(settings, stages)
    refuse([wrong])
    return listing


def look_at_inputs(settings: Config, stages: Collection[str] = STAGES) -> tuple[pa.Table | None, list[str]]:
    """The source's listing where a stage reads the source, and a sentence for each thing that would stop `stages`.

    Listing can be slow, so it is to be handed on. Stages that do not read the source are checked against the
    images that the run folder took from it, as is `ingest` where it cannot be listed any more.
    """
    models_and_training = [models.wrong_things(settings, stages), training.wrong_things(settings.train, stages)]
    astray = _sentences([paths.wrong_things(settings)])
    if astray:  # what lies behind the paths is somewhere else
        return None, _sentences([astray, *models_and_training])
    listing, unlisted = None, []
    try:
        listing = list_source(settings) if "ingest" in stages else None
    except ConfigError as error:
        unlisted = [str(error)]
    ingested = _ingested(settings)
    images = ingested if listing is None else listing
    checks = [*models_and_training, unlisted if images is None else splits.wrong_things(settings, images, stages)]
    if images is not None and not _SELECTING.isdisjoint(stages):
        checks.append(filters.wrong_things(settings, images))
    if images is not None and not _PROMPTING.isdisjoint(stages):
        checks += [names.wrong_things(settings, images), texts.wrong_things(settings, images)]
    if listing is not None and ingested is None:  # what was ingested needs its files no more
        checks += [splits.unreadable(settings, listing), paths.within_the_source(settings)]
    if "discover" in stages and not State(settings).has_domains():  # with them, the server may be gone
        checks += [servers.wrong_things(settings), contexts.wrong_things(settings)]
    return listing, _sentences(checks)


def check_ingested(settings: Config) -> None:
    """Raise ConfigError where what `ingest` left out, unreadable or in two splits, leaves too little for a run."""
    images = _ingested(settings)
    if images is not None:
        refuse([splits.wrong_things(settings, images, STAGES)])


def listing_of(settings: Config, listing: pa.Table | None = None) -> pa.Table:
    """The images of the source, as it was listed before, or as the run folder took them from it.

    A table of origin, label, split and group at least. listing: the source's, where it was listed before. It is
    listed here only where there are neither. Raises ConfigError.
    """
    if listing is not None:
        return listing
    images = _ingested(settings)
    return list_source(settings) if images is None else images


def _ingested(settings: Config) -> pa.Table | None:
    """The images that the run folder holds, as they were listed; None before `ingest` has come to its end."""
    images = State(settings).images
    if unfinished(images):
        return None
    rows = images.read(["origin", "label", "split", "group"])
    return rows if rows.num_rows else None


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """What is not wrong, but worth a look before a long run."""
    for check in (filters, names, texts, training):
        yield from check.doubtful_things(settings, listing)
    yield from unread.doubtful_things(settings)


def refuse(checks: Iterable[Iterable[str]]) -> None:
    """Raise one ConfigError that holds the sentences of all checks, a line each; nothing where there is none."""
    if said := _sentences(checks):
        raise ConfigError("\n".join(map(plain_line, said)))


def _sentences(checks: Iterable[Iterable[str]]) -> list[str]:
    """What checks say, each sentence once.

    A check that raises ConfigError, or OSError as storage and networks do, has said a sentence by it.
    """
    said: dict[str, None] = {}
    for check in checks:
        try:
            for sentence in check:
                said[sentence] = None
        except (ConfigError, OSError) as error:
            said[str(error)] = None
    return list(said)
