"""Where a configuration's paths lead: the same place for the driver and for every worker.

A path is taken relative to the folder the command runs in, once, when the configuration is loaded. What was
written stays beside it, and that is what fingerprints cover and `config.yaml` shows.
"""

import os
import re
from itertools import pairwise
from typing import Annotated, Any
from urllib.parse import parse_qsl

from pydantic import AfterValidator, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "hf")
"""What pyarrow.fs.FileSystem.from_uri opens."""
_NAMES = ("miniature:", "random:", "simulated:", "hf-hub:")  # of models; no folder is meant
_SECRETS = re.compile(
    r"secret|passw|^pwd$|token|credential|signature|(access|account|api|subscription)[_-]?key|^key$|^sig$|^sas$",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"[^/@]*:(?!\d*(/|$))[^@]*@")  # USER:PASSWORD@, and no HOST:PORT/
_NAME = re.compile(r"[^/@]*@")  # which of a web server is often a token
_WEB = ("http", "https")
_NO_SECRETS = {"credential_kind"}  # of abfs: which kind it is


class Place(str):
    """An absolute path or a URI. `given` is the text of the configuration."""

    given: str

    def __new__(cls, text: str, given: str | None = None) -> "Place":
        place = super().__new__(cls, text)
        place.given = text if given is None else given
        return place

    def __getnewargs__(self) -> tuple[str, str]:
        return str(self), self.given

    @property
    def is_relative(self) -> bool:
        """Whether it was given relative to the folder the command ran in."""
        return "://" not in self and not self.given.startswith(("/", "~"))

    @classmethod
    def of(cls, text: str) -> "Place":
        """The place that a text means here. Raises ValueError, which says what to change."""
        if isinstance(text, Place):
            return text
        if not text.strip():
            raise ValueError("the path is empty; name a folder or a file")
        if text.startswith("$"):
            raise ValueError(f"{text!r} is not expanded; write the path, or let the shell expand it in --set")
        if "://" in text:
            _check_uri(text)
            return cls(text)
        scheme, mark, rest = text.partition(":")
        if mark and (scheme in SCHEMES or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text)):
            uri = f"{scheme}://{'/' if scheme == 'file' else ''}{rest.lstrip('/')}"
            _check_uri(uri)
            raise ValueError(f"{text!r} is no URI; write {uri}")
        path = os.path.expanduser(text)
        if path.startswith("~"):
            raise ValueError(f"{text!r}: there is no such home folder")
        return cls(os.path.abspath(path), text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(as_given)
        return core_schema.no_info_after_validator_function(
            cls.of, core_schema.str_schema(), serialization=written
        )


class Commit(str):
    """The commit of the hub that a revision was found to be; `given` is what the configuration says of it."""

    given: str | None

    def __new__(cls, text: str, given: str | None) -> "Commit":
        commit = super().__new__(cls, text)
        commit.given = given
        return commit

    def __getnewargs__(self) -> tuple[str, str | None]:
        return str(self), self.given


def _check_uri(uri: str) -> None:
    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"there is no way to open {scheme}://; give a path, or one of {known}")
    if uri.endswith("://"):
        raise ValueError(f"{uri} names no bucket or folder")
    check_no_secrets(uri)


def check_no_secrets(uri: str) -> str:
    """The URI again. Raises ValueError where it holds a key: reports and logs would show it."""
    scheme, _, place = uri.partition("://")
    rest, _, query = place.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    is_named = scheme.lower().endswith(_WEB) and _NAME.match(rest)
    has_password = any(_PASSWORD.match(text) for text in (rest, *(value.split("://")[-1] for _, value in pairs)))
    if is_named or has_password or any(_SECRETS.search(key) for key, _ in pairs if key not in _NO_SECRETS):
        raise ValueError(
            "a URI must hold no key or password, since reports and logs show it; take it out and set the "
            "environment variables of the service (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "GOOGLE_APPLICATION_CREDENTIALS, AZURE_CLIENT_SECRET, OPENAI_API_KEY)"
        )
    return uri


def check_all(tree: Any) -> None:
    """Raises ValueError where a text anywhere in a configuration, or a part of it, holds one, of several too."""
    if isinstance(tree, str):
        for scheme, rest in pairwise(tree.split("://")):
            check_no_secrets(f"{scheme}://{rest}")
    for part in (*tree, *tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        check_all(part)


def as_given(text: Any) -> Any:
    """What the configuration says, for a place or a commit; anything else as it is."""
    return getattr(text, "given", text)


def _place_or_name(text: str) -> str:
    """A model or dataset by its name, or the folder that is meant: one that is there comes before a hub's name."""
    text = check_no_secrets(str(text))
    if text.startswith(_NAMES) or not (text.startswith((".", "/", "~")) or os.path.isdir(text)):
        return text
    return Place.of(text)


def _weights(text: str) -> str:
    text = str(text)
    return text if text in ("imagenet", "none") or text.startswith(_NAMES) else Place.of(text)


_Given = PlainSerializer(as_given, return_type=str)
Name = Annotated[str, AfterValidator(_place_or_name), _Given]
Weights = Annotated[str, AfterValidator(_weights), _Given]
Revision = Annotated[str | None, PlainSerializer(as_given, return_type=str | None)]
