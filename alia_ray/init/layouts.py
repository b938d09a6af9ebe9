"""How somebody's images are laid out: a path -> the section `source` that reads them."""

import json
import posixpath
import tarfile
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.config import ConfigError
from alia_ray.config.places import Place
from alia_ray.errors import one_line
from alia_ray.init import columns
from alia_ray.sources.files import read_csv, read_text
from alia_ray.sources.folders import ending, may_be_picture, visible
from alia_ray.sources.listing import SPLIT_NAMES
from alia_ray.store.run_folder import filesystem

_SAVED = ("dataset_dict.json", "state.json")  # of `datasets`' save_to_disk
_CUB = {"images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt"}
_WATERBIRDS = {"img_filename", "y", "split", "place"}
_TABLES, _PARQUET, _SHARDS = (".csv", ".tsv"), (".parquet", ".parq", ".pq"), (".tar",)
_LOOKED_AT = 200  # rows of a table, or members of a shard
_BROKEN = (OSError, ValueError, tarfile.TarError)  # pyarrow's errors are ValueErrors


@dataclass(frozen=True)
class Layout:
    """What was recognised: the section `source` as plain data, and what to call it."""

    source: dict[str, Any]
    called: str


def recognise(place: Place) -> Layout:
    """The layout of what lies at a place. Raises ConfigError where there is nothing, or where it is open."""
    fs, path = filesystem(place)
    found = fs.get_file_info(path).type
    if found == pafs.FileType.NotFound:
        raise ConfigError(f"there is no folder {place.given}")
    if found == pafs.FileType.Directory:
        return _of_folder(place)
    if ending(path) in _TABLES:
        return _of_table(place)
    if ending(path) in _PARQUET:
        return _of_parquet(place, [""])
    if ending(path) in _SHARDS:
        return _of_shards(place, "")
    raise ConfigError(f"{place.given} is a file; name the folder in which your class folders lie")


def _of_folder(place: Place) -> Layout:
    files = list(visible(*filesystem(place)).files)
    top = {file for file in files if "/" not in file}
    if not top.isdisjoint(_SAVED):
        return _of_saved(place, files)
    if top >= _CUB:
        return Layout({"kind": "cub", "path": place.given}, "CUB-200-2011, as its archive unpacks")
    pictures = [file for file in files if may_be_picture(file)]
    for table in sorted(name for name in top if ending(name) in _TABLES):
        rows = _table(_inside(place, table))
        if rows is not None and (layout := _of_csv(place, table, rows, set(pictures))):
            return layout
    parquet = [file for file in files if ending(file) in _PARQUET and not _is_hidden_part(file)]
    beside = [file for file in parquet if file in top]  # pictures; others may be of a run folder
    if pictures and beside and columns.image_of(_kinds(place, beside[0])):
        return _of_parquet(place, beside)
    if parquet and not pictures:
        return _of_parquet(place, parquet)
    shards = [file for file in files if ending(file) in _SHARDS]
    if shards and not pictures:
        return _of_shards(place, shards[0])
    return _of_images(place, pictures)


# ------------------------------------------------------------------ pictures in folders


def _of_images(place: Place, pictures: list[str]) -> Layout:
    """Folders of classes, or of splits and classes; they may lie in one folder more, as archives have it."""
    parts = [picture.split("/") for picture in pictures]
    outer = {part[0] for part in parts}
    if len(outer) == 1 and all(len(part) > 2 for part in parts) and min(outer).lower() not in SPLIT_NAMES:
        return _of_images(_inside(place, outer.pop()), ["/".join(part[1:]) for part in parts])
    _check_order(place, parts)
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


def _inside(place: Place, name: str) -> Place:
    """What is called so in a folder; the folder itself for ""."""
    path, query = _parted(place)
    return Place.of(posixpath.join(path, name) + query) if name else place


def _parted(place: Place) -> tuple[str, str]:
    """A path as it was given, and what a URI says behind a question mark of how to connect."""
    path, mark, query = place.given.partition("?") if "://" in place else (place.given, "", "")
    return path, mark + query


# ------------------------------------------------------------------ tables


def _of_table(place: Place) -> Layout:
    """A table that was named itself."""
    path, query = _parted(place)
    folder = Place.of((posixpath.dirname(path) or ".") + query)
    rows, files = read_csv("path", place), set(visible(*filesystem(folder)).files)
    layout = _of_csv(folder, posixpath.basename(path), rows, files)
    if layout is None:
        raise ConfigError(f"{place.given}: none of its columns names files that lie beside it")
    return layout


def _table(place: Place) -> pa.Table | None:
    """The rows of a CSV; None for a text that is none."""
    try:
        return read_csv("path", place)
    except ConfigError:
        return None


def _of_csv(folder: Place, name: str, rows: pa.Table, files: set[str]) -> Layout | None:
    """A table in the folder of the pictures that it names; None where it names none."""
    if set(rows.column_names) >= _WATERBIRDS:
        return Layout({"kind": "waterbirds", "path": folder.given}, "Waterbirds, by its metadata.csv")
    values = {key: column.to_pylist() for key, column in zip(rows.column_names, rows.columns, strict=True)}
    named = _naming(values, files)
    if named is None:
        return None
    column, root = named
    others = {other: given for other, given in values.items() if other != column}
    split = columns.split_of(others)
    kinds = {other: _kind_of(given) for other, given in others.items() if other != split}
    path = _inside(folder, name).given
    source = {"kind": "csv", "path": path, "root": _inside(folder, root).given, "path_column": column}
    source["label_column"] = columns.choose_label(path, kinds)
    if split not in (None, "split"):
        source["split_column"] = split
    return Layout(source, f"a table, {name}, beside the pictures that it names")


def _naming(values: dict[str, list[str]], files: set[str]) -> tuple[str, str] | None:
    """The column that names files, and the folder they are named from ("" for that of the table)."""
    for root in ("", *sorted({file.partition("/")[0] for file in files if "/" in file})):
        for column, given in values.items():
            some = list(islice(filter(None, given), _LOOKED_AT))
            there = sum(posixpath.join(root, value.replace("\\", "/")) in files for value in some)
            if some and 2 * there > len(some):
                return column, root
    return None


def _kind_of(values: list[str]) -> columns.Kind:
    """A column whose values come again may be one of labels."""
    different = len({value for value in values if value})
    return "value" if 1 < different <= len(values) / 2 else "other"


# ------------------------------------------------------------------ files of rows


def _is_hidden_part(file: str) -> bool:
    return any(part.startswith("_") for part in file.split("/"))


def _of_parquet(place: Place, files: list[str]) -> Layout:
    """Parquet files; those that are called by their splits, as Hugging Face has them, are read by its library."""
    kinds = _kinds(place, files[0])
    chosen = columns.choose(place.given, kinds)
    if "split" not in kinds and any(_first_word(file) in SPLIT_NAMES for file in files):
        source = {"kind": "huggingface", "name": _local(place.given), **chosen}
        return Layout(source, "Parquet files that are called by their splits")
    return Layout({"kind": "parquet", "path": place.given, **chosen}, "Parquet")


def _kinds(place: Place, file: str) -> dict[str, columns.Kind]:
    """What the columns of a Parquet file hold, its folders KEY=VALUE among them. `file`: below the place."""
    fs, root = filesystem(place)
    try:
        schema = pq.read_schema(posixpath.join(root, file) if file else root, filesystem=fs)
    except _BROKEN as error:
        raise ConfigError(f"{place.given}: cannot read {file or root}: {one_line(error)}") from error
    classes = _classes_of(schema)
    of_folders = [part.partition("=")[0] for part in file.split("/")[:-1] if "=" in part]
    kinds = {field.name: "class" if field.name in classes else _kind_of_type(field.type) for field in schema}
    return {**dict.fromkeys(of_folders, "value"), **kinds}


def _first_word(file: str) -> str:
    return posixpath.basename(file).lower().partition("-")[0]


def _classes_of(schema: pa.Schema) -> set[str]:
    """The columns that `datasets` left as class numbers."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _kind_of_type(kind: pa.DataType) -> columns.Kind:
    if pa.types.is_struct(kind):
        return "image" if {"bytes", "path"} & {field.name for field in kind} else "other"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "image"
    return "other" if pa.types.is_nested(kind) and not pa.types.is_dictionary(kind) else "value"


def _of_saved(place: Place, files: list[str]) -> Layout:
    """A dataset as `save_to_disk` leaves it, by what it says of its features."""
    about = sorted((file for file in files if posixpath.basename(file) == "dataset_info.json"), key=len)
    try:
        features = json.loads(read_text("name", place, about[0]))["features"] if about else {}
        kinds = {name: _kind_of_feature(feature) for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{place.given}: {about[0]} does not say what the dataset holds; save it again"
        raise ConfigError(said) from error
    source = {"kind": "huggingface", "name": _local(place.given), **columns.choose(place.given, kinds)}
    return Layout(source, "a dataset of Hugging Face, as save_to_disk leaves it")


def _local(given: str) -> str:
    """A folder's name that cannot be taken for one of the hub."""
    return given if "://" in given or given.startswith((".", "/", "~")) else f"./{given}"


def _kind_of_feature(feature: Any) -> columns.Kind:
    kinds: dict[str, columns.Kind] = {"Image": "image", "ClassLabel": "class", "Value": "value"}
    return kinds.get(feature.get("_type"), "other") if isinstance(feature, dict) else "other"


def _of_shards(place: Place, shard: str) -> Layout:
    """Tar files; the label is a `.cls`, or a key of the `.json`."""
    source: dict[str, Any] = {"kind": "webdataset", "path": place.given}
    kinds, described = _members(place, shard)
    if "cls" not in kinds and described:
        values = {key: "other" if isinstance(value, list | dict) else "value" for key, value in described.items()}
        source["label_key"] = columns.choose_label(f"{place.given}, its .json", values)
    return Layout(source, "WebDataset shards")


def _members(place: Place, shard: str) -> tuple[set[str], dict[str, Any]]:
    """The endings of the first members of a shard, and what its first .json says."""
    fs, root = filesystem(place)
    kinds, described = set(), {}
    try:
        with (
            fs.open_input_file(posixpath.join(root, shard) if shard else root) as file,
            tarfile.open(fileobj=file, mode="r:") as tar,
        ):
            for member in islice(tar, _LOOKED_AT):
                kinds.add(ending(member.name).removeprefix("."))
                if ending(member.name) == ".json" and not described and member.size < 2**20:
                    described = json.loads(tar.extractfile(member).read())
    except _BROKEN:
        return kinds, {}  # which listing it says better
    return kinds, described if isinstance(described, dict) else {}
