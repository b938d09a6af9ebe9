"""What tells two versions of a model apart that have one name: a commit of the hub, or a digest of its files."""

import posixpath
from collections.abc import Collection

import pyarrow.fs as pafs

from alia_ray.config import Model
from alia_ray.models.naming import is_on_hub, is_random, is_simulated, place_of
from alia_ray.models.revisions import cached_commit
from alia_ray.store.run_folder import filesystem
from alia_ray.store.tables import content_id

_LOADED = (".json", ".safetensors", ".txt", ".model", ".jinja")
NOTHING = content_id()[:12]  # the digest of a folder that is not there
_END = 2**20  # bytes at each end of a large file; the first ones of safetensors say what it holds


def model_version(model: Model) -> str:
    """What a name leaves open: "commit 8a6b1c0d2e3f", "files 0f1e2d3c4b5a", "random weights" or "simulated"."""
    if is_simulated(model.name):
        return "simulated"
    if is_random(model.name):
        return "random weights"
    if not is_on_hub(model.name):
        return f"files {digest(place_of(model.name))}"
    commit = cached_commit(model.name, model.revision) or model.revision
    return f"commit {commit[:12]}" if commit else "a commit that is not known"


def digest(place: str, names: Collection[str] | None = None) -> str:
    """Twelve hex digits over the names, sizes and contents of a model's files in a folder; of large ones the ends.

    names: of the files that count; none: all that a model is loaded from. A folder that is not there has none.
    """
    fs, root = filesystem(place)
    found = fs.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True))
    parts: list[str | bytes] = []
    for info in sorted(found, key=lambda info: info.path):
        inner = posixpath.relpath(info.path, root)
        wanted = inner in names if names is not None else inner.endswith(_LOADED) and not f"/{inner}".count("/.")
        if info.type == pafs.FileType.File and wanted:
            parts += [inner, str(info.size), *_ends(fs, info)]
    return content_id(*parts)[:12]


def _ends(fs: pafs.FileSystem, info: pafs.FileInfo) -> tuple[bytes, bytes]:
    with fs.open_input_file(info.path) as file:
        return file.read_at(min(_END, info.size), 0), file.read_at(min(_END, info.size), max(0, info.size - _END))
