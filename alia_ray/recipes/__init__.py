"""Configurations that ship with the package: a YAML file each, by its name."""

import re
from difflib import get_close_matches
from importlib.resources import files

from alia_ray.config import ConfigError
from alia_ray.config.reference import EDITOR, editor_line


def names() -> list[str]:
    """The names of all recipes, sorted."""
    found = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def text(name: str) -> str:
    """A recipe as it is written for a file anywhere. Raises ConfigError for a name that none has."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "choose one"
        raise ConfigError(f"there is no recipe {name!r}; {hint} There are {', '.join(names())}")
    written = files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return re.sub(rf"^{EDITOR}.*", lambda _: editor_line(), written, flags=re.MULTILINE)
