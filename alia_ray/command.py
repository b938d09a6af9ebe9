"""The command that runs, as it was typed: for the page of a run, and for its log."""

import posixpath
import shlex
import sys

_PROGRAMS = ("alia-ray", "run.py", "experiment.py")


def typed() -> str:
    """The command line. Configurations hold no secret, and a command is refused where one does."""
    words = program()
    return shlex.join([*words, *sys.argv[1:]]) if words else "alia_ray.run in Python"


def program() -> list[str] | None:
    """The words by which the command was called; None where Python called it."""
    name = posixpath.basename(sys.argv[0].replace("\\", "/"))
    if name == "__main__.py":
        return ["python", "-m", "alia_ray"]
    return [name] if name in _PROGRAMS else None
