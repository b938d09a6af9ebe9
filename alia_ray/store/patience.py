"""Reading and writing that fails for a moment is tried again, and what other machines wrote is waited for."""

import errno
import random
import re
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from alia_ray.errors import FULL, FullDiskError

TRIES = 5
SEEN_WITHIN_S = 90.0  # NFS may show a folder as it was up to a minute ago
FIRST_PAUSE_S = 0.5  # doubled from try to try: with the jitter between 4 and 8 seconds in all

_LASTING = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    FileExistsError,
    FullDiskError,
)
_LASTING_NUMBERS = (*FULL, errno.EROFS, errno.ENAMETOOLONG)
_REFUSED = re.compile(r"ACCESS_DENIED|NO_SUCH|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|HTTP status 40[134]")

T = TypeVar("T")


def may_pass(error: OSError) -> bool:
    """Whether it is worth while to try again at once: not where something is missing, forbidden or full."""
    lasts = isinstance(error, _LASTING) or error.errno in _LASTING_NUMBERS or _REFUSED.search(str(error))
    return not lasts


def patiently(act: Callable[[], T]) -> T:
    """What `act` gives, which is called up to TRIES times. Raises its last OSError, or the first that lasts."""
    pause = FIRST_PAUSE_S
    for _ in range(TRIES - 1):
        try:
            return act()
        except OSError as error:
            if not may_pass(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause *= 2
    return act()


def still_unseen(look: Callable[[], Collection[str]]) -> Collection[str]:
    """The files that `look` misses: none, or those that it still misses after SEEN_WITHIN_S."""
    began = time.monotonic()
    while (unseen := look()) and time.monotonic() - began <= SEEN_WITHIN_S:
        time.sleep(1)
    return unseen
