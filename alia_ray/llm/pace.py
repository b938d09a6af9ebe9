"""How many requests a server is sent at once: as many as there are, until it says that this is too many."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition


class Pace:
    """Half as many requests at once after the server was busy, and slowly more again while it answers.

    Otherwise all that it turned away would come back together, until one of them has come in vain too often.
    For several threads.
    """

    def __init__(self) -> None:
        self._room = Condition()
        self._sent, self._allowed, self._lowered = 0, math.inf, 0.0

    @contextmanager
    def turn(self) -> Iterator[Callable[[bool], None]]:
        """Wait for a turn, which the block has; it says whether the server was busy, if there was an answer."""
        with self._room:
            self._room.wait_for(lambda: self._sent < self._allowed)
            self._sent += 1
            began = time.monotonic()

        def heard(busy: bool) -> None:
            with self._room:
                if not busy:
                    self._allowed += 1 / self._allowed
                elif began > self._lowered:  # those that were sent before say nothing of fewer at once
                    self._allowed, self._lowered = max(self._sent / 2, 1.0), time.monotonic()

        try:
            yield heard
        finally:
            with self._room:
                self._sent -= 1
                self._room.notify_all()
