"""What a layout is, and how a place within a place is called."""

import posixpath
from dataclasses import dataclass
from typing import Any

from alia_ray.config.places import Place


@dataclass(frozen=True)
class Layout:
    """What was recognised: the section `source` as plain data, and what to call it."""

    source: dict[str, Any]
    called: str


def inside(place: Place, name: str) -> Place:
    """What is called so in a folder; the folder itself for ""."""
    path, query = parted(place)
    return Place.of(posixpath.join(path, name) + query) if name else place


def parted(place: Place) -> tuple[str, str]:
    """A path as it was given, and what a URI says behind a question mark of how to connect."""
    path, mark, query = place.given.partition("?") if "://" in place else (place.given, "", "")
    return path, mark + query
