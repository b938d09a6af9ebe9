"""What a worker tries next of the images at hand: of each its attempts in their order, until enough survive.

Which attempts an image has, over all images, is asked in `drawing.py`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One image under one prompt, to be made or made already."""

    edit_id: str
    survived: bool | None = None  # None: not known yet
    stored: str | None = None  # the file of another table that holds its picture


@dataclass
class Pending:
    """An image that is being edited."""

    place: int  # the caller's own number of it
    attempts: deque[Attempt]  # in the order in which they are tried
    wanted: int  # survivors that are still missing
    under_way: int = 0

    def settle(self, survived: bool) -> None:
        """An attempt of a batch has come to its end."""
        self.under_way -= 1
        self.wanted -= survived


def next_batch(pending: Sequence[Pending], size: int) -> list[tuple[Pending, Attempt]]:
    """At most `size` attempts to make at once, none in vain: an image with w survivors missing tries w at a time.

    Empty when nothing is left to try.
    """
    batch: list[tuple[Pending, Attempt]] = []
    for image in pending:
        while len(batch) < size and image.attempts and image.under_way < image.wanted:
            attempt = image.attempts.popleft()
            if attempt.survived:
                image.wanted -= 1
            else:
                image.under_way += 1
                batch.append((image, attempt))
    return batch
