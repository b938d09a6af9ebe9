"""Runs a command, and everything it starts, for as long as its owner lives. Standard library only.

    python supervisor.py COMMAND …        with a connected socket as standard input

The supervisor detaches itself (Ray kills a worker's own children before they can clean up) and leads a
process group of its own. It writes its process id to the socket, then waits until the command ends or the
owner's end of the socket closes, which also happens when the owner is killed. Then the whole group goes:
SIGTERM, a time of grace, SIGKILL. The owner sees the end as the closing of the socket.
"""

import os
import select
import signal
import subprocess
import sys

GRACE_S = 10.0
OWNER = 0  # the file descriptor of the socket


def main(command: list[str]) -> None:
    """Detach, run `command`, and take the group down in every way out."""
    if os.fork():
        return
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        os.write(OWNER, f"{os.getpid()}\n".encode())
        while child.poll() is None and not select.select([OWNER], [], [], 0.5)[0]:
            pass
        print(f"supervisor: {'the owner is gone' if child.returncode is None else _ended(child)}", flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        try:
            child.wait(GRACE_S)
        finally:
            os.killpg(0, signal.SIGKILL)


def _ended(child: subprocess.Popen) -> str:
    return f"the command ended with status {child.returncode}"


if __name__ == "__main__":
    main(sys.argv[1:])
