"""`--set stage.key=value`: a key of a configuration that was read, as another value says it."""

import re
from typing import Any

import yaml

from alia_ray.config.mistakes import another_kind, json_quoted
from alia_ray.config.reading import read_yaml
from alia_ray.config.sections import ConfigError, Section
from alia_ray.errors import one_line

_OF_TEXTS = re.compile(r"discover\.prompts|baselines\.user_prompts|discover\.prefix|judge\.(positives|negatives)")


def override(tree: dict[str, Any], given: str, config: type[Section]) -> None:
    """Put one override into the tree; the value is YAML. Raises ConfigError with what to write instead."""
    match = re.fullmatch(r"([A-Za-z_][\w.-]*)=(.*)", given, re.DOTALL)
    if not match:
        raise ConfigError(f"--set takes stage.key=value, as in --set edit.strength=0.5, not {given!r}")
    *parents, key = match[1].split(".")
    node = tree
    for parent in parents:
        if node.get(parent, {}) is None:
            node[parent] = {}  # a section without keys
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {match[1]}: {parent} must be a section of keys and values")
    value = _value(match[1], match[2])
    if match[1] == "source.kind" and (instead := another_kind(config, node, str(value))):
        raise ConfigError(f"--set {match[1]}={value}: {instead}")
    node[key] = value


def _value(key: str, text: str) -> Any:
    try:
        return read_yaml(text)
    except yaml.YAMLError as error:
        wrong, advice = one_line(error), _in_quotes(key, text)
        wrong = wrong.partition("; ")[0] + advice if advice else wrong  # which shows the same more nearly
        raise ConfigError(f"--set {key}: what follows the = is not valid YAML: {wrong}") from error


def _in_quotes(key: str, text: str) -> str:
    """How texts are written that hold {}, which YAML takes for a mapping; they are shown, being no secrets."""
    if not _OF_TEXTS.fullmatch(key) or "{}" not in text:
        return ""
    listed = re.fullmatch(r"\s*\[(.*)\]\s*", text, re.DOTALL)
    parts = [part.strip().strip("\"'") for part in (listed[1].split(",") if listed else [text])]
    quoted = ", ".join(json_quoted(part) for part in parts if part)
    shell = f"{key}=[{quoted}]" if listed else f"{key}={quoted}"
    return "; quote it: --set '" + shell.replace("'", "'\\''") + "'"
