"""Whether every class has a name of its own in prompts, and what a person should look at before a run.

See `alia_ray.edits.names` for the names.
"""

from collections.abc import Iterator
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from alia_ray.config import Config
from alia_ray.edits.names import ALIKE, doubts, prompt_names
from alia_ray.errors import TOLD, shortened

LISTED = 20  # names that a plan lists, beside the doubtful ones


def wrong_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """Names for labels that are not there, and classes without a name of their own.

    listing: the images of the source, of schema LISTING.
    """
    names = names_of(settings, listing)
    yield from _without_label(settings, listing, names)
    clashes = list(_not_told_apart(names))
    yield from clashes[:TOLD]
    if len(clashes) > TOLD:
        yield f"source: {len(clashes) - TOLD} more labels or groups of labels have no name of their own in prompts"


def names_of(settings: Config, listing: pa.Table) -> dict[str, str]:
    """What the classes of the training images are called: label -> name."""
    training = listing.filter(pc.equal(listing.column("split"), "train"))
    return prompt_names(_labels(training), settings.source.class_names)


def _labels(listing: pa.Table) -> list[str]:
    return [label for label in listing.column("label").unique().to_pylist() if label]


def _without_label(settings: Config, listing: pa.Table, names: dict[str, str]) -> Iterator[str]:
    """Keys of `class_names` that are no label.

    Where every class is named, others do no harm: a list of ImageNet's names does for a hundred of its classes.
    """
    given, labels = settings.source.class_names, _labels(listing)
    unknown = [] if given.keys() >= names.keys() else sorted(given.keys() - set(labels))
    for key in unknown[:TOLD]:
        near = get_close_matches(key, labels, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"the labels are {_quoted(labels)}"
        quotes = " YAML reads it as a number, so put it in quotes" if near and key.isdigit() else ""
        yield f"source.class_names: {key!r} is no label of the source; {hint}{quotes}"
    if len(unknown) > TOLD:
        yield f"source.class_names: {len(unknown) - TOLD} more keys are no labels of the source"


def _not_told_apart(names: dict[str, str]) -> Iterator[str]:
    """Labels that prompts would not name, or would call the same."""
    labels_of: dict[str, list[str]] = {}
    for label, name in names.items():
        labels_of.setdefault(name, []).append(label)
    for name, labels in labels_of.items():
        if not name or "{}" in name:
            what = "holds {}, the place of names" if name else "has nothing that can stand in a prompt"
            for label in labels:
                yield f"source: the label {label!r} {what}; name it: {_to_write([label])}"
        elif len(labels) > 1:
            yield (
                f"source: the labels {_quoted(labels)} are all called {name!r} in prompts, so that their edits "
                f"show the same; name them: {_to_write(labels)}"
            )


def _quoted(labels: list[str]) -> str:
    return shortened([repr(label) for label in labels])


def _to_write(labels: list[str]) -> str:
    """The line of YAML that names them."""
    mapping = yaml.safe_dump(
        dict.fromkeys(labels, "…"), default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6
    )
    return f"source.class_names: {mapping.strip()}"


# ------------------------------------------------------------------ what is not wrong, but worth a look


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """A sentence where names are hardly told apart, and one where they may mean nothing to a model."""
    names = names_of(settings, listing)
    doubtful = doubts(names, settings.source.class_names)
    if alike := [label for label, reason in doubtful.items() if reason == ALIKE]:
        yield (
            f"names: the labels {_quoted(alike)} differ in case or punctuation only, and are classes of their "
            "own; bring under one label what is one class"
        )
    doubtful = {label: reason for label, reason in doubtful.items() if reason != ALIKE}
    if doubtful:
        label, reason = next(iter(doubtful.items()))
        yield (
            f"names: {len(doubtful)} of {len(names)} classes have names that may mean nothing to a model, such as "
            f"{names[label]!r}, which {reason}; alia-ray plan lists them; say what they show, as "
            f"{_to_write([label])}"
        )


def describe(settings: Config, listing: pa.Table) -> list[str]:
    """The lines of a plan: label → name of the first classes, and of every doubtful one with its reason."""
    names = names_of(settings, listing)
    doubtful = doubts(names, settings.source.class_names)
    shown = [label for place, label in enumerate(names) if place < LISTED or label in doubtful]
    lines = [f"names     {len(names)} classes, as prompts call them; source.class_names changes a name"]
    lines += [_line(label, names[label], doubtful.get(label)) for label in shown]
    return lines + ([f"            … and {len(names) - len(shown)} more"] if len(names) > len(shown) else [])


def _line(label: str, name: str, doubt: str | None) -> str:
    label = label if label.isprintable() else repr(label)
    return f"          {'?' if doubt else ' '} {label} → {name}" + (f"  ({doubt})" if doubt else "")
