"""A part of a source for a trial: which images `source.limit` and `source.limit_per_class` take.

The same ones everywhere, by a hash of their names; a larger limit takes those of a smaller one and more.
"""

from collections import Counter

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.source import Source
from alia_ray.sources.listing import with_note
from alia_ray.store.tables import content_id


def limited(source: Source, listing: pa.Table) -> pa.Table:
    """The rows that a trial takes, in the order of the listing: of every class of every split its share.

    Raises ConfigError for a limit that does not do for one image of each class in each split.
    """
    if source.trial is None:
        return listing
    of_rows = list(zip(*(listing.column(name).to_pylist() for name in ("split", "label")), strict=True))
    _check(source, set(of_rows))
    order = _in_turn(listing.column("origin").to_pylist(), of_rows)
    if source.limit_per_class is not None:
        taken: Counter[str | None] = Counter()
        kept = []
        for index in order:
            taken[of_rows[index][1]] += 1
            if taken[of_rows[index][1]] <= source.limit_per_class:
                kept.append(index)
        order = kept
    rows = listing.take(sorted(order[: source.limit]))
    return with_note(rows, f"{rows.num_rows} of {listing.num_rows} images are taken: {source.trial}")


def _check(source: Source, there: set[tuple[str, str | None]]) -> None:
    needed = {
        "limit": (len(there), "images do not do for one of each class in each split"),
        "limit_per_class": (
            max(Counter(label for _, label in there).values()),
            "images of a class do not do for one in each split that has it",
        ),
    }
    for key, (fewest, do_not_do) in needed.items():
        given = getattr(source, key)
        if given is not None and given < fewest:
            raise ConfigError(f"source.{key}: {given} {do_not_do}; give {fewest} at least")


def _in_turn(origins: list[str], of_rows: list[tuple[str, str | None]]) -> list[int]:
    """The rows in the order in which a limit takes them: first one of each class and split, then of all alike."""
    members: dict[tuple[str, str | None], list[int]] = {}
    for index, place in enumerate(of_rows):
        members.setdefault(place, []).append(index)
    hashes = [content_id("limit", origin) for origin in origins]
    turns = [0.0] * len(origins)
    for indices in members.values():
        for rank, index in enumerate(sorted(indices, key=hashes.__getitem__)):
            turns[index] = rank / len(indices)
    return sorted(range(len(origins)), key=lambda index: (turns[index], hashes[index]))
