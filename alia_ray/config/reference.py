"""The reference of all keys: as text for a terminal, as docs/config.md, and as the JSON schema for editors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import TypeAdapter

from alia_ray.config.keys import ASKING, STAGES, Key, keys, nearest, types_of
from alia_ray.config.places import Place
from alia_ray.config.run import Config
from alia_ray.config.sections import ConfigError

SCHEMA = Path(__file__).with_name("schema.json")
"""The JSON schema as it ships: what `schema()` gives, which a test holds."""

EDITOR = "# yaml-language-server:"
"""How the line begins that names a schema to editors."""

READ_BY = {
    "ingest": ("source",),
    "caption": ("caption",),
    "discover": ("llm", "discover"),
    "edit": ("edit", "judge", "select", "baselines"),
    "judge": ("judge",),
    "train": ("train", "select"),
    "evaluate": ("train",),
    "experiment": ("experiment",),
}
"""The sections that each command's stage reads, beside `run`, which every one reads."""

_HEADER = f"""# Every key of a configuration

Written by `alia-ray config --markdown > docs/config.md`. On a terminal `alia-ray config edit` and `alia-ray config
edit.strength` say the same; `alia-ray config --schema` says it to editors.

A default is what holds where nothing is said; a key that is `required` has none. *Redoes* names the stages that
another value makes run again, of
{", ".join(STAGES)}, which is their order in a run.
A stage whose rows are others brings along what follows from them; all else stays. The keys of one stage:
`alia-ray STAGE --help`.
"""


def found(name: str | None) -> list[Key]:
    """The keys that a name means: all for None, of a section, or one. Raises ConfigError for another name."""
    known = list(keys(Config))
    if name is None:
        return known
    name = name.strip(".")
    chosen = [key for key in known if name in (key.name, key.written)]
    chosen = chosen or [key for key in known if f"{key.name}.".startswith(f"{name}.")]
    chosen = chosen or [key for key in known if f"{key.written}.".startswith(f"{name}.")]
    if not chosen:
        lasts = {key.name.rpartition(".")[2]: key.written for key in reversed(known)}
        section, _, last = name.partition(".")
        beside = {key.name.partition(".")[2]: key.written for key in known if key.name.startswith(f"{section}.")}
        near = beside.get(nearest(last, beside) or "") if last else None
        near = near or nearest(name, {*Config.model_fields, *(key.written for key in known)})
        near = near or lasts.get(nearest(name, lasts) or "")
        meant = f"did you mean {near}?" if near else f"there are {', '.join(Config.model_fields)}"
        raise ConfigError(f"there is no section or key {name!r}; {meant}")
    return chosen


def as_text(chosen: list[Key]) -> str:
    """Keys for a terminal: three lines each."""
    return "\n".join(
        f"{key.name} = {key.default}\n    {key.meaning}\n    {kind_in_words(key)}; redoes {_redone(key)}"
        for key in chosen
    )


def as_markdown() -> str:
    """docs/config.md."""
    parts, section = [_HEADER], ""
    for key in keys(Config):
        names = key.name.split(".")
        heading = ".".join(names[:2]) if names[0] == "source" else names[0]
        if heading != section:
            section = heading
            parts.append(f"\n## {heading}\n\n| key | type | default | meaning | redoes |\n|---|---|---|---|---|\n")
        cells = (f"`{key.written}`", kind_in_words(key), f"`{key.default}`", key.meaning, _redone(key))
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def help_of(stage: str) -> str:
    """What stands under a stage's --help: the keys of its sections, with their defaults."""
    parts = ["Keys for --set, with their defaults; `alia-ray config SECTION.KEY` says what each means."]
    for section in READ_BY[stage]:
        if section == "source":
            parts += _kinds_of_source()
            continue
        chosen = [key for key in keys(Config) if key.name.startswith(f"{section}.")]
        said = (f"{key.name.removeprefix(f'{section}.')}={key.default}" for key in chosen)
        parts.append(f"{section}: {', '.join(said)}")
    return "\n\n".join(parts)


def _kinds_of_source() -> Iterator[str]:
    """The keys that every kind of source has, and a line of its own ones for each kind."""
    of_kind: dict[str, dict[str, str]] = {}
    for key in keys(Config):
        if key.name.startswith("source.") and not key.name.endswith(".kind"):
            _, kind, name = key.name.split(".")
            of_kind.setdefault(kind, {})[name] = key.default
    common = set.intersection(*map(set, of_kind.values()))
    first = next(iter(of_kind.values()))
    yield f"source: kind, {', '.join(f'{name}={first[name]}' for name in first if name in common)}"
    for kind, own in of_kind.items():
        said = ", ".join(f"{name}={default}" for name, default in own.items() if name not in common)
        yield f"source of kind {kind}: {said}"


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration as it is written."""
    written = Config.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **written, "title": "alia-ray"}


def schema_text() -> str:
    """The same as text, as it ships."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def editor_line() -> str:
    """The comment by which an editor's YAML support finds the schema of a file, wherever that lies."""
    return f"{EDITOR} $schema={SCHEMA.as_uri()}"


def kind_in_words(key: Key) -> str:
    """What a value may be."""
    if Place in set(types_of(key.field.annotation)):
        return "a path or a URI"
    return _in_words(TypeAdapter(Annotated[key.field.annotation, key.field]).json_schema())


def _in_words(described: dict[str, Any]) -> str:
    if options := described.get("anyOf") or described.get("oneOf"):
        return " or ".join(dict.fromkeys(_in_words(option) for option in options))
    if values := described.get("enum") or ([described["const"]] if "const" in described else []):
        return " or ".join(map(str, values))
    if "prefixItems" in described:
        return f"a list of {len(described['prefixItems'])}: {_in_words(described['prefixItems'][0])}"
    if "$ref" in described:
        return "a section"
    if described.get("type") == "array":
        return f"a list of: {_in_words(described['items'])}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text"}
    kind = {**kinds, "null": "null", "object": "a mapping"}.get(described.get("type", ""), "a value")
    bounds = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    said = [
        f"{word} {described[name]:g}"
        for name, word in {**bounds, "multipleOf": "a multiple of"}.items()
        if name in described
    ]
    return ", ".join([kind, *said])


def _redone(key: Key) -> str:
    return ", ".join(key.redoes) or ("nothing; makes what is missing" if key.name in ASKING else "nothing")
