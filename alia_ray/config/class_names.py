"""`source.class_names`: what stands in `{}` for a label, as a mapping in the YAML or a file of one.

A file is read once, with the configuration, which from then on holds the names themselves: the run folder's
`config.yaml` says them, and no worker needs the file.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from alia_ray.config.reading import read_yaml
from alia_ray.errors import one_line
from alia_ray.plain_text import LONGEST_NAME, plain

_HEADER = ("label", "name")
_MOST_CHARACTERS = 10_000_000  # of a file
_FORM = "give a mapping of labels to names, {tabby: tabby cat}, or the path of a file with one"


def _read(given: Any) -> dict[str, str]:
    """The mapping, from wherever it comes. Raises ValueError with what to change."""
    if isinstance(given, str):
        if "://" in given:
            raise ValueError("the file must lie on this machine; bring it here and give its path")
        given = _from_file(Path(given).expanduser())
    if not isinstance(given, dict):
        raise ValueError(_FORM)
    return {_label(label): _name(label, name) for label, name in given.items()}


ClassNames = Annotated[
    dict[str, str],
    BeforeValidator(_read, json_schema_input_type=dict[str, str | int | float] | str),
    Field(
        default_factory=dict,
        description="label: what stands for {} in prompts; or a .yaml, .json, .csv, .tsv or .txt of that",
    ),
]


def _label(key: Any) -> str:
    if isinstance(key, bool):
        raise ValueError(f"YAML reads an unquoted yes, no, on or off as {key}; put the label in quotes")
    return str(key)


def _name(label: Any, name: Any) -> str:
    if isinstance(name, bool):
        raise ValueError(f"the name of {label!r} is {name}; put it in quotes")
    text = plain(" ".join(str(name).split())) if isinstance(name, str | int | float) else ""
    if not text:
        raise ValueError(f"the label {label!r} has no name; write a text, or leave the label out")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"the name of {label!r} has {len(text)} characters; write at most {LONGEST_NAME}")
    if "{}" in text:
        raise ValueError(
            f"the name {text!r} of {label!r} holds {{}}, the place that it is to fill; leave that out"
        )
    return text


def _from_file(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read the file {path}: {reason}; {_FORM}") from error
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(
            f"the file {path} has more than {_MOST_CHARACTERS} characters, too many for names; {_FORM}"
        )
    kind = path.suffix.lower()
    try:
        if kind in (".yaml", ".yml"):
            return read_yaml(text)
        if kind == ".json":
            return json.loads(text)
        return _from_rows(path, _rows(kind, text))
    except (yaml.YAMLError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        raise ValueError(f"the file {path} cannot be parsed: {one_line(error)}") from error


def _from_rows(path: Path, rows: Iterator[list[str]]) -> dict[str, str]:
    """Two columns of a table, with or without the header label, name."""
    names: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        row = [cell.strip() for cell in row]
        if not any(row) or (number == 1 and tuple(cell.lower() for cell in row) == _HEADER):
            continue
        if len(row) != 2:
            raise ValueError(f"line {number} of {path} must be a label and its name, not {row}")
        if names.setdefault(row[0], row[1]) != row[1]:
            raise ValueError(f"{path} names the label {row[0]!r} twice; keep one of the lines")
    return names


def _rows(kind: str, text: str) -> Iterator[list[str]]:
    """The cells of each line: of .csv and .tsv as they are written, else a label up to the first blank."""
    lines = io.StringIO(text)
    if kind in (".csv", ".tsv"):
        return csv.reader(lines, delimiter=_separator(",;\t" if kind == ".csv" else "\t,;", text))
    return (line.split(maxsplit=1) for line in lines)


def _separator(marks: str, text: str) -> str:
    """The first of some marks that parts the first line that is not empty into two cells."""
    first = next(filter(str.strip, text.splitlines()), "")
    return max(marks, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])) == 2)
