"""waterbird_complete95_forest2water2, cut to 100 % bias as in the paper.

Train holds only birds on their own background, every fourth of them; val only birds on their own background;
test all. The birds of train and val that stand on the other background are `extra`.
"""

from collections import Counter

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.source import Waterbirds
from alia_ray.sources.files import Content, paths_below, read_csv, read_files, text_column, versions
from alia_ray.sources.listing import LISTING, values

PER_SPECIES = 1000  # at most so many training images of a species' folder count …
EVERY = 4  # … and of those every fourth trains
_LABELS = {"0": "landbird", "1": "waterbird"}
_PLACES = {"0": "land", "1": "water"}
_SPLITS = {"0": "train", "1": "val", "2": "test"}


def list_images(source: Waterbirds) -> pa.Table:
    """List the images of the protocol, in the order of metadata.csv; the group is "landbird/water" and alike.

    Raises ConfigError for a missing file or column, and for an unknown value.
    """
    rows = read_csv("path", source.path, "metadata.csv")
    origins = list(paths_below("path", values(text_column(rows, "img_filename", "path")), source.path))
    labels = _named(rows, "y", _LABELS)
    places = _named(rows, "place", _PLACES)
    splits = _named(rows, "split", _SPLITS)
    listed = []
    for origin, label, place, split in zip(origins, labels, places, splits, strict=True):
        at_home = label == f"{place}bird"
        listed.append((origin, label, split if at_home or split == "test" else "extra", f"{label}/{place}"))
    train = _every_fourth([origin for origin, _, split, _ in listed if split == "train"])
    kept = [row for row in listed if row[2] != "train" or row[0] in train]
    columns = [list(column) for column in zip(*kept, strict=True)] if kept else [[]] * 4
    return pa.table([*columns, versions(source.path, columns[0])], schema=LISTING)


def _named(rows: pa.Table, column: str, names: dict[str, str]) -> list[str]:
    codes = text_column(rows, column, "path").to_pylist()
    unknown = set(codes) - names.keys()
    if unknown:
        raise ConfigError(
            f"source.path: metadata.csv has {column}={min(unknown, key=str)!r}; only {', '.join(names)} are known"
        )
    return [names[code] for code in codes]


def _every_fourth(origins: list[str]) -> set[str]:
    """Species by species, of the first PER_SPECIES images of each, every fourth."""
    seen: Counter[str] = Counter()
    counted = []
    for origin in sorted(origins, key=lambda origin: origin.split("/")[0]):  # stable: else as in metadata.csv
        species = origin.split("/")[0]
        seen[species] += 1
        if seen[species] <= PER_SPECIES:
            counted.append(origin)
    return set(counted[::EVERY])


def read_images(source: Waterbirds, rows: pa.Table) -> list[Content]:
    """Read the files of some rows."""
    return read_files(source.path, rows.column("origin").to_pylist())
