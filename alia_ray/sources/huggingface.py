"""A dataset of Hugging Face's library `datasets`: from the hub, from `save_to_disk`, or a folder of data files.

The library is an optional dependency, imported where it is needed. Code that comes with a dataset is never run.
"""

import logging
import os
import posixpath
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.config import ConfigError
from alia_ray.config.source import HuggingFace
from alia_ray.errors import one_line
from alia_ray.sources.files import NO_PATH, Content, NoPictureError, is_no_path, read_by_part, read_files
from alia_ray.sources.listing import AT_ONCE, FOUND, make_listing
from alia_ray.store.run_folder import filesystem

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder

_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves in the folder of all splits, or of one
_IMAGE_TYPES = ("binary", "large_binary", "string", "large_string")  # strings are paths


def list_images(source: HuggingFace) -> pa.Table:
    """List every row as SPLIT#ROW. Raises ConfigError for a dataset that cannot be loaded or a missing column."""
    parts = [FOUND.empty_table()]
    for split, rows in _load(source).items():
        _check_columns(source, rows)
        version = rows._fingerprint  # the library's own, of data files and their times
        for start in range(0, rows.num_rows, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, rows.num_rows))
            some, count = rows.select(numbers), len(numbers)
            columns = [
                [f"{split}#{number}" for number in numbers],
                _text(some, source.label_column),
                [split or None] * count,
                _text(some, source.group_column or source.label_column),
                [version] * count,
            ]
            parts.append(pa.table(columns, schema=FOUND))
    return make_listing(*pa.concat_tables(parts).columns, source.val_fraction, source.test_fraction)


def _load(source: HuggingFace) -> dict[str, "Dataset"]:
    """The splits by their names; a dataset without splits has the name ""."""
    if find_spec("datasets") is None:
        raise ConfigError('source.kind: huggingface needs the library `datasets`; pip install "datasets>=4"')
    import datasets

    datasets.disable_progress_bars()  # of copying; those of downloads are the hub's
    logging.getLogger("huggingface_hub.repocard").setLevel(logging.ERROR)  # a README.md need not be a card
    try:
        if _is_saved(source.name):
            loaded = datasets.load_from_disk(source.name)
        else:
            builder = datasets.load_dataset_builder(source.name, source.config, revision=source.revision)
            _check_files(source.name, builder)
            builder.download_and_prepare()
            loaded = builder.as_dataset()
    except (OSError, ValueError, RuntimeError, LookupError, datasets.exceptions.DatasetsError) as error:
        may_not = "; where the library may not write, set HF_HOME" if isinstance(error, PermissionError) else ""
        raise ConfigError(
            f"source.name: the dataset {source.name!r} cannot be loaded: {one_line(error)}{may_not}"
        ) from error
    parts = loaded if isinstance(loaded, dict) else {"": loaded}
    return {split: rows.with_format(None) for split, rows in parts.items()}


_opened = lru_cache(maxsize=1)(_load)  # a worker reads many batches of one dataset


def _check_files(name: str, builder: "DatasetBuilder") -> None:
    """Raise ConfigError where a dataset takes its data from elsewhere, as its README.md may say of any file."""
    home = os.path.abspath(name) + "/" if os.path.isdir(name) else f"hf://datasets/{builder.repo_id}@"
    for file in (file for files in (builder.config.data_files or {}).values() for file in files):
        place = file if "://" in file else os.path.abspath(file)
        if not place.startswith(home):
            raise ConfigError(
                f"source.name: {name} takes its data from {place}, which lies outside of it, as its README.md "
                "says; correct it there, or name the place itself"
            )


def _is_saved(name: str) -> bool:
    fs, folder = filesystem(name)
    found = fs.get_file_info([posixpath.join(folder, file) for file in _SAVED])
    return any(info.type == pafs.FileType.File for info in found)


def _check_columns(source: HuggingFace, rows: "Dataset") -> None:
    import datasets

    for key in ("image_column", "label_column", "group_column"):
        column = getattr(source, key)
        if column is not None and column not in rows.features:
            raise ConfigError(f"source.{key}: there is no column {column!r}, only {', '.join(rows.features)}")
        feature = rows.features.get(column)
        if key != "image_column" and column and not isinstance(feature, datasets.Value | datasets.ClassLabel):
            raise ConfigError(f"source.{key}: {column!r} holds {feature}, not one value a row")
    feature = rows.features[source.image_column]
    is_struct = isinstance(feature, dict) and feature.keys() == {"bytes", "path"}  # of plain Parquet
    if not (is_struct or isinstance(feature, datasets.Image) or getattr(feature, "dtype", None) in _IMAGE_TYPES):
        raise ConfigError(
            f"source.image_column: {source.image_column!r} holds {feature}, not images: it must hold one a row, "
            "encoded, or the path of its file"
        )


def _text(rows: "Dataset", column: str) -> list[str | None]:
    """A column as text: a class number becomes its name, and -1, which stands for no label, null."""
    import datasets

    values = rows.select_columns(column)[:][column]
    feature = rows.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.names[value] if value is not None and value >= 0 else None for value in values]
    return [None if value is None or value != value else str(value) for value in values]  # NaN is not itself


def read_images(source: HuggingFace, rows: pa.Table) -> list[Content]:
    """The encoded bytes of some rows, as they are stored."""
    import datasets

    def read(split: str, numbers: list[int]) -> list[Content]:
        images = _opened(source)[split].select_columns(source.image_column)
        encoded = images.cast_column(source.image_column, datasets.Image(decode=False))
        return [_content(source, value) for value in encoded[numbers][source.image_column]]

    places = (origin.rsplit("#", 1) for origin in rows.column("origin").to_pylist())
    return read_by_part([(split, int(number)) for split, number in places], read)


def _content(source: HuggingFace, value: dict[str, Any] | None) -> Content:
    """A stored image: its bytes, or a file that the library brought here or that lies in the dataset's folder."""
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE

    if value is None or (value["bytes"] is None and value["path"] is None):
        return NoPictureError("the image column is null")
    if value["bytes"] is not None:
        return value["bytes"]
    if is_no_path(value["path"]):
        return NoPictureError(NO_PATH)
    path = os.path.abspath(os.path.join(source.name if os.path.isdir(source.name) else "", value["path"]))
    roots = (source.name, str(datasets.config.HF_DATASETS_CACHE), HF_HUB_CACHE)
    if not any(path.startswith(os.path.join(os.path.abspath(root), "")) for root in roots):
        return NoPictureError(f"the row names the file {value['path']}, which lies outside of the dataset")
    return read_files("/", [path])[0]
