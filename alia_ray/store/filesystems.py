"""Which filesystem a place lies on: a path, or a URI that pyarrow opens.

An object store is no file system. An object appears whole, and a folder is no more than how some names begin. Each
look at something is a request, so what a listing has said is not asked again.
"""

import posixpath
import re
from functools import lru_cache

import pyarrow.fs as pafs

_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
_TYPES = ("s3", "gcs", "abfs")  # what pyarrow calls them
_AS_IT_IS = re.compile(r"[\w.~/=+@,-]*", re.ASCII)  # what stands for itself in a URI
_ONE_REQUEST = "allow_delayed_open=true"  # else pyarrow begins an upload of several parts for the smallest object


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The pyarrow filesystem of a path or URI ("s3://…", "gs://…", "runs/demo"), and the path on it.

    A process has one client of a bucket, whatever it asks for there.
    """
    if "://" not in path:
        return pafs.LocalFileSystem(), posixpath.abspath(path)
    scheme, _, rest = path.partition("://")
    place, mark, query = rest.partition("?")
    bucket, _, key = place.partition("/")
    if scheme not in _SCHEMES or not bucket or not _AS_IT_IS.fullmatch(key):
        return _opened(path)
    fs, root = _opened(f"{scheme}://{bucket}{mark}{query}")
    return fs, f"{root}/{key}".rstrip("/")


@lru_cache(maxsize=64)
def _opened(uri: str) -> tuple[pafs.FileSystem, str]:
    """Once for each process: of a bucket whose region is not given, pyarrow asks the network each time."""
    if uri.startswith("s3://") and "allow_delayed_open" not in uri:
        uri += ("&" if "?" in uri else "?") + _ONE_REQUEST
    return pafs.FileSystem.from_uri(uri)


def is_object_store(fs: pafs.FileSystem) -> bool:
    """Whether a file is there whole or not at all, without any help."""
    return fs.type_name in _TYPES


def below(place: str, *parts: str) -> str:
    """The path or URI of something in the folder `place`; a URI's query, which says how to connect, stays last."""
    path, mark, query = place.partition("?") if "://" in place else (place, "", "")
    return posixpath.join(path, *parts) + mark + query


def without_query(place: str) -> str:
    """A path or URI for a person, or to take apart: without how to connect."""
    return place.partition("?")[0] if "://" in place else place
