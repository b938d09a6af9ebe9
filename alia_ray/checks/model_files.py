"""Where a model's files are: in a folder, in the hub's cache, or on the hub. No weights are read or downloaded.

What is said of a model goes on from its name: "has no revision 'v2' on the hub".
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

_PATIENCE_S = 10.0  # for an answer of the hub


@dataclass(frozen=True)
class Files:
    """The files of a model, by their paths below it: those in its folder, and in the folders therein."""

    names: frozenset[str]
    path: Callable[[str], Path]  # where a small file lies; one of the hub is downloaded for it
    is_here: bool  # whether all of them lie on this machine

    def inside(self, folder: str) -> set[str]:
        """The names of the files of one of its folders, "" for its own."""
        parts = (name.rpartition("/") for name in self.names)
        return {name for place, _, name in parts if place == folder}

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file's mapping; nothing where there is no such file. Raises ValueError where it is broken."""
        if name not in self.names:
            return {}
        try:
            content = json.loads(self.path(name).read_text())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"has a broken {name} ({error}); download it again") from error
        if not isinstance(content, dict):
            raise ValueError(f"has a broken {name} (it holds no mapping); download it again")
        return content


def inspect(name: str, revision: str | None, main: str, check: Callable[[Files], Iterator[str]]) -> list[str]:
    """What `check` says of the files of a model, a local folder or a hub id; or why they are nowhere.

    A hub id is looked up in the hub's cache by its file `main`. The hub is asked where the cache has nothing, or
    `check` finds something wrong with what it has.
    """
    if Path(name).expanduser().exists():
        return _said_of(_in_folder(Path(name).expanduser()), check)
    try:
        cached = try_to_load_from_cache(name, main, revision=revision)
    except HFValidationError:
        return ["is neither a folder nor the name of a model on the hub, ORG/NAME"]
    said = _said_of(_in_folder(Path(cached).parent), check) if isinstance(cached, str) else None
    if said == []:
        return []
    try:
        return _said_of(_on_hub(name, revision), check)
    except GatedRepoError:
        return [
            f"is gated: accept its terms at {constants.ENDPOINT}/{name}, and log in with `hf auth login`, or set "
            "HF_TOKEN"
        ]
    except RevisionNotFoundError:
        return [f"has no revision {revision!r} on the hub"]
    except RepositoryNotFoundError:
        return [
            "is neither a folder nor public on the hub: correct it, or log in with `hf auth login`, or set "
            "HF_TOKEN"
        ]
    except (OSError, HTTPError) as error:
        return said or [_not_downloaded(name, revision, error)]


def _said_of(files: Files, check: Callable[[Files], Iterator[str]]) -> list[str]:
    try:
        return list(check(files))
    except ValueError as broken:
        return [str(broken)]


def _not_downloaded(name: str, revision: str | None, error: Exception) -> str:
    version = f" --revision {revision}" if revision else ""
    silent = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"the hub does not answer ({error})"
    return (
        f"is not on this machine, and {silent}; run `hf download {name}{version}` where there is a network, or "
        "name a folder"
    )


def _in_folder(folder: Path) -> Files:
    """The files of a folder; of a single file that one."""
    if folder.is_file():
        return Files(frozenset([folder.name]), folder.parent.joinpath, True)
    found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
    return Files(frozenset(path.relative_to(folder).as_posix() for path in found), folder.joinpath, True)


def _on_hub(name: str, revision: str | None) -> Files:
    siblings = HfApi().model_info(name, revision=revision, timeout=_PATIENCE_S).siblings or []
    names = frozenset(file.rfilename for file in siblings)
    return Files(names, lambda path: Path(hf_hub_download(name, path, revision=revision)), False)
