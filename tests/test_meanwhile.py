"""Two things at once: both end, or the failure of one ends the other."""

import time
from threading import Event, Thread, main_thread

import pytest

from alia_ray.errors import StageError
from alia_ray.meanwhile import meanwhile

LONG_S = 30.0


def test_the_block_waits_for_the_work_at_its_end():
    done = []
    with meanwhile(lambda stop: (time.sleep(0.2), done.append(stop.is_set()))):
        assert not done
    assert done == [False]


def fail(stop: Event) -> None:
    time.sleep(0.1)
    raise StageError("train: no")


def test_work_that_fails_ends_a_block_that_waits():
    began = time.monotonic()
    with pytest.raises(StageError, match="train: no"), meanwhile(fail):
        time.sleep(LONG_S)
    assert time.monotonic() - began < LONG_S / 3


def test_the_same_in_another_thread_than_the_main_one():
    raised = []

    def run() -> None:
        try:
            with meanwhile(fail):
                for _ in range(int(10 * LONG_S)):
                    time.sleep(0.1)
        except StageError as error:
            raised.append(str(error))

    thread = Thread(target=run)
    thread.start()
    thread.join(LONG_S / 3)
    assert raised == ["train: no"]
    assert thread is not main_thread()


def test_what_the_block_makes_of_the_interrupt_is_not_what_is_raised():
    def wait() -> None:  # as Ray does
        try:
            time.sleep(LONG_S)
        except KeyboardInterrupt:
            raise SystemExit(15) from None

    with pytest.raises(StageError, match="train: no"), meanwhile(fail):
        wait()


def test_work_that_fails_after_the_block_is_raised_and_interrupts_nobody():
    with pytest.raises(StageError, match="train: no"), meanwhile(fail):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize("error", [StageError("caption: no"), KeyboardInterrupt()])
def test_a_block_that_fails_stops_the_work(error):
    ended = []

    def work(stop: Event) -> None:
        ended.append(stop.wait(LONG_S))
        raise StageError("train: stopped")

    with pytest.raises(type(error)) as raised, meanwhile(work):
        raise error
    assert raised.value is error
    assert ended == [True]
