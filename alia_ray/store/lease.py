"""One command at a time works in a run folder. Who does stands in `lease.json` there, renewed as long as it lives.

No clock of another machine is believed: a lease that nobody renews while one watches it for STALE_S is given up.
And nothing is locked, since object stores and some network filesystems have no locks: who wrote last has the
folder, and each reads again what is there, soon after writing and at each renewal.
"""

import ctypes
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alia_ray.config import ConfigError
from alia_ray.errors import StageError
from alia_ray.progress import say
from alia_ray.store.damage import LEASE, only_reading
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.writing import delete

RENEW_S, STALE_S = 10.0, 60.0
LOOK_EVERY_S = 1.0
SETTLE_S = 0.5  # after which one who wrote at the same moment can be seen

Lease = dict[str, Any]


@contextmanager
def held(folder: RunFolder, command: str) -> Iterator[None]:
    """Have the run folder for a command's time.

    Raises ConfigError where another command works there, and StageError as soon as another has taken it over,
    which happens to a process that could not renew its lease for long: that interrupts the thread that is in here.
    """
    _wait_until_free(folder)
    lease = _lease(command)
    folder.write_json(lease, LEASE)
    time.sleep(SETTLE_S)
    if other := _other(folder, lease):
        raise ConfigError(_in_use(folder, other))
    ended, lost = threading.Event(), threading.Event()
    renewing = (folder, lease, ended, lost, threading.get_ident())
    keeper = threading.Thread(target=_renew, args=renewing, name="lease", daemon=True)
    keeper.start()
    try:
        with only_reading(False):
            yield
    except KeyboardInterrupt:
        if lost.is_set():
            raise StageError(
                f"{command}: stopped, since another command has taken over {folder.shown()}"
            ) from None
        raise
    finally:
        ended.set()
        keeper.join()
        with suppress(OSError):  # then it goes stale
            if not _other(folder, lease):
                delete(folder.fs, folder.file(LEASE))


def check_free(folder: RunFolder) -> None:
    """Raise ConfigError where another command works in the folder, or seems to: nothing is waited for."""
    found = folder.read_json(LEASE)
    if found is not None and not _has_ended(found):
        raise ConfigError(_in_use(folder, found))


def _renew(folder: RunFolder, lease: Lease, ended: threading.Event, lost: threading.Event, holder: int) -> None:
    """Renew a lease until its command has ended, or interrupt its thread where another has written its own."""
    while not ended.wait(RENEW_S):
        with suppress(OSError):  # the storage may be away for a moment
            if _other(folder, lease):
                lost.set()
                interrupt(holder)
                return
            lease["renewals"] += 1
            folder.write_json(lease, LEASE)


def interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread: at its next line of Python, where it is not the main one."""
    if thread == threading.main_thread().ident:
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


def _wait_until_free(folder: RunFolder) -> None:
    """Raises ConfigError where another command works in a folder; of another machine's it takes time to see."""
    found = folder.read_json(LEASE)
    if found is None or _has_ended(found):
        return
    if _is_of_here(found):
        raise ConfigError(_in_use(folder, found))
    say(f"{_who(found)} has not left {folder.shown()}; looking for up to {STALE_S:g} s whether it works there")
    deadline = time.monotonic() + STALE_S
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        now = folder.read_json(LEASE)
        if now is None:
            return
        if now != found:
            raise ConfigError(_in_use(folder, now))


def _other(folder: RunFolder, lease: Lease) -> Lease | None:
    """The lease that another has written meanwhile."""
    found = folder.read_json(LEASE)
    return found if found is not None and found.get("id") != lease["id"] else None


def _lease(command: str) -> Lease:
    return {
        "id": uuid.uuid4().hex,
        "command": command,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": _machine(),
        "started": _started(os.getpid()),
        "renewals": 0,
    }


def _who(lease: Lease) -> str:
    return (
        f"`alia-ray {lease.get('command')}` on {lease.get('host')} (process {lease.get('pid')}, since "
        f"{lease.get('since')})"
    )


def _in_use(folder: RunFolder, lease: Lease) -> str:
    return f"run.folder: {_who(lease)} works in {folder.shown()}; wait for it, stop it, or use another run.folder"


# -------------------------------------------------------------------- processes of this machine


def _is_of_here(lease: Lease) -> bool:
    return lease.get("machine") is not None and lease["machine"] == _machine()


def _has_ended(lease: Lease) -> bool:
    """Whether the process of a lease has provably ended: another one of its number began at another time."""
    return _is_of_here(lease) and _started(lease.get("pid")) != lease.get("started")


def _machine() -> str | None:
    """What no other machine, boot of it or container has; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: Any) -> str | None:
    """When a process began, in ticks since the boot; None where there is no such process, or it is dead."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ("Z", "X") else rest[18]
