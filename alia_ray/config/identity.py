"""What a result depends on: which part of a configuration its name covers, and the name.

Every key counts with its value, but for those that are marked where they are declared: NEVER, since it says how
something is called, how fast it is or how it is connected; LATER, since it is younger than the first release, and
must not give new names to what was made before it: with its default it is in no name.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from alia_ray.config.places import Place, as_given


class _Mark:
    """A mark of a key, as in `flip: Annotated[bool, LATER] = True`."""


NEVER, LATER = _Mark(), _Mark()


@dataclass(frozen=True)
class Long:
    """A list of plain data that comes in pieces, as it is too long to be one of Python's."""

    pieces: Iterable[list[Any]]


def fingerprint(*parts: Any) -> str:
    """Twelve hex digits over plain data or config sections: the same for the same content, everywhere.

    A part may be `Long`: it counts as the list that its pieces make.
    """
    digest = hashlib.sha256(b"[")
    for place, part in enumerate(parts):
        digest.update(b", " if place else b"")
        for text in _json(part):
            digest.update(text.encode())
    digest.update(b"]")
    return digest.hexdigest()[:12]


def _json(part: Any) -> Iterator[str]:
    """A part as JSON, bit by bit."""
    if not isinstance(part, Long):
        yield json.dumps(plain(part), sort_keys=True)
        return
    before = "["
    for piece in filter(None, part.pieces):
        yield before + json.dumps(piece)[1:-1]
        before = ", "
    yield "]" if before == ", " else "[]"


def plain(part: Any, without: frozenset[str] = frozenset()) -> Any:
    """What a result depends on, of sections and plain data, as JSON has it. `without`: keys left out.

    Of a path it covers what is written, not where that leads; of a URI not how to connect.
    """
    if isinstance(part, BaseModel):
        fields = type(part).model_fields
        return {name: plain(value) for name, value in part if name not in without and _counts(fields[name], value)}
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items() if key not in without}
    if isinstance(part, (list, tuple)):
        return [plain(value) for value in part]
    given = as_given(part)
    return given.partition("?")[0] if isinstance(part, Place) and "://" in given else given


def _counts(field: FieldInfo, value: Any) -> bool:
    if NEVER in field.metadata:
        return False
    return LATER not in field.metadata or value != field.get_default(call_default_factory=True)
