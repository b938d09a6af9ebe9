"""Every key of a configuration as data: where it stands, what it may be, and what a change of it redoes.

The reference (`alia-ray config`), the help of each stage, the sentences about mistakes and the tests read this.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from alia_ray.config.identity import plain
from alia_ray.config.sections import Pool, Section

_TRAINED = "base jitter alia scores"  # edits are scored by the base classifier
_EDITED = "edits text_to_image alia"
_POOL = tuple(Pool.model_fields)

_CHANGES: dict[str, str] = {
    "run": "",
    "run.seed": f"domains {_EDITED} {_TRAINED}",
    "source": "images",
    "source.*.class_names": f"domains {_EDITED}",
    "caption": "captions",
    **dict.fromkeys((f"caption.{key}" for key in _POOL), ""),
    "llm": "domains",
    **dict.fromkeys((f"llm.{key}" for key in ("base_url", "gpus", "startup_timeout_s")), ""),
    **dict.fromkeys((f"llm.{key}" for key in ("request_timeout_s", "concurrency")), ""),
    "discover": "domains",
    "discover.prompts": "domains edits alia",
    "edit": "edits alia",
    **dict.fromkeys((f"edit.{key}" for key in (*_POOL, "compile", "edits_per_image", "keep_rejected")), ""),
    **dict.fromkeys(("edit.size", "edit.format"), _EDITED),
    "edit.drop_prompt_below": "alia",
    "judge": "scores",
    **dict.fromkeys((f"judge.{key}" for key in ("filters", "confidence_rule", "top_k")), "alia"),
    "select": "alia",
    "baselines": "text_to_image",
    "train": _TRAINED,
    "train.color_jitter": "jitter",
    "train.equal_steps": "alia",
    **dict.fromkeys(
        (f"train.{key}" for key in ("arms", "workers", "cpus_per_worker", "loading", "max_failures")), ""
    ),
    "train.trackers": "",
    "experiment": "",
}
"""The names that a key changes, of those that tests/test_names_of_keys.py measures; of a section, those that its
keys change if they do not say otherwise. * is a kind of source.
"""

ASKING = frozenset({"train.arms", "edit.edits_per_image", "edit.keep_rejected"})
"""Keys that change no row, and say all the same which are made."""

_STAGE_OF = {
    **{"images": "ingest", "captions": "caption", "domains": "discover", "edits": "edit", "text_to_image": "edit"},
    **{"scores": "judge", "base": "train --base", "jitter": "train", "alia": "train"},
}
STAGES = ("ingest", "caption", "discover", "train --base", "judge", "edit", "train", "evaluate")
"""In the order in which they run."""


@dataclass(frozen=True)
class Key:
    """One key. `name` is dotted; those of a kind of source stand under it, as source.csv.path does."""

    name: str
    field: FieldInfo
    value: Any = PydanticUndefined  # the default, unless a key must be given

    @property
    def written(self) -> str:
        """As --set has it: without the kind of source."""
        parts = self.name.split(".")
        return ".".join((parts[0], *parts[2:])) if parts[0] == "source" else self.name

    @property
    def default(self) -> str:
        """The default as YAML has it on one line; `required` where there is none."""
        if self.value is PydanticUndefined:
            return "required"
        value = self.value.model_dump(mode="json") if isinstance(self.value, BaseModel) else plain(self.value)
        return "null" if value is None else value if isinstance(value, str) else json.dumps(value)

    @property
    def meaning(self) -> str:
        """What it says, in one line."""
        return " ".join((self.field.description or "").split())

    @property
    def redoes(self) -> list[str]:
        """The stages that another value makes run again, in the order in which they run."""
        stages = {_STAGE_OF[name] for name in changed_names(self.name)}
        return [stage for stage in STAGES if stage in stages or (stage == "evaluate" and "train" in stages)]


def changed_names(key: str) -> set[str]:
    """The names that a key changes, as it or the section next above it declares."""
    parts = key.split(".")
    if parts[0] == "source" and len(parts) > 1:
        parts[1] = "*"
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return set(next(_CHANGES[name] for name in above if name in _CHANGES).split())


def keys(section: type[Section], *above: str, default: Any = None) -> Iterator[Key]:
    """Every key of a section and of the sections in it, in the order of their declaration.

    default: the section as it is where nothing is said of it.
    """
    for name, info in sorted(section.model_fields.items(), key=lambda item: item[0] != "kind"):
        value = info.get_default(call_default_factory=True) if default is None else getattr(default, name)
        types = set(types_of(info.annotation))
        inner = sections_in(info)
        if not inner or type(None) in types:
            yield Key(".".join((*above, name)), info, value)
        for each in inner:
            beneath = value if isinstance(value, each) else None
            yield from keys(each, *above, name, *kind_of(each), default=beneath)


def sections_in(info: FieldInfo) -> list[type[Section]]:
    """The sections that the value of a key may be."""
    return [each for each in types_of(info.annotation) if isinstance(each, type) and issubclass(each, Section)]


def kind_of(section: type[Section]) -> tuple[str, ...]:
    """The kind of a source; nothing of another section."""
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def types_of(annotation: Any) -> Iterator[Any]:
    """The types of a union, or the one that is none."""
    if get_origin(annotation) not in (Annotated, Union, UnionType):
        yield annotation
        return
    parts = get_args(annotation)
    for part in parts[:1] if get_origin(annotation) is Annotated else parts:
        yield from types_of(part)


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """ "; did you mean X?" for what is near to something known, else nothing."""
    near = nearest(str(given), known)
    return f"; did you mean {near}?" if near else ""


def nearest(given: str, known: Iterable[str]) -> str | None:
    """What was most likely meant, if anything is near."""
    as_keys, known = given.strip().lower().replace("-", "_").replace(" ", "_"), list(known)
    found = difflib.get_close_matches(as_keys, known, n=1, cutoff=0.65)
    holding = [name for name in known if as_keys in name.split("_")]
    return found[0] if found else holding[0] if len(holding) == 1 else None
