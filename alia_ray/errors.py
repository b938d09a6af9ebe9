"""What can go wrong in a way that a person can mend, and what errors of others say."""

import errno
from collections.abc import Sequence

TOLD = 5  # things of one kind that a message tells one by one
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of an OSError: nothing more can be written there."""


class StageError(RuntimeError):
    """A stage that cannot go on. The message says why and what to do."""


class DamagedError(StageError):
    """A file that was damaged, and that no reader takes any more: what it held counts as missing from now on."""


class FullDiskError(OSError):
    """Nothing more can be written. The message says where, and what to do."""


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of what an error says, which may be nothing."""
    return str(error).strip().partition("\n")[0]


def shortened(things: Sequence[str], more: str = "more") -> str:
    """The first few things for a message, and how many there are beside them."""
    left = len(things) - TOLD
    return ", ".join(things[:TOLD]) + (f" and {left} {more}" if left > 0 else "")
