"""What is refused before Ray starts: the sentences of all checks, collected, and raised as one error.

A check is a generator of sentences, `wrong_things`, in a file for each theme. It yields a sentence for each thing
that must be changed, and what it needs to look at is what it takes.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from alia_ray.checks import models, names, splits, texts, training
from alia_ray.config import Config, ConfigError
from alia_ray.sources import list_images


def check_inputs(settings: Config) -> None:
    """Raise one ConfigError with all that is wrong: the source, its splits, the models, the libraries."""
    refuse([models.wrong_things(settings), training.wrong_things(settings.train), _of_the_source(settings)])


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """What is not wrong, but worth a look before a long run."""
    for check in (names, texts):
        yield from check.doubtful_things(settings, listing)


def refuse(checks: Iterable[Iterator[str]]) -> None:
    """Raise one ConfigError that holds the sentences of all checks, a line each; nothing where there is none.

    A check that raises ConfigError itself has said a sentence too.
    """
    said = list(dict.fromkeys(sentence for check in checks for sentence in _sentences(check)))
    if said:
        raise ConfigError("\n".join(said))


def _sentences(check: Iterator[str]) -> Iterator[str]:
    try:
        yield from check
    except ConfigError as error:
        yield str(error)


def _of_the_source(settings: Config) -> Iterator[str]:
    listing = list_images(settings.source)
    for check in (splits, names, texts):
        yield from check.wrong_things(settings, listing)
