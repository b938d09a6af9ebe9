"""YAML as a person writes it: a key that is there twice is a mistake, of which PyYAML would take the last."""

import re
from typing import Any

import yaml

from alia_ray.errors import one_line

_MOST_VALUES = 1_000_000
_AFTER_A_TEXT = ("mapping values are not allowed here", "expected <block end>")
_SPACE = "between a key and its value stand a colon and a space, as in seed: 0"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is there twice; leave one out", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises yaml.YAMLError, which says where but not what is written there, since that may be a key. Also for a key
    that a mapping has twice, for a text that grows out of bounds by naming its parts again and again, and for a
    number or a date that is none.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {_MOST_VALUES} values")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.context_mark if "':'" in str(error.problem) else error.problem_mark
        lines = text.splitlines()[: mark.line + 1] if mark else []
        if str(error.problem).startswith(_AFTER_A_TEXT) and _lacks_a_space(lines[:-1]):
            raise yaml.YAMLError(f"line {len(_written(lines[:-1]))}: {_SPACE}") from None
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise yaml.YAMLError(f"{place}{error.problem}{_instead(str(error.problem), lines)}") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise yaml.YAMLError(reason) from error
    finally:
        loader.dispose()


def _written(lines: list[str]) -> list[str]:
    """Lines up to the last that holds more than a comment."""
    while lines and not lines[-1].partition("#")[0].strip():
        lines = lines[:-1]
    return lines


def _lacks_a_space(lines: list[str]) -> bool:
    """Whether the last line that is written is of the form key:value, which YAML takes for the start of a text."""
    return any(map(is_key_without_space, _written(lines)[-1:]))


def is_key_without_space(text: str) -> bool:
    """Whether a text is of the form key:value."""
    return re.match(r"\s*[A-Za-z_]\w*:(?!//)[^\s:]+\s*(#|$)", text) is not None


def _instead(problem: str, lines: list[str]) -> str:
    """What to write, of what people commonly mean by a text that is broken so."""
    if "'\\t'" in problem:
        return "; indent with spaces, not with tabs"
    if "could not find expected ':'" in problem:
        return f"; {_SPACE}"
    if problem.startswith("expected") and any("{}" in line for line in lines[-1:]):
        return '; a text that holds {} belongs in quotes, as in ["a photo of a {} bird"]'
    if "escape" in problem:
        return "; a backslash in double quotes begins an escape: use single quotes, or / in paths"
    return ""


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, each alias written out. A node within itself counts to no end."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # as long as its parts are counted
        parts = (
            node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        )
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]
