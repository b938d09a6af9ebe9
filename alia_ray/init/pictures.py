"""Pictures in folders: folders of classes, or of splits and classes; and what to do where nothing says a class."""

import csv
import io
import posixpath
import re
from collections.abc import Iterable

from alia_ray.config import ConfigError
from alia_ray.config.places import Place
from alia_ray.init.layout import Layout, inside
from alia_ray.progress import number_of
from alia_ray.sources.folders import ending
from alia_ray.sources.listing import SPLIT_NAMES, meant_split

_OF_LABELS = (".json", ".jsonl", ".csv", ".tsv", ".xml", ".mat", ".yaml", ".yml", ".txt")
"""Endings of files in which other tools keep labels."""
_CLASS_AND_NUMBER = re.compile(r"(.*[^\W\d_])[\W_]*\d+[\W_]*")  # "cat_001", "cat.1", "great pyrenees (2)"


def only_folder(pictures: list[str]) -> str | None:
    """The folder in which all folders of classes or splits lie, as archives have it."""
    outer = {picture.partition("/")[0] for picture in pictures}
    if len(outer) == 1 and min(outer).lower() not in SPLIT_NAMES and all(p.count("/") > 1 for p in pictures):
        return min(outer)
    return None


def of_folders(place: Place, pictures: list[str], others: Iterable[str], wrong: list[str]) -> Layout:
    """The layout of pictures in folders.

    others: the files that are none; wrong: what keeps tables from giving labels. Raises ConfigError where classes
    hold splits, or nothing says a class.
    """
    parts = [picture.split("/") for picture in pictures]
    _check_order(place, parts)
    if unlabelled := _unlabelled(place, parts, others):
        raise ConfigError("\n".join(wrong) or unlabelled)
    has_splits = any(len(part) > 2 and part[0].lower() in SPLIT_NAMES for part in parts)
    called = "folders of splits, and in them of classes" if has_splits else "a folder for each class"
    return Layout({"kind": "imagefolder", "path": place.given}, called)


def _check_order(place: Place, parts: list[list[str]]) -> None:
    """Raise ConfigError where most classes hold a folder for each split: test images would be trained on."""
    inside: dict[str, set[str]] = {}
    for part in parts:
        inside.setdefault(part[0], set()).add(part[1].lower() if len(part) > 2 else "")
    swapped = [
        name for name, found in inside.items() if found <= SPLIT_NAMES.keys() and name.lower() not in SPLIT_NAMES
    ]
    if 2 * len(swapped) > len(inside):
        split = min(inside[swapped[0]])
        raise ConfigError(
            f"{place.given}: each class holds its splits, as {swapped[0]}/{split}; bring them into the order "
            f"SPLIT/CLASS/*.jpg, as {split}/{swapped[0]}"
        )


def _unlabelled(place: Place, parts: list[list[str]], others: Iterable[str]) -> str | None:
    """What to do where folders tell no classes apart: all pictures lie in one, or in splits without classes."""
    folders = [part[:-1] for part in parts]
    in_splits = all(folder and _is_split(folder) for folder in folders)
    classes = {tuple(folder[in_splits:][:1]) for folder in folders}
    if len(classes) != 1:
        return None
    [only] = classes
    lie = (
        f"lie in one folder, {only[0]!r}, and a classifier needs two classes"
        if only
        else "lie in no class folders"
    )
    picture, label = _example(parts)
    split = picture[:1] if in_splits else []
    moved = "/".join([*split, label or "CLASS", picture[-1]])
    header = ["path", "label", *(["split"] if split else [])]
    line = ["/".join(picture), label or "CLASS", *map(meant_split, split)]
    return (
        f"{place.given}: its {number_of(len(parts), 'pictures')} {lie}; move each to its class, "
        f"as {inside(place, moved).given}, or write a table {inside(place, 'labels.csv').given} with the header "
        f"{_row(header)!r} and a line for each, as {_row(line)!r}"
        + ("; most names seem to begin with the class, so a program can write it" if label else "")
        + "".join(f"; labels in {other} are not read" for other in _of_labels(others))
    )


def _is_split(folders: list[str]) -> bool:
    """Whether the first folder of a picture is a split, or may be meant as one where no class lies in it."""
    return folders[0].lower() in SPLIT_NAMES or (len(folders) == 1 and meant_split(folders[0]) is not None)


def _example(parts: list[list[str]]) -> tuple[list[str], str | None]:
    """A picture, and the class that its name begins with, where most names are of a class and a number."""
    found = [(part, _CLASS_AND_NUMBER.fullmatch(posixpath.splitext(part[-1])[0])) for part in parts]
    named = [(part, match[1]) for part, match in found if match]
    is_class = 2 * len(named) > len(parts) and 1 < len({label for _, label in named}) <= len(named) / 2
    return named[0] if is_class else (parts[0], None)


def _of_labels(others: Iterable[str]) -> list[str]:
    """The likeliest file of labels among those that are no pictures; none where there is none."""
    likely = [other for other in others if ending(other) in _OF_LABELS and "readme" not in other.lower()]
    return sorted(likely, key=lambda other: _OF_LABELS.index(ending(other)))[:1]


def _row(values: list[str | None]) -> str:
    """A line of a CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
