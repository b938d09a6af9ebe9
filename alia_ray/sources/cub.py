"""CUB-200-2011 as its archive unpacks. Of each species' official training images the last five are `extra`."""

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.source import Cub
from alia_ray.sources.files import Content, paths_below, read_files, read_text, versions
from alia_ray.sources.listing import make_listing

EXTRA_PER_CLASS = 5  # so many are the paper's real-data arm


def list_images(source: Cub) -> pa.Table:
    """List the images in the order of their ids; label and group are the species' folder.

    Under `paper` the official test images are listed twice, as val/… and test/…. Raises ConfigError for a list
    that is missing, broken or lacks an image.
    """
    listed = _by_id(source.path, "images.txt")
    paths = dict(zip(listed, paths_below("path", listed.values(), source.path), strict=True))
    species = _by_id(source.path, "classes.txt")
    class_of = _by_id(source.path, "image_class_labels.txt")
    is_training = _by_id(source.path, "train_test_split.txt")
    training: dict[str, list[str]] = {}
    rows: list[tuple[str, str, str]] = []  # origin, label, split
    for number, path in sorted(paths.items(), key=lambda item: int(item[0])):
        try:
            label, trains = species[class_of[number]], is_training[number] == "1"
        except KeyError as missing:
            raise ConfigError(
                f"source.path: image {number} of images.txt is not in the other lists, which lack {missing}; "
                "unpack the archive again"
            ) from missing
        if trains:
            training.setdefault(label, []).append(path)
        elif source.protocol == "paper":
            rows += [(f"val/{path}", label, "val"), (f"test/{path}", label, "test")]
        else:
            rows.append((path, label, "test"))
    for label, members in training.items():
        rows += [(path, label, "train") for path in members[:-EXTRA_PER_CLASS]]
        rows += [(path, label, "extra") for path in members[-EXTRA_PER_CLASS:]]
    origins, labels, given = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    files = versions(source.path, _files(source, origins))
    return make_listing(origins, labels, given, labels, files, source.val_fraction, test_fraction=0)


def _by_id(root: str, name: str) -> dict[str, str]:
    """A list of lines "ID VALUE"."""
    lines = [line.split(maxsplit=1) for line in read_text("path", root, name).splitlines() if line.strip()]
    if any(len(line) != 2 or not line[0].isdecimal() for line in lines):
        raise ConfigError(f"source.path: {name} must hold an id and a value in each line; unpack it again")
    return {number: value.strip() for number, value in lines}


def read_images(source: Cub, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, _files(source, rows.column("origin").to_pylist()))


def _files(source: Cub, origins: list[str]) -> list[str]:
    if source.protocol == "paper":
        origins = [origin.removeprefix("val/").removeprefix("test/") for origin in origins]
    return [f"images/{origin}" for origin in origins]
