"""How somebody's images are laid out: a path -> the section `source` that reads them."""

import json
import posixpath
import tarfile
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from alia_ray.config import ConfigError
from alia_ray.config.places import Place
from alia_ray.errors import one_line
from alia_ray.init import columns, tables
from alia_ray.init.layout import Layout, inside, parted
from alia_ray.init.pictures import of_folders, only_folder
from alia_ray.init.tables import TABLES
from alia_ray.sources.files import read_csv, read_text
from alia_ray.sources.folders import ending, may_be_picture, visible
from alia_ray.sources.listing import SPLIT_NAMES
from alia_ray.store.run_folder import filesystem

_SAVED = ("dataset_dict.json", "state.json")  # of `datasets`' save_to_disk
_CUB = {"images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt"}
_DESCRIBED = ("metadata.jsonl", "metadata.csv")  # of Hugging Face's ImageFolder
_PARQUET, _SHARDS = (".parquet", ".parq", ".pq"), (".tar",)
_ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
_LOOKED_AT = 200  # members of a shard, or lines of a list
_BROKEN = (OSError, ValueError, tarfile.TarError)  # pyarrow's errors are ValueErrors


def missing(place: Place) -> Iterator[str]:
    """That there is nothing at a place, and what may have been meant; or that its storage does not answer."""
    try:
        fs, path = filesystem(place)
        found = fs.get_file_info(path).type
    except OSError as error:
        yield f"{parted(place)[0]} cannot be reached: {one_line(error)}; look at its name and your access"
        return
    if found != pafs.FileType.NotFound:
        return
    folder, name = posixpath.split(parted(place)[0].rstrip("/"))
    above = pafs.FileSelector(posixpath.dirname(path.rstrip("/")) or ".", allow_not_found=True)
    near = get_close_matches(name, [info.base_name for info in fs.get_file_info(above)], n=1)
    yield f"there is no folder {place.given}" + (
        f"; did you mean {posixpath.join(folder, near[0])}?" if near else ""
    )


def recognise(place: Place) -> Layout:
    """The layout of what lies at a place. Raises ConfigError where there is nothing, or where it is open."""
    for said in missing(place):
        raise ConfigError(said)
    fs, path = filesystem(place)
    found = fs.get_file_info(path).type
    if found == pafs.FileType.Directory:
        return _of_files(place, list(visible(fs, path).files))
    if ending(path) in TABLES:
        return tables.of_table(place)
    if ending(path) in _PARQUET:
        return _of_parquet(place, [""])
    if ending(path) in _SHARDS:
        return _of_shards(place, "")
    if ending(path) in _ARCHIVES:
        raise ConfigError(_unpack(place))
    raise ConfigError(f"{place.given} is a file; name the folder in which your class folders lie")


def _of_files(place: Place, files: list[str]) -> Layout:
    """The layout of a folder, by its files' paths below it."""
    top = {file for file in files if "/" not in file}
    if not top.isdisjoint(_SAVED):
        return _of_saved(place, files)
    if top >= _CUB:
        return Layout({"kind": "cub", "path": place.given}, "CUB-200-2011, as its archive unpacks")
    pictures = [file for file in files if may_be_picture(file)]
    table, wrong = tables.of_tables(place, [name for name in top if ending(name) in TABLES], set(pictures))
    if table is not None:
        return table
    parquet = [file for file in files if ending(file) in _PARQUET and not _is_hidden_part(file)]
    beside = [file for file in parquet if file in top]  # pictures; others may be of a run folder
    if pictures and beside and columns.image_of(_kinds(place, beside[0])):
        return _of_parquet(place, beside)
    if not pictures:
        return _of_packed(place, files, parquet)
    described = [file for file in files if posixpath.basename(file) in _DESCRIBED and "://" not in place]
    if described and (layout := _of_described(place, described[0])):
        return layout
    if only := only_folder(pictures):
        within = [file.removeprefix(f"{only}/") for file in files if file.startswith(f"{only}/")]
        return _of_files(inside(place, only), within)
    return of_folders(place, pictures, [file for file in files if not may_be_picture(file)], wrong)


def _of_packed(place: Place, files: list[str], parquet: list[str]) -> Layout:
    """The layout of a folder without pictures in files of their own; of an empty one, listing says what it lacks.

    Raises ConfigError where something has to be unpacked.
    """
    if parquet:
        return _of_parquet(place, parquet)
    if shards := [file for file in files if ending(file) in _SHARDS]:
        return _of_shards(place, shards[0])
    if archives := [file for file in files if ending(file) in _ARCHIVES]:
        raise ConfigError(_unpack(inside(place, archives[0])))
    return Layout({"kind": "imagefolder", "path": place.given}, "a folder for each class")


def _unpack(archive: Place) -> str:
    return f"{archive.given} is an archive; unpack it, and name the folder with what was in it"


# ------------------------------------------------------------------ files of rows


def _is_hidden_part(file: str) -> bool:
    return any(part.startswith("_") for part in file.split("/"))


def _of_parquet(place: Place, files: list[str]) -> Layout:
    """Parquet files; those that are called by their splits, as Hugging Face has them, are read by its library."""
    kinds = _kinds(place, files[0])
    chosen = columns.choose(place.given, kinds)
    by = " (pictures: {image_column}, labels: {label_column})".format(**chosen)
    if "split" not in kinds and any(_first_word(file) in SPLIT_NAMES for file in files):
        source = {"kind": "huggingface", "name": _local(place.given), **chosen}
        return Layout(source, f"Parquet files that are called by their splits{by}")
    return Layout({"kind": "parquet", "path": place.given, **chosen}, f"Parquet{by}")


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


def _of_described(place: Place, file: str) -> Layout | None:
    """Pictures that a list beside them describes, as Hugging Face's library reads them; None for another list."""
    path = inside(place, file)
    if ending(file) == ".csv":
        rows = read_csv("path", path).to_pylist()
    else:
        try:
            rows = [json.loads(line) for line in read_text("path", path).splitlines() if line.strip()]
        except ValueError as error:
            raise ConfigError(f"{path.given} is no list of JSON: {one_line(error)}") from error
    if not rows or not all(isinstance(row, dict) and "file_name" in row for row in rows):
        return None
    names = dict.fromkeys(name for row in rows for name in row if name != "file_name")
    kinds = {name: tables.kind_of([row.get(name) for row in rows]) for name in names}
    label = columns.choose_label(path.given, kinds)
    source = {"kind": "huggingface", "name": _local(place.given), "image_column": "image", "label_column": label}
    return Layout(source, f"pictures beside {file}, as Hugging Face reads them (labels: {label})")


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
    if kinds and kinds.isdisjoint(("cls", "json")):
        archive = inside(place, shard)
        raise ConfigError(f"{archive.given} holds no .cls or .json, as shards do; unpack it, and name the folder")
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
