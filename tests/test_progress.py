import io
import os
import pty
import re
from itertools import pairwise

import pytest
import typer

from alia_ray import progress
from alia_ray.cli.leaving import exit_codes
from alia_ray.progress import Progress, duration, inform, note, number_of, rate_text, say, speak_up


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(1234.5, "1234/s"), (12.34, "12.3/s"), (1, "1.0/s"), (0.3125, "3.2 s each"), (1 / 150, "2.5 min each")],
)
def test_a_rate_says_something_for_slow_and_fast_work_alike(per_second, text):
    assert rate_text(per_second) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.31, "0.3 s"),
        (42.4, "42 s"),
        (99.7, "100 s"),
        (750, "12 min"),
        (3599, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_time_is_in_words(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 epochs"), (1, "1 epoch"), (2, "2 epochs")])
def test_one_thing_is_not_told_in_the_plural(number, text):
    assert number_of(number, "epochs") == text


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_a_slow_stage_says_at_once_what_it_does_and_then_how_long_each_row_takes(clock, capsys):
    with Progress("edit", 120, at_first="2 workers start") as counted:
        assert capsys.readouterr().err == "edit: 0/120  2 workers start\n"
        clock[0] += 30
        counted.advance(2)
        assert capsys.readouterr().err == "edit: 2/120  15.0 s each  30 min left\n"
        clock[0] += 40
        counted.advance(8, failed=1)
        assert capsys.readouterr().err == "edit: 10/120  5.0 s each  9 min left\n"
        counted.advance(110)
    assert capsys.readouterr().err == "edit: 120 rows in 70 s (1.7/s)\n"


def test_a_day_is_told_in_lines_that_one_can_read(clock, capsys):
    with Progress("edit", 86_400) as counted:
        for _ in range(86_399):
            clock[0] += 1
            counted.advance(1)
    times = [int(line.split("/")[0].split()[-1]) for line in capsys.readouterr().err.splitlines()[:-1]]
    assert times[:5] == [10, 20, 30, 45, 68]
    assert len(times) < 160
    assert max(later - earlier for earlier, later in pairwise(times)) <= 600


def test_a_stage_that_is_interrupted_does_not_say_that_it_is_done(capsys):
    with pytest.raises(KeyboardInterrupt), Progress("caption", 10):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""


def test_on_a_terminal_lines_stand_above_the_bar(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(progress.sys, "stderr", screen)
    with Progress("edit", 4, at_first="2 workers start") as counted:
        say("a [line] with brackets")
        counted.advance(2)
    shown = screen.getvalue()
    assert "a [line] with brackets\n" in shown
    assert "2 workers start" in shown
    assert "edit: 2 rows in " in shown.splitlines()[-1]


def test_what_is_made_and_not_committed_yet_is_shown_and_not_counted(clock, capsys):
    with Progress("edit", 40, unit="edits", before=(7, None)) as counted:
        clock[0] += 34
        counted.expect(43, about=True)
        counted.sees(4)
        counted.sees(4)
        clock[0] += 34
        counted.sees(8)
        counted.advance(6)
    assert capsys.readouterr().err.splitlines() == [
        "edit: 4/~43  8.5 s each  about 6 min left",
        "edit: 8/~43  8.5 s each  about 5 min left",
        "edit: 6 edits in 68 s (11.3 s each); 7 were there from before",
    ]


def test_rows_that_come_at_once_after_the_first_make_no_rate_of_thousands(clock, capsys):
    with Progress("train", 30, unit="epochs") as counted:
        clock[0] += 20
        counted.advance(1)
        clock[0] += 0.0001
        counted.sees(11)
        assert counted.rate == pytest.approx(11 / 20, rel=0.01)


def test_a_wait_is_told_with_its_seconds_and_has_no_line_at_its_end(clock, capsys):
    with Progress("discover", None, at_first="vLLM starts") as waiting:
        for _ in range(35):
            clock[0] += 1
            waiting.waits_for("vLLM loads the weights")
    seconds = (10, 20, 30)
    assert capsys.readouterr().err.splitlines() == [
        f"discover: vLLM loads the weights ({each} s)" for each in seconds
    ]


@pytest.mark.parametrize(
    ("unit", "before", "said"),
    [
        ("rows", (320, 320), "320 of 320 rows are there from before"),
        ("rows", (1, 1), "1 of 1 row is there from before"),
        ("edits", (118, None), "118 edits are there from before"),
        ("rows", (0, 0), "nothing to do"),
    ],
)
def test_what_is_reused_is_one_line(unit, before, said, capsys):
    with Progress("caption", 0, unit=unit, before=before):
        pass
    assert capsys.readouterr().err == f"caption: {said}\n"


def on_a_terminal(act) -> str:
    """What a terminal is sent while `act` runs."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", closefd=True) as screen, os.fdopen(its, "w") as stream:
        progress.speak_to(stream)
        try:
            act()
        finally:
            progress.speak_to(None)
        os.set_blocking(ours, False)
        return screen.read().decode()


def test_on_a_terminal_a_bar_moves_before_anything_is_committed():
    def act() -> None:
        with Progress("edit", 40, unit="edits", at_first="starting 2 workers") as counted:
            counted.expect(43, about=True)
            counted.sees(4)
            counted.advance(8)

    shown = on_a_terminal(act)
    assert shown.index("0/40 starting 2 workers") < shown.index("8/~43")
    assert "about" in shown
    assert re.search(r"\x1b\[2Kedit: 8 edits in \S+ s \(\S+\)\r\n$", shown)  # in the bar's place


@pytest.mark.parametrize("total", [320, None])
def test_on_a_terminal_an_interrupt_leaves_one_line_and_no_bar(total, capsys):
    def act() -> None:
        with pytest.raises(typer.Exit), exit_codes(), Progress("caption", total, at_first="starting"):
            raise KeyboardInterrupt

    left = on_a_terminal(act).rpartition("\x1b[2K")[2]
    assert left == "interrupted; run again to go on\r\n"


@pytest.mark.parametrize(
    ("loud", "told"), [(None, "going on\nwrong\n"), (False, "wrong\n"), (True, "going on\nwrong\nfor the log\n")]
)
def test_a_person_is_told_as_much_as_they_ask_for(loud, told, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_loud", None)
    speak_up(loud)
    inform("going on")
    say("wrong")
    note("for the log")
    assert capsys.readouterr().err == told


def test_a_quiet_stage_shows_no_progress_and_the_log_has_it(monkeypatch, capfd):
    terminal = io.StringIO()
    monkeypatch.setattr(progress, "_loud", False)
    monkeypatch.setattr(progress, "_terminal", terminal)
    with Progress("edit", 2, at_first="1 worker starts") as counted:
        counted.advance(2)
    assert terminal.getvalue() == ""
    assert "edit: 2 rows in" in capfd.readouterr().err


def test_on_a_terminal_two_stages_at_once_have_a_bar_each_and_what_is_left_stays(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(progress.sys, "stderr", screen)
    with Progress("caption", 4, at_first="2 workers start") as first:
        second = Progress("train", 2, unit="epochs", at_first="starting 1 training")
        second.__enter__()
        say("a line")
        first.advance(4)
        progress._bars.refresh()
        of_both = screen.getvalue().rpartition("a line")[2]
        assert "caption" in of_both
        assert "train" in of_both
    assert "caption: 4 rows in " in screen.getvalue()
    second.advance(2)
    before = len(screen.getvalue())
    progress._bars.refresh()
    assert "train" in screen.getvalue()[before:]
    assert "caption" not in screen.getvalue()[before:]
    second.__exit__(None, None, None)
    assert "train: 2 epochs in " in screen.getvalue().splitlines()[-1]
    assert progress._bars is None
