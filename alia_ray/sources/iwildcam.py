"""A part of WILDS' iWildCam: seven classes, listed in four CSV files that the user brings."""

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.source import IWildCam
from alia_ray.sources.files import Content, paths_below, read_csv, read_files, text_column, versions
from alia_ray.sources.listing import LISTING, values

CLASSES = ("background", "cattle", "elephants", "impalas", "zebras", "giraffes", "dik-diks")
WILDS_CODES = (0, 24, 32, 36, 48, 49, 52)  # what the published lists call the classes, in the order of CLASSES
_VOCABULARIES = (
    {str(code): name for code, name in zip(WILDS_CODES, CLASSES, strict=True)},
    {str(place): name for place, name in enumerate(CLASSES)},
    {name: name for name in CLASSES},
)
_LISTS = {"train": "train_subset", "extra": "train_extra_subset", "val": "val_subset", "test": "test_subset"}


def list_images(source: IWildCam) -> pa.Table:
    """List the four files as SPLIT/FILENAME; the group is the camera's location.

    An image in two lists is listed twice: under `strict`, `ingest` keeps one of them, as for every picture that
    occurs twice. Raises ConfigError for a list or column that is missing, and for an unknown class.
    """
    parts = []
    for split, name in _LISTS.items():
        rows = read_csv("lists", source.lists, f"{name}.csv")
        files = list(paths_below("lists", values(text_column(rows, "filename", "lists")), source.path))
        labels = _labels(_numbers(rows, "y"), f"{name}.csv")
        locations = _numbers(rows, "location_remapped")
        columns = [[f"{split}/{file}" for file in files], labels, [split] * len(files), locations]
        parts.append(pa.table([*columns, versions(source.path, files)], schema=LISTING))
    return pa.concat_tables(parts)


def _numbers(rows: pa.Table, column: str) -> list[str | None]:
    """A column of whole numbers or names; pandas writes 24 as 24.0 where another row has none."""
    return [value and value.removesuffix(".0") for value in values(text_column(rows, column, "lists"))]


def _labels(codes: list[str | None], name: str) -> list[str]:
    """The class names of a list's column `y`, all of whose values must be of one vocabulary."""
    for vocabulary in _VOCABULARIES:
        if vocabulary.keys() >= set(codes):
            return [vocabulary[code] for code in codes]
    unknown = [code for code in codes if not any(code in vocabulary for vocabulary in _VOCABULARIES)]
    problem = f"has y={unknown[0]!r}" if unknown else "writes y in more than one way"
    raise ConfigError(
        f"source.lists: {name} {problem}; write every y as WILDS' number {WILDS_CODES}, as 0 to 6, or as a name "
        f"of {', '.join(CLASSES)}"
    )


def read_images(source: IWildCam, rows: pa.Table) -> list[Content]:
    """Read the files of some rows; the published lists name some that are not in the archive."""
    return read_files(source.path, [origin.partition("/")[2] for origin in rows.column("origin").to_pylist()])
