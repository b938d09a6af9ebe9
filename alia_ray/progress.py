"""What a person is told: lines, and the progress of a stage with its rate and the time left.

On a terminal progress is a bar, in a log a line now and then. Where a run is quiet (`alia_ray.log`), all this goes
to the terminal and into the log, and everything else into the log alone.
"""

import os
import sys
import time
from contextlib import suppress
from threading import RLock
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from alia_ray.plain_text import plain_line

SOON_S = 1.0
LOG_EVERY_S, LOG_SELDOM_S = 10.0, 600.0  # between two lines; more as time goes on, so that a long log stays short

_terminal: TextIO | None = None  # where a quiet run speaks to the person; None: on standard error
_bars: RichProgress | None = None  # on the terminal: one for each stage that is under way
_bars_lock = RLock()
_loud: bool | None = None  # as `speak_up` says


def speak_to(terminal: TextIO | None) -> None:
    """Tell the person on `terminal`, and repeat it on standard error; None: on standard error alone."""
    global _terminal
    _terminal = terminal


def speak_up(loud: bool | None) -> None:
    """How much the person is told: False leaves out what `inform` says, True adds what `note` says."""
    global _loud
    _loud = loud


def inform(line: str) -> None:
    """A line of how the work goes on; a person who asked for quiet finds it in the log."""
    if _loud is False:
        _log(line)
    else:
        say(line)


def say(line: str) -> None:
    """One line to the person, at once, without what a terminal would obey or what would begin another line."""
    line = plain_line(line)
    _log(line)
    _tell(line)


def note(line: str) -> None:
    """One line for the log of a quiet run; the person is told who asked for more."""
    _log(line)
    if _loud:
        _tell(plain_line(line))


def _tell(line: str) -> None:
    if (bars := _bars) is not None:
        bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        print(f"{line}\n", end="", file=_terminal or sys.stderr, flush=True)  # in one piece


def _log(line: str) -> None:
    """One line in the log of a quiet run, if there is one."""
    if _terminal is not None:
        with suppress(OSError):  # a full disk is told by the stage that meets it
            os.write(2, f"{time.strftime('%H:%M:%S')} {plain_line(line)}\n".encode())


class Progress:
    """A context that counts what a stage makes.

    `advance` counts what is there to stay; `sees` shows what is made but not committed yet, as workers tell it.
    Both may be called from any thread, and `sees` also where nothing has changed, so that a wait is told too.
    """

    def __init__(
        self,
        stage: str,
        total: int | None,
        unit: str = "rows",
        at_first: str = "",
        before: tuple[int, int | None] = (0, None),
    ) -> None:
        """total: how many there will be; None: nothing is counted, there is only something to wait for.

        at_first: what is being done until the first rows come. before: how many are there from earlier runs, and
        of how many in all, if that is known.
        """
        self.stage, self.total, self.unit, self.before = stage, total, unit, before
        self.doing = at_first
        self.is_about = False  # the total is an estimate
        self.done, self.failed, self.shown = 0, 0, 0
        self.started = self.logged = time.perf_counter()
        self.first: tuple[float, int] | None = None  # when the first rows came, and how many
        self.rate = 0.0  # rows a second
        self.bars: RichProgress | None = None  # where this stage has a bar
        self.bar = TaskID(0)
        self.lock = RLock()

    def __enter__(self) -> "Progress":
        stream = _terminal or sys.stderr
        if self.total == 0 and not self.doing:
            return self
        if stream.isatty() and _loud is not False:
            self.bars, self.bar = _add_bar(stream, self.stage, self.total)
            self._draw()
            self.bars.refresh()
        elif self.doing and self.total is not None:
            inform(f"{self.stage}: {self._count()}  {self.doing}")
        return self

    def advance(self, rows: int, failed: int = 0) -> None:
        """Count `rows` more rows; `failed` is how many have failed in all."""
        with self.lock:
            self.done, self.failed = self.done + rows, failed
            self._show(max(self.done, self.shown))

    def sees(self, made: int) -> None:
        """Show that `made` rows are made in all, some of which may still be lost."""
        with self.lock:
            self._show(max(self.done, self.shown, made))

    def expect(self, total: int, about: bool = False, doing: str | None = None) -> None:
        """Go on with another total, and with something else to wait for."""
        with self.lock:
            self.total, self.is_about = total, about
            self.doing = self.doing if doing is None else doing

    def waits_for(self, doing: str) -> None:
        """Show what is being done, where nothing can be counted."""
        with self.lock:
            self.doing = doing
            self._show(0)

    def _show(self, made: int) -> None:
        now, is_new = time.perf_counter(), made > self.shown
        pause = LOG_EVERY_S if is_new and not self.shown else self._pause()
        self.shown = made
        if is_new:
            self.first = self.first or (now, made)
            self.rate = self._rate(now)
        if self.bars:
            self._draw()
        elif now - self.logged >= pause and (is_new or not made) and made != self.total:
            self.logged = now
            inform(f"{self.stage}: {'  '.join(part for part in self._parts(now) if part)}")

    def _draw(self) -> None:
        now = time.perf_counter()
        count, rate, left = self._parts(now)
        total = self.total and max(self.total, self.shown)
        self.bars.update(self.bar, completed=self.shown, total=total, count=count, rate=rate, left=left)

    def _parts(self, now: float) -> tuple[str, str, str]:
        """How many of how many, how fast and how long still; what is waited for, and since when, instead."""
        since = "" if self.bars else f" ({duration(now - self.started)})"
        if self.total is None:
            return "", f"{self.doing}{since}", ""
        if not self.shown:
            return self._count(), f"{self.doing or 'starting'}{since}", ""
        left = duration(max(self.total - self.shown, 0) / max(self.rate, 1e-9))
        return self._count(), rate_text(self.rate), f"{'about ' if self.is_about else ''}{left} left"

    def _count(self) -> str:
        return f"{self.shown}/{'~' if self.is_about else ''}{max(self.total, self.shown)}"

    def _rate(self, now: float) -> float:
        """Rows a second since the first rows came: loading the models is not work that goes on.

        Those that come at once with the first ones say nothing of the others.
        """
        since, rows = self.first or (self.started, 0)
        if self.shown == rows or now - since < SOON_S:
            since, rows = self.started, 0
        return (self.shown - rows) / max(now - since, 1e-9)

    def _pause(self) -> float:
        return min(max((self.logged - self.started) / 2, LOG_EVERY_S), LOG_SELDOM_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            _take_away(self.bars, self.bar)
        if kind is None and self.total is not None:  # else whoever catches it says what has happened
            inform(f"{self.stage}: {self._told()}")

    def _told(self) -> str:
        """What was made, and what was there."""
        number, of = self.before
        if not self.done:
            rows = number_of(number, self.unit) if of is None else f"{number} of {number_of(of, self.unit)}"
            are = "is" if max(number, of or 0) == 1 else "are"
            return f"{rows} {are} there from before" if number else "nothing to do"
        seconds = time.perf_counter() - self.started
        failures = f", {self.failed} failed" if self.failed else ""
        rate = rate_text(self.done / max(seconds, 1e-9))
        before = f"; {number} {'was' if number == 1 else 'were'} there from before" if number else ""
        return f"{number_of(self.done, self.unit)} in {duration(seconds)} ({rate}{failures}){before}"


def number_of(number: int, things: str) -> str:
    """A number of things, `things` in the plural: "1 epoch", "3 epochs"."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"


def rate_text(per_second: float) -> str:
    """A rate that says something for slow and fast work alike: "12.3/s", "3.2 s each", "4.5 min each"."""
    if per_second >= 1:
        return f"{per_second:.1f}/s" if per_second < 100 else f"{per_second:.0f}/s"
    each = 1 / max(per_second, 1e-9)
    return f"{each:.1f} s each" if each < 60 else f"{each / 60:.1f} min each"


def duration(seconds: float) -> str:
    """A time in words: "7.3 s", "42 s", "12 min", "2 h 5 min", "3 d 4 h"."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _add_bar(stream: TextIO, stage: str, total: int | None) -> tuple[RichProgress, TaskID]:
    """Show a bar for a stage, below those that are on the terminal."""
    global _bars
    with _bars_lock:
        if _bars is None:
            _bars = _no_bars(stream)
            _bars.start()
        return _bars, _bars.add_task(stage, total=total, count="", rate="", left="")


def _take_away(bars: RichProgress, bar: TaskID) -> None:
    """Take a stage's bar from the terminal."""
    global _bars
    with _bars_lock:
        if len(bars.tasks) == 1:  # the line of its end comes where it was
            _bars = None
            bars.stop()
        bars.remove_task(bar)


def _no_bars(stream: TextIO) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
        console=Console(file=stream),
        transient=True,  # the line at the end says it all
        redirect_stdout=False,
        redirect_stderr=False,
    )
