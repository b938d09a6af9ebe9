"""Progress of a stage: a bar on a terminal, a line now and then in a log; both with rate and time left."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LOG_EVERY_S = 10.0


class Progress:
    """A context that counts a stage's rows. `advance` may be called with any number of new rows."""

    def __init__(self, stage: str, total: int) -> None:
        self.stage, self.total, self.done, self.failed = stage, total, 0, 0
        self.started = self.logged = time.perf_counter()
        self.first: tuple[float, int] | None = None  # when the first rows came, and how many
        self.bar = _bar() if sys.stderr.isatty() else None
        self.task = self.bar.add_task(stage, total=total, rate="") if self.bar else None

    def __enter__(self) -> "Progress":
        if self.bar:
            self.bar.start()
        return self

    def advance(self, rows: int, failed: int = 0) -> None:
        """Count `rows` more rows; `failed` is how many have failed in all."""
        self.done, self.failed = self.done + rows, failed
        now = time.perf_counter()
        self.first = self.first or (now, self.done)
        if self.bar:
            self.bar.update(self.task, completed=self.done, rate=f"{self._rate(now):.1f}/s")
        elif now - self.logged > LOG_EVERY_S:
            self.logged = now
            left = (self.total - self.done) / max(self._rate(now), 1e-9)
            say(f"{self.stage}: {self.done}/{self.total}  {self._rate(now):.1f}/s  {left:.0f} s left")

    def _rate(self, now: float) -> float:
        """Rows a second since the first rows came: loading the models is not work that goes on."""
        since, rows = self.first or (self.started, 0)
        if self.done == rows:
            since, rows = self.started, 0
        return (self.done - rows) / max(now - since, 1e-9)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        now = time.perf_counter()
        failures = f", {self.failed} failed" if self.failed else ""
        seconds = now - self.started
        say(f"{self.stage}: {self.done} rows in {seconds:.1f} s ({self.done / seconds:.1f}/s{failures})")


def _bar() -> RichProgress:
    return RichProgress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def say(line: str) -> None:
    """One line to the person, at once."""
    print(f"{line}\n", end="", file=sys.stderr, flush=True)  # in one piece: trainings run side by side
