"""The ways out of a command: one sentence and an exit code each."""

import errno
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from alia_ray.command import program
from alia_ray.config import ConfigError
from alia_ray.errors import FULL, StageError
from alia_ray.plain_text import plain_line
from alia_ray.progress import say


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn every way out but success into one sentence and an exit code."""
    global _is_terminated
    _is_terminated = False
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        from alia_ray.store.damage import only_reading  # half a second, in which one may press Ctrl-C

        with only_reading():  # until the run folder is held
            yield
    except typer.Exit:
        raise
    except (ConfigError, StageError, OSError) as error:
        _say_error(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
    except KeyboardInterrupt as error:
        say("interrupted; run again to go on")
        raise typer.Exit(130) from error
    except SystemExit as error:
        if not _is_terminated:
            raise
        say("terminated; run again to go on")
        raise typer.Exit(143) from error
    except Exception as error:
        from alia_ray.log import noted

        _say_error(noted(error))
        raise typer.Exit(1) from error
    finally:
        signal.signal(signal.SIGTERM, before)


_LONGEST_LINE = 10_000  # characters: five reasons, each with an example, and what to do have room
_is_terminated = False  # the exception does not say: where Ray waits, it makes another SystemExit of ours


def _stop(number: int, frame: object) -> None:
    global _is_terminated
    _is_terminated = True
    sys.exit(number)


def _say_error(error: Exception) -> None:
    """Say what has happened: of a configuration a line for each thing to change, else one, and under it what a log
    says, indented, so that none of that can be taken for a line of ours.
    """
    is_of_configuration = isinstance(error, ConfigError)
    said = str(error) if is_of_configuration else _sentence(error)
    lines = said.replace("\n", "\nerror: " if is_of_configuration else "\n  ").split("\n")
    for line in (f"error: {lines[0]}", *lines[1:], *_as_typed_here(said), *getattr(error, "__notes__", [])):
        say(plain_line(line, _LONGEST_LINE))


def _as_typed_here(said: str) -> Iterator[str]:
    """The command that is to come first, with the configuration of this one and what that sets."""
    asked = re.search(r"run `alia-ray ([a-z]+(?: --base)?)` first(?: with (--set '[^']*'))?", said)
    words = sys.argv[1:]
    config = next((word for word in words[1:] if word.endswith((".yaml", ".yml"))), None)
    if asked and config and (called := program()) in (["alia-ray"], ["python", "-m", "alia_ray"]):
        sets = [each for place, word in enumerate(words) if word == "--set" for each in words[place : place + 2]]
        yield f"  here: {shlex.join([*called, *asked[1].split(), config, *sets, *shlex.split(asked[2] or '')])}"


def _sentence(error: Exception) -> str:
    """What has happened and, where the error does not say so, what to do."""
    if isinstance(error, StageError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    said = lines[-1 if "ray::" in lines[0] else 0]  # what a worker raised ends with it
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {said}"
    if error.errno in FULL or "No space left on device" in said:
        return f"a disk is full: {said}; free some space, or give a folder on a larger one, and run again to go on"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"{said}; give this user the right to do that, or name another folder"
    return said
