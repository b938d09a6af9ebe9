"""The command that runs, as it was typed: for the page of a run, and for its log."""

import posixpath
import shlex
import sys

_PROGRAMS = ("alia-ray", "run.py", "experiment.py")


def typed() -> str:
    """The command line. Configurations hold no secret, and a command is refused where one does."""
    program = posixpath.basename(sys.argv[0].replace("\\", "/"))
    if program == "__main__.py":
        return shlex.join(["python", "-m", "alia_ray", *sys.argv[1:]])
    return shlex.join([program, *sys.argv[1:]]) if program in _PROGRAMS else "alia_ray.run in Python"
