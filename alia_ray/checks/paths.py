"""Paths that a worker could not follow to the same place, and URIs that cannot be opened."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pyarrow.fs as pafs
from pydantic import BaseModel

from alia_ray.config import Config
from alia_ray.config.places import Place
from alia_ray.errors import one_line
from alia_ray.store.run_folder import filesystem, without_query

_LISTED = ("imagefolder", "parquet", "webdataset")
"""The kinds of source that take whatever lies below a folder."""
_COPIED_BY_RAY = re.compile(r"/runtime_resources/working_dir_files/")  # where a submitted job's files are


def wrong_things(settings: Config) -> Iterator[str]:
    """A sentence for each path that would mean another place on another node, or that pyarrow cannot open."""
    wrong = [said for key, place in places(settings) for said in wrong_with(key, place, settings.run.address)]
    yield from wrong or _no_folder(settings.run.folder)


def wrong_with(key: str, place: Place, address: str | None) -> Iterator[str]:
    """What is wrong with one path, if anything; `address` is `run.address`."""
    elsewhere = _on_a_cluster(address, os.environ, os.getcwd())
    if elsewhere and place.is_relative:
        yield (
            f"{key}: {place.given} is relative to the folder of {elsewhere}, which other nodes do not have; "
            "give an absolute path on storage that all nodes share, or a URI such as s3://BUCKET/FOLDER"
        )
    elif "://" in place:
        yield from _cannot_open(key, place)


def places(section: BaseModel, *parents: str) -> Iterator[tuple[str, Place]]:
    """Every path and URI of a configuration, with its key."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Place):
            yield ".".join((*parents, name)), value
        elif isinstance(value, BaseModel):
            yield from places(value, *parents, name)


def _on_a_cluster(address: str | None, environment: Mapping[str, str], folder: str) -> str | None:
    """Whose working directory it is, where other nodes may take part; None where Ray is started here."""
    if _COPIED_BY_RAY.search(folder):
        return "a submitted job"
    joined = address or environment.get("RAY_ADDRESS")
    return f"the driver, {folder}" if joined and joined != "local" else None


def _no_folder(place: Place) -> Iterator[str]:
    """Why nothing can lie in the run folder: its storage does not answer, or lets nobody write there."""
    fs, path = filesystem(place)
    try:
        above = PurePosixPath(path).parents if fs.type_name == "local" else ()
        found = fs.get_file_info([path, *map(str, above)])
    except OSError as error:
        yield f"run.folder: {without_query(place)} cannot be reached: {one_line(error)}"
        return
    for info in found:
        if info.type == pafs.FileType.File:
            yield f"run.folder: {info.path} is a file; name another folder"
    there = [info.path for info in found if info.type == pafs.FileType.Directory]
    if above and there and not os.access(there[0], os.W_OK | os.X_OK):
        yield f"run.folder: this user may not write in {there[0]}; give it the right to, or name another folder"


def within_the_source(settings: Config) -> Iterator[str]:
    """That the next listing of the source would find what a run writes."""
    source, folder = settings.source, settings.run.folder
    if source.kind in _LISTED and lies_in(folder, source.path):
        yield (
            f"run.folder: {folder.given} lies in source.path, {source.path.given}, where its files would "
            "be taken for images; name a folder outside"
        )


def lies_in(place: Place, folder: Place) -> bool:
    """Whether a place is a folder, or lies below it."""
    return f"{without_query(place)}/".startswith(f"{without_query(folder).rstrip('/')}/")


def _cannot_open(key: str, uri: str) -> Iterator[str]:
    try:
        filesystem(uri)
    except (OSError, ValueError, ImportError) as error:  # pyarrow.ArrowInvalid is a ValueError
        yield f"{key}: cannot open {without_query(uri)}: {one_line(error)}"
