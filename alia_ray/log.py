"""A quiet run: what the reader cannot mend goes to RUN/logs/, and the terminal stays for what a person needs.

Ray, its C++ core, its workers and a dozen libraries write to standard output and standard error, from Python and
from below it. So both are led to a file as the operating system knows them, for as long as a run takes.
"""

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from threading import current_thread, main_thread

import pyarrow.fs as pafs

from alia_ray.command import typed
from alia_ray.config import ConfigError
from alia_ray.plain_text import plain
from alia_ray.progress import speak_to
from alia_ray.store.run_folder import LOGS, RunFolder

_LED_THERE = "what led there is in "


@contextmanager
def quiet(folder: RunFolder | None, command: str) -> Iterator[None]:
    """Lead standard output and standard error to a log in the run folder; `say` still reaches the person.

    An exception's traceback goes there too, and the exception gets a note that says where. The log of a folder on
    an object store lies among the system's temporary files until the end. Without a folder, or where the
    configuration was wrong, a log is kept only of what failed.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{command}.log"
    folder, path = _beginning(folder, name)
    try:
        with _led_to(path):
            os.write(1, plain(f"{time.strftime('%F %T %z')} alia-ray {version('alia-ray')}: {typed()}\n").encode())
            yield
    except ConfigError:
        _remove(path)
        raise
    except Exception as error:
        error.add_note(_LED_THERE + _keep(path, folder))
        raise
    except BaseException:  # stopped by the person
        _keep(path, folder)
        raise
    if folder is None:
        _remove(path)
    else:
        _keep(path, folder)


def noted(error: Exception) -> Exception:
    """The error with a note of where its traceback is, which is kept now where no log has it."""
    if not any(note.startswith(_LED_THERE) for note in getattr(error, "__notes__", [])):
        _, path = _beginning(None, "alia-ray.log")
        path.write_text(plain("".join(traceback.format_exception(error))), encoding="utf-8", errors="replace")
        error.add_note(f"{_LED_THERE}{path}")
    return error


def _beginning(folder: RunFolder | None, name: str) -> tuple[RunFolder | None, Path]:
    """The folder that is to keep the log, if it may be written to, and where the log is meanwhile.

    It may not where `export` reads somebody else's run.
    """
    if folder is not None and isinstance(folder.fs, pafs.LocalFileSystem):
        with suppress(OSError):
            return folder, _new(Path(folder.file(LOGS, name)))
        folder = None
    return folder, _new(Path(tempfile.mkdtemp(prefix="alia-ray-"), name))


def _new(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


def _keep(path: Path, folder: RunFolder | None) -> str:
    """Put the log where it is to stay; says where that is."""
    if folder is None or isinstance(folder.fs, pafs.LocalFileSystem):
        return str(path)
    try:
        folder.write_bytes(path.read_bytes(), LOGS, path.name)
    except OSError:  # most likely what the run failed of
        return str(path)
    _remove(path)
    return folder.shown(LOGS, path.name)


def _remove(path: Path) -> None:
    """Delete the log and the folders that were made for it alone."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
        if path.parent.name == LOGS:
            path.parent.parent.rmdir()


@contextmanager
def _led_to(path: Path) -> Iterator[None]:
    """Standard output and standard error go to a file; those of Ray's processes that start inside too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    speaks = _is_standard_error(sys.stderr)  # not so in a test or a notebook, which have streams of their own
    terminal = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") if speaks else sys.stderr
    with path.open("ab") as log:
        for number in kept:
            os.dup2(log.fileno(), number)
    speak_to(terminal)
    try:
        with nullcontext() if speaks else _python_led_there(path):
            yield
    except BaseException as error:
        if not isinstance(error, ConfigError | SystemExit):
            with suppress(OSError):  # the disk may be full
                os.write(2, plain(traceback.format_exc()).encode())
        raise
    finally:
        speak_to(None)
        for number, copy in kept.items():
            with suppress(OSError, ValueError):
                (sys.stdout, sys.stderr)[number - 1].flush()
            os.dup2(copy, number)
            os.close(copy)
        if speaks:
            terminal.close()


@contextmanager
def _python_led_there(path: Path) -> Iterator[None]:
    """What Python writes in a notebook, whose streams are not those of the operating system, goes there as well.

    Not where a thread of the notebook's runs: what its cells print meanwhile is theirs.
    """
    if current_thread() is not main_thread():
        yield
        return
    with (
        path.open("a", encoding="utf-8", errors="replace", buffering=1) as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        yield


def _is_standard_error(stream: object) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
