"""Two things at once, of which neither outlives the other's failure."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event, Lock, get_ident

from alia_ray.store.lease import interrupt

_PATIENCE_S = 5.0  # with work that is to stop: it looks every two seconds


@contextmanager
def meanwhile(work: Callable[[Event], None]) -> Iterator[None]:
    """Do `work` in a thread of its own while the block runs, and wait for it at the block's end.

    Where the block fails or is interrupted, the event that `work` was given is set, at which it is to end soon.
    Where `work` fails, the block gets a KeyboardInterrupt wherever it waits. Raises what has failed.
    """
    stop, lock, block = Event(), Lock(), get_ident()
    is_running, is_told = True, False

    def tell(ended: Future[None]) -> None:
        nonlocal is_told
        with lock:
            if is_running and ended.exception() is not None:
                is_told = True
                interrupt(block)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(work, stop)
    try:
        future.add_done_callback(tell)
        yield
        with lock:
            is_running = False
        future.result()
    except BaseException as raised:
        if is_told and (error := future.exception()) is not None:
            raise error from raised
        raise
    finally:
        with lock:
            is_running = False
        stop.set()
        wait([future], timeout=_PATIENCE_S)
        pool.shutdown(wait=False)
