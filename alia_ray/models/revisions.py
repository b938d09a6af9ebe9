"""Which commit of the hub a revision is: found once, by the driver, so that every node loads the same files."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from alia_ray.config import Model, Section
from alia_ray.config.places import Commit
from alia_ray.config.source import HuggingFace
from alia_ray.models.methods import models_of
from alia_ray.models.naming import MAIN_FILES, is_on_hub, place_of

_PATIENCE_S = 10.0  # for an answer of the hub
_DATASET_FILES = ("README.md",)

S = TypeVar("S", bound=Section)


def pinned(section: S) -> S:
    """The section with commits for revisions of what it takes from the hub; names and configurations show none.

    A commit that this machine has goes before that of the hub, which may be younger. Where neither gives one, the
    revision stays as it is.
    """
    if isinstance(section, HuggingFace):
        return section.model_copy(update={"revision": _commit(section.name, section.revision, "dataset")})
    return section.model_copy(update={key: _pinned(model) for key, model in models_of(section).items()})


def _pinned(model: Model) -> Model:
    return model.model_copy(update={"revision": _commit(model.name, model.revision, "model")})


def _commit(name: str, revision: str | None, kind: Literal["model", "dataset"]) -> str | None:
    if isinstance(revision, Commit) or not is_on_hub(name):
        return revision
    found = _found(name, revision, kind)
    return Commit(found, revision) if found else revision


def cached_commit(name: str, revision: str | None, kind: Literal["model", "dataset"] = "model") -> str | None:
    """The commit of which the hub's cache on this machine has files."""
    from huggingface_hub import try_to_load_from_cache  # not above: half a second
    from huggingface_hub.errors import HFValidationError

    for file in MAIN_FILES if kind == "model" else _DATASET_FILES:
        try:
            cached = try_to_load_from_cache(place_of(name), file, revision=revision, repo_type=kind)
        except HFValidationError:  # no name of the hub
            return None
        if isinstance(cached, str):
            return Path(cached).parent.name
    return None


@lru_cache(maxsize=64)  # a run must not find another commit halfway
def _found(name: str, revision: str | None, kind: Literal["model", "dataset"]) -> str | None:
    if cached := cached_commit(name, revision, kind):
        return cached
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        return HfApi().repo_info(place_of(name), revision=revision, repo_type=kind, timeout=_PATIENCE_S).sha
    except (OSError, HTTPError, HFValidationError):  # the worker that loads it says what is wrong
        return None
