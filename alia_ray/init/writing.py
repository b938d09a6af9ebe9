"""A recipe with the sections `run` and `source` of somebody's images, as the text of a YAML file."""

import re
import shlex
from collections.abc import Iterable
from typing import Any

import yaml

from alia_ray import recipes
from alia_ray.config.reference import EDITOR

_OF_ITS_OWN = ("cub", "waterbirds")  # kinds of source that have a recipe


def recipe_for(kind: str, miniature: bool) -> str:
    """The name of the recipe that does for a kind of source."""
    if miniature:
        return "imagefolder_miniature"
    return kind if kind in _OF_ITS_OWN else "imagefolder"


def filled(recipe: str, folder: str, source: dict[str, Any], about: Iterable[str]) -> str:
    """The text of a recipe for a run folder and a source; `about` are the comments at its top."""
    head, *sections = re.split(r"^(?=\w)", recipes.text(recipe), flags=re.MULTILINE)
    editor = [line for line in head.splitlines() if line.startswith(EDITOR)]
    rest = [section for section in sections if not re.match("(run|source):", section)]
    run = ["run:", f"  folder: {scalar(folder)}", "  seed: 0"]
    lines = [*editor, *map(comment, about), *run, *_of_source(source)]
    return "\n".join(lines) + "\n" + "".join(rest)


def _of_source(source: dict[str, Any]) -> list[str]:
    names = source.get("class_names")
    lines = [f"  {key}: {scalar(value)}" for key, value in source.items() if key != "class_names"]
    lines.append("  # limit: 200  # for a trial: so many images in all; limit_per_class: so many of each class")
    if names:
        lines.append("  class_names:  # these labels cannot stand in a prompt as they are; say what they show")
        lines += [f"    {scalar(label)}: {scalar(name)}" for label, name in names.items()]
    else:
        lines.append("  # What prompts call a class whose label does not do; `alia-ray plan` lists all names.")
        lines.append('  # class_names: {n01440764: tench, "7": grey seal}')
    if source["kind"] in ("csv", "parquet", "huggingface"):
        lines.append("  # group_column: place  # a column by which accuracies are told apart, beside classes")
    return ["source:", *lines]


def scalar(value: Any) -> str:
    """A value as YAML has it, on one line."""
    style = None if str(value).isprintable() else '"'  # which writes an end of a line as \\n
    text = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def comment(text: str) -> str:
    """A line of a comment, of what can be printed."""
    return f"# {''.join(sign if sign.isprintable() else '�' for sign in text)}".rstrip()


def command(name: str, path: str) -> str:
    """A command as one types it."""
    return f"alia-ray {name} {shlex.quote(path)}"
