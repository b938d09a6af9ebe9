"""What was found among somebody's images, in sentences; and names for the classes that have none for prompts."""

import re
from collections import Counter
from itertools import chain, count

import pyarrow as pa

from alia_ray.checks import names, splits
from alia_ray.config import Config
from alia_ray.config.source import Source
from alia_ray.edits.names import class_name, prompt_names
from alia_ray.errors import shortened
from alia_ray.progress import number_of
from alia_ray.sources import list_images, notes
from alia_ray.store.tables import SPLITS

_LONGEST = 150  # characters of a name, before what tells it from another one


def names_for(labels: list[str]) -> dict[str, str]:
    """A name for each label that cannot stand in a prompt as it is, or would be called as another one."""
    taken: set[str] = set()
    nameless = []
    for label, name in prompt_names(labels, {}).items():
        if not name or "{}" in name or name in taken:
            nameless.append(label)
        taken.add(name)
    given = {}
    for label in nameless:
        base = class_name(re.sub("[{}]", " ", label))[:_LONGEST] or "class"
        numbered = (f"{base} {number}" for number in count(2))
        given[label] = next(name for name in chain([base], numbered) if name not in taken)
        taken.add(given[label])
    return given


def counted(source: Source, listing: pa.Table) -> list[str]:
    """How many images and classes of which splits, the smallest class, and what was passed over."""
    images = Counter(listing.column("split").to_pylist())
    classes = Counter(filter(None, listing.column("label").to_pylist()))
    of_splits = ", ".join(f"{images[name]} {name}" for name in SPLITS if name in images)
    lines = [f"{number_of(listing.num_rows, 'images')}: {of_splits}{_drawn(source, listing)}"]
    if classes:
        label, fewest = min(classes.items(), key=lambda item: (item[1], item[0]))
        is_even = len(set(classes.values())) == 1
        of_each = f"of {fewest} images each" if is_even else f"the smallest, {label!r}, has {fewest}"
        lines.append(f"{len(classes)} classes, {of_each}: {shortened([repr(name) for name in sorted(classes)])}")
    return lines + notes(listing)


def _drawn(source: Source, listing: pa.Table) -> str:
    """Which splits are there only since they are held out of train."""
    fractions = dict.fromkeys({"val_fraction", "test_fraction"} & type(source).model_fields.keys(), 0.0)
    if not fractions:
        return ""
    named = set(list_images(source.model_copy(update=fractions)).column("split").to_pylist())
    drawn = [split for split in SPLITS if split in set(listing.column("split").to_pylist()) - named]
    return f"; {' and '.join(drawn)} held out of train by a hash of each image's name" if drawn else ""


def doubts(settings: Config, listing: pa.Table) -> list[str]:
    """What may be a mistake, a sentence each: classes that a split lacks, names that may mean nothing."""
    return [*splits.doubtful_things(settings, listing), *names.doubtful_things(settings, listing)]
