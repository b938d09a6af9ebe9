"""Which CSV names pictures and their labels, and why one that names pictures cannot be read."""

import posixpath
from collections.abc import Collection
from itertools import islice
from typing import Any

import pyarrow as pa

from alia_ray.config import ConfigError
from alia_ray.config.places import Place
from alia_ray.init import columns
from alia_ray.init.layout import Layout, inside, parted
from alia_ray.sources.files import read_csv
from alia_ray.sources.folders import PICTURES, ending, may_be_picture, visible
from alia_ray.store.run_folder import filesystem

TABLES = (".csv", ".tsv")
_WATERBIRDS = {"img_filename", "y", "split", "place"}
_LOOKED_AT = 200  # rows


def of_table(place: Place) -> Layout:
    """The layout of a table that was named itself. Raises ConfigError."""
    path, query = parted(place)
    folder = Place.of((posixpath.dirname(path) or ".") + query)
    pictures = set(filter(may_be_picture, visible(*filesystem(folder)).files))
    rows = read_csv("path", place)
    if layout := _of_csv(folder, posixpath.basename(path), rows, pictures):
        return layout
    astray = _astray(folder, place.given, _values(rows), pictures)
    raise ConfigError(astray or f"{place.given}: none of its columns names files that lie beside it")


def of_tables(folder: Place, names: Collection[str], pictures: set[str]) -> tuple[Layout | None, list[str]]:
    """The layout of the one table of a folder that names its pictures; else what keeps others from it.

    Raises ConfigError where several do, or where it is open which columns hold what.
    """
    found, unclear, wrong = {}, [], []
    alike = {}  # tables of one label, such as a sample of what is to be handed in
    for name in sorted(names):
        path = inside(folder, name)
        try:
            rows = read_csv("path", path)
        except ConfigError as error:
            wrong.append(str(error).removeprefix("source.path: "))
            continue
        try:
            if layout := _of_csv(folder, name, rows, pictures):
                (alike if _has_one_label(layout, rows) else found)[name] = layout
            elif astray := _astray(folder, path.given, _values(rows), pictures):
                wrong.append(astray)
        except ConfigError as error:
            unclear.append(error)
    found = found or alike
    if len(found) > 1:
        first = inside(folder, next(iter(found))).given
        raise ConfigError(
            f"{folder.given}: {', '.join(found)} each name pictures and labels; name one, as {first}, or join "
            "them into one with a column split (train, val, test)"
        )
    if unclear and not found.keys() - alike.keys():
        raise unclear[0]
    return next(iter(found.values()), None), wrong


def _has_one_label(layout: Layout, rows: pa.Table) -> bool:
    column = layout.source.get("label_column")
    return column is not None and len(set(filter(None, rows.column(column).to_pylist()))) == 1


def _values(rows: pa.Table) -> dict[str, list[str]]:
    return {key: column.to_pylist() for key, column in zip(rows.column_names, rows.columns, strict=True)}


def _of_csv(folder: Place, name: str, rows: pa.Table, pictures: set[str]) -> Layout | None:
    """A table in the folder of the pictures that it names; None where it names none."""
    if set(rows.column_names) >= _WATERBIRDS:
        return Layout({"kind": "waterbirds", "path": folder.given}, "Waterbirds, by its metadata.csv")
    values, path = _values(rows), inside(folder, name).given
    named = _naming(values, pictures)
    if named is None:
        return None
    column, root = named
    if _joined(root, column) in pictures:
        raise ConfigError(
            f"{path}: its first line names a picture; put the columns' names above it, as path,label"
        )
    others = {other: given for other, given in values.items() if other != column}
    split = columns.split_of(others)
    label = columns.choose_label(
        path, {other: kind_of(given) for other, given in others.items() if other != split}
    )
    source = {"kind": "csv", "path": path, "root": inside(folder, root).given, "path_column": column}
    source["label_column"] = label
    if split not in (None, "split"):
        source["split_column"] = split
    splits = f", splits: {split}" if split else ""
    return Layout(source, f"a table, {name} (pictures: {column}, labels: {label}{splits})")


def _naming(values: dict[str, list[str]], files: Collection[str]) -> tuple[str, str] | None:
    """The column that names files, and the folder they are named from ("" for that of the table)."""
    for root in ("", *sorted({file.partition("/")[0] for file in files if "/" in file})):
        for column, given in values.items():
            some = list(islice(filter(None, given), _LOOKED_AT))
            there = sum(_joined(root, value) in files for value in some)
            if some and 2 * there > len(some):
                return column, root
    return None


def _joined(root: str, value: str) -> str:
    return posixpath.join(root, value.replace("\\", "/"))


def _astray(folder: Place, path: str, values: dict[str, list[str]], pictures: set[str]) -> str | None:
    """What to change where a column names pictures, but none that is there."""
    bare = {posixpath.splitext(picture)[0]: picture for picture in pictures}
    if named := _naming(values, bare.keys()):
        column, root = named
        value = next(value for value in values[column] if value and _joined(root, value) in bare)
        full = value + posixpath.splitext(bare[_joined(root, value)])[1]
        return f"{path}: its column {column!r} names pictures without their endings; write {full!r} for {value!r}"
    by_name = {posixpath.basename(picture): picture for picture in sorted(pictures)}
    for column, given in values.items():
        some = list(islice(filter(None, given), _LOOKED_AT))
        if some and 2 * sum(ending(value) in PICTURES for value in some) > len(some):
            there = by_name.get(posixpath.basename(some[0].replace("\\", "/")))
            return (
                f"{path}: its column {column!r} names pictures that are not in {folder.given}, such as "
                f"{some[0]!r}; name each as it lies there" + (f", here {there!r}" if there else "")
            )
    return None


def kind_of(values: list[Any]) -> columns.Kind:
    """A column whose values come again may be one of labels."""
    if any(isinstance(value, list | dict) for value in values):
        return "other"
    different = len({value for value in values if value not in (None, "")})
    return "value" if 1 < different <= len(values) / 2 else "other"
