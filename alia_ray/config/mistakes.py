"""What is wrong with a configuration, in sentences that show what to write instead."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from alia_ray.config.keys import Key, did_you_mean, keys, kind_of, nearest, sections_in, types_of
from alia_ray.config.reading import is_key_without_space
from alia_ray.config.sections import Model, Section
from alia_ray.plain_text import plain_line

_A_SOURCE = "{kind: imagefolder, path: photos}"
_OF_PATHS = {"folder", "path", "root"}
_TYPE_TAGS = {"constrained-int", "float", "str"}


def sentences(error: ValidationError, config: type[Section]) -> str:
    """One clause for each key; a value that fits none of several types is told what each would be."""
    of_key: dict[str, list[str]] = {}
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        if parts[:1] == ["source"] and parts[1:2] and parts[1] in _kinds(config):
            del parts[1]
        parts = [part for part in parts if part not in _TYPE_TAGS and not part.startswith("literal[")]
        if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
            parts.append("kind")
        of_key.setdefault(".".join(parts), []).append(_complaint(problem, config))
    said_of = {key: _joined(list(dict.fromkeys(said))) for key, said in of_key.items()}
    return "; ".join(f"{key}: {said}" if key else said for key, said in said_of.items())


def _joined(said: list[str]) -> str:
    """What a value of each type would be; what was given instead is said once, at the end."""
    given = re.search(r", not '[^']*'$", said[-1])
    return ", or ".join([*(each.removesuffix(given[0] if given else "") for each in said[:-1]), said[-1]])


def another_kind(config: type[Section], source: Any, kind: str) -> str | None:
    """What to write instead of `source.kind` alone, where keys of the kind that was there do not fit another."""
    of_kind = {kind_of(each)[0]: each for each in sections_in(config.model_fields["source"])}
    if not isinstance(source, dict) or kind not in of_kind or not set(source) - set(of_kind[kind].model_fields):
        return None
    needed = [name for name, info in of_kind[kind].model_fields.items() if info.is_required() and name != "kind"]
    form = ", ".join([f"kind: {kind}", *(f"{name}: …" for name in needed)])
    return f"the keys of another kind would stay beside it; write --set 'source={{{form}}}'"


def _complaint(problem: Any, config: type[Section]) -> str:
    kind, given = problem["type"], problem["input"]
    if _says_none(given) and _can_be_none(problem["loc"], config):
        return "for none write null"
    if kind == "extra_forbidden":
        return _unknown(problem["loc"], config)
    if kind == "missing" and problem["loc"] == ("source",):
        return f"is missing; say where your images are, as {_A_SOURCE}"
    if kind in ("missing", "union_tag_not_found"):
        return "is missing; set it"
    if kind == "union_tag_invalid":
        tag = problem["ctx"]["tag"]
        expected = " or ".join(problem["ctx"]["expected_tags"].rsplit(", ", 1))
        return f"must be {expected}{_quoted(given.get('kind'))}{did_you_mean(tag, _kinds(config))}"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return f"must be {problem['ctx']['expected']}{_quoted(given)}{did_you_mean(given, known)}"
    if kind == "list_type" and given is None:
        return "must not be empty; leave it out for the default"
    if kind == "list_type":
        needs_base = problem["loc"] == ("train", "arms") and "original" not in str(given)
        return f"must be a list, such as {_as_list(f'original,{given}' if needs_base else given)}"
    if kind == "tuple_type":
        return "must be a list, such as [100, 200]"
    if kind == "model_attributes_type":
        return f"must be a section of keys and values, such as {_A_SOURCE}"
    if kind == "model_type":
        return f"must be a section of keys and values, such as {_as_section(problem, config)}"
    if kind == "dict_type":
        return "must be a mapping, such as {key: value}"
    if kind == "too_short":
        return "must not be empty; leave it out for the default"
    if kind == "string_type" and given is None:
        return f"must not be empty; give {'a path' if problem['loc'][-1] in _OF_PATHS else 'a text'}"
    if kind == "string_type":
        return f"must be a text; put it in quotes{_quoted(given)}"
    return _number(problem, config) or problem["msg"].removeprefix("Value error, ").replace("Input should", "must")


def _unknown(loc: tuple[Any, ...], config: type[Section]) -> str:
    """Of a key that is not known: which one is meant, or where it belongs."""
    *above, name = map(str, loc)
    if near := nearest(name, _section_at(config, above).model_fields):
        written = Key(".".join((*above, near)), _section_at(config, above).model_fields[near]).written
        return f"is not a known key; did you mean {written}?"
    last = nearest(name, [key.name.rpartition(".")[2] for key in keys(config)])
    exact = [key for key in keys(config) if key.name.rpartition(".")[2] == last]
    if above[:1] == ["source"] and (kinds := [key.name.split(".")[1] for key in exact if _is_of_source(key)]):
        return f"is a key of kind {', '.join(dict.fromkeys(kinds))}, not of this one; remove it"
    if exact:
        places = list(dict.fromkeys(key.written for key in exact))
        return f"is not a known key here; did you mean {' or '.join(places[:3])}?"
    if not above:
        return f"is not a known section; there are {', '.join(config.model_fields)}"
    where = f"alia-ray config {above[0]}"
    return f"is not a known key; remove it or correct its spelling (`{where}` lists what there is)"


def _is_of_source(key: Key) -> bool:
    return key.name.startswith("source.")


def _section_at(config: type[Section], above: Sequence[Any]) -> type[Section]:
    """The section that lies at a place, in which a source's kind follows `source`."""
    section = config
    for place, part in enumerate(above):
        inner = sections_in(section.model_fields[part]) if part in section.model_fields else []
        kind = tuple(map(str, above[place + 1 : place + 2]))
        section = next((each for each in inner if kind_of(each) in ((), kind)), section)
    return section


def _can_be_none(loc: tuple[Any, ...], config: type[Section]) -> bool:
    """Whether null may stand at a place, which may end with the type that was tried there."""
    for length in (len(loc), len(loc) - 1):
        fields = _section_at(config, loc[: length - 1]).model_fields if length > 0 else {}
        if length > 0 and loc[length - 1] in fields:
            return type(None) in set(types_of(fields[loc[length - 1]].annotation))
    return False


def _kinds(config: type[Section]) -> set[str]:
    return {kind for each in sections_in(config.model_fields["source"]) for kind in kind_of(each)}


def _as_section(problem: Any, config: type[Section]) -> str:
    given = problem["input"]
    section = next(
        (each for each in _all_sections(config) if each.__name__ == problem["ctx"]["class_name"]), config
    )
    if section is Model and isinstance(given, str) and given:
        return f"{{name: {_short(given)}}}"
    if isinstance(given, str) and is_key_without_space(given):
        return "{seed: 0}, with a space after the colon"
    if needed := [name for name, info in section.model_fields.items() if info.is_required()]:
        return f"{{{', '.join(f'{name}: …' for name in needed)}}}"
    first = next(keys(section))
    return _nested(first.name.split("."), first.default)


def _nested(parts: list[str], value: str) -> str:
    """ "model.name" and a value as "{model: {name: VALUE}}"."""
    return f"{{{parts[0]}: {_nested(parts[1:], value) if parts[1:] else value}}}"


def _all_sections(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for info in section.model_fields.values():
        for each in sections_in(info):
            yield from _all_sections(each)


def _as_list(given: Any) -> str:
    parts = given.split(",") if isinstance(given, str) else [given]
    parts = [_short(part.strip() if isinstance(part, str) else part) for part in parts]
    return f"[{', '.join(json_quoted(part) if set(part) & set('{}[]:#') else part for part in parts if part)}]"


def json_quoted(text: str) -> str:
    """A text in quotes, as YAML reads it again."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number(problem: Any, config: type[Section]) -> str | None:
    """Of what should be a number or true or false: the sentence, else None."""
    kind, given, loc = problem["type"], problem["input"], problem["loc"]
    if kind.startswith("int_"):
        whole = _whole(given)
        meant = _allowed(loc, 50 if whole is None else whole, config)
        return f"must be a whole number, such as {meant}{_quoted(given)}"
    if kind.startswith("float_"):
        trimmed = str(given).strip(" ,;%'\"")
        is_number = re.fullmatch(r"[-+]?\d*\.?\d+(e[-+]?\d+)?", trimmed, re.IGNORECASE)
        meant = f"{float(trimmed) / 100:g}" if is_number and "%" in str(given) else trimmed
        meant = _allowed(loc, meant if is_number else 0.5, config)
        return f"must be a number, such as {meant}{_quoted(given)}"
    if kind.startswith("bool_"):
        return f"must be true or false{_quoted(given)}"
    return None


def _allowed(loc: tuple[Any, ...], number: Any, config: type[Section]) -> Any:
    """The number, or the default where the bounds of the key do not let it be."""
    for length in (len(loc), len(loc) - 1):  # the place may end with the type that was tried there
        info = _section_at(config, loc[: length - 1]).model_fields.get(loc[length - 1]) if length > 0 else None
        if info is None:
            continue
        try:
            TypeAdapter(Annotated[info.annotation, info]).validate_python(number)
        except ValidationError:
            return number if info.is_required() or info.default is None else info.default
        return number
    return number


def _whole(given: Any) -> int | None:
    """The whole number that is meant, of 1e3, 50.0 and "50,"."""
    try:
        number = float(str(given).strip(" ,;'\""))
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 1e15 else None


def _quoted(given: Any) -> str:
    """ ", not X" for a short value, else nothing."""
    if isinstance(given, bool) or given is None:
        return f", not {'null' if given is None else str(given).lower()}"
    return f", not {_short(given)!r}" if isinstance(given, str | int | float) else ""


def _short(given: Any) -> str:
    return plain_line(str(given), 60)


def _says_none(given: Any) -> bool:
    return isinstance(given, str) and given.lower() == "none"


def text_that_says_none(settings: Section) -> str | None:
    """The first key whose value is the text none where it can be none, which YAML writes null."""
    for key in keys(type(settings)):
        value: Any = settings
        for part in key.written.split("."):
            value = getattr(value, part, None)
        if _says_none(value) and type(None) in set(types_of(key.field.annotation)):
            return key.written
    return None
