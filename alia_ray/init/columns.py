"""Which column of a table holds the images, and which the labels: by what they hold, then by their names."""

from collections.abc import Iterable, Mapping
from typing import Literal

from alia_ray.config import ConfigError
from alia_ray.sources.listing import meant_split

Kind = Literal["image", "class", "value", "other"]
"""What a column holds: pictures or their paths, classes without a doubt, one value a row, or none of these."""

_IMAGES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "file_name", "filename", "path", "file")
_LABELS = ("label", "labels", "class", "class_name", "classname", "category", "species", "breed", "target", "y")
_SPLITS = ("split", "set", "subset", "partition", "fold", "phase")


def image_of(columns: Mapping[str, Kind]) -> str | None:
    """The column of images; None where there is none, or it is open which one that is."""
    return _one(columns, "image", _IMAGES) or _named(columns, _IMAGES)


def choose(table: str, columns: Mapping[str, Kind]) -> dict[str, str]:
    """The keys `image_column` and `label_column`. Raises ConfigError where a table leaves them open."""
    image = image_of(columns)
    if image is None:
        raise ConfigError(f"{table}: which of {', '.join(columns)} holds pictures cannot be told; call that image")
    others = {name: kind for name, kind in columns.items() if name != image}
    return {"image_column": image, "label_column": choose_label(table, others)}


def choose_label(table: str, columns: Mapping[str, Kind]) -> str:
    """The column, or the key, of labels. Raises ConfigError where it is open which one that is."""
    likely = {name: kind for name, kind in columns.items() if name.lower() not in _SPLITS}
    label = _one(likely, "class", _LABELS) or _named(likely, _LABELS) or _one(likely, "value", ())
    if label is None:
        raise ConfigError(
            f"{table}: which of {', '.join(columns) or 'no columns'} holds the labels cannot be told; call that "
            "one label"
        )
    return label


def split_of(columns: Mapping[str, Iterable[str | None]]) -> str | None:
    """The column that names the splits, of name -> values: one that is called so and mostly holds such."""
    for name, values in columns.items():
        found = set(filter(None, values))
        if name.lower() in _SPLITS and 2 * sum(meant_split(value) is not None for value in found) > len(found):
            return name
    return None


def _one(columns: Mapping[str, Kind], kind: Kind, names: Iterable[str]) -> str | None:
    """The only column of a kind, or of several the one that is called so."""
    of_kind = [name for name, found in columns.items() if found == kind]
    return of_kind[0] if len(of_kind) == 1 else _named(of_kind, names)


def _named(columns: Iterable[str], names: Iterable[str]) -> str | None:
    by_name = {name.lower(): name for name in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)
