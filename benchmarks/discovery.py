"""How long N captions take to be read by a language model, beside the time that its server takes.

    python benchmarks/discovery.py --captions 1000000 --latency 2 --out discovery.json

The captions are all different, and all are read. A simulated server, in a process of its own, takes `latency`
seconds for each answer, however many it is asked for at once, and counts tokens at once: a word is one. Measured
are the seconds, the requests of each kind, and the memory of the process that asks. The server's own time is that
of one which always has as many requests as it is given at once.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
from figures import write

from alia_ray.config import Discover, Llm, Model
from alia_ray.llm.connection import Endpoint
from alia_ray.llm.discover import discover_domains
from alia_ray.llm.kept import KeptAnswers
from alia_ray.llm.simulated import SimulatedLlm
from alia_ray.models.simulated import PLACES
from alia_ray.store.run_folder import RunFolder

GB = 2**30
ROWS_AT_ONCE = 100_000


def main() -> None:
    """Measure a discovery; print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds that each answer takes")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--serve", help="a socket to serve on, in this process")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.latency)
        return
    figures = measured(options.captions, options.latency)
    print(
        f"{figures['captions']} captions in {figures['seconds']:.1f} s, "
        f"{figures['ratios']['vs_server']:.2f} times the server's own; "
        f"requests: {figures['requests']}; {figures['peak_rss_gb']:.2f} GB at the peak, of which "
        f"{figures['rss_before_gb']:.2f} GB before there were captions and {figures['column_gb']:.2f} GB for these"
    )
    write(options.out, figures)


def measured(captions: int, latency: float) -> dict[str, Any]:
    """The figures of a discovery that reads so many captions."""
    llm, discover = Llm(model=Model(name="simulated")), Discover(captions="all")
    before = peak_rss()
    heard = drawn_captions(captions)
    requests: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, served(folder, latency, requests) as endpoint:
        answers = KeptAnswers(RunFolder(folder), "domains")
        started = time.perf_counter()
        discover_domains(heard, ["bird"], discover, llm, endpoint, 0, answers=answers)
        seconds = time.perf_counter() - started
    floor = latency * requests["answers"] / llm.concurrency
    return {
        "captions": captions,
        "latency": latency,
        "seconds": seconds,
        "requests": requests,
        "peak_rss_gb": peak_rss() / GB,
        "rss_before_gb": before / GB,
        "column_gb": heard.nbytes / GB,
        "ratios": {"vs_server": seconds / floor},
    }


def drawn_captions(number: int) -> pa.ChunkedArray:
    """So many captions, of which no two are the same."""
    random = np.random.default_rng(0)
    chunks = []
    for start in range(0, number, ROWS_AT_ONCE):
        rows = range(start, min(start + ROWS_AT_ONCE, number))
        places = random.integers(len(PLACES), size=len(rows))
        said = [f"a photo of bird {row} that is {PLACES[place]}" for row, place in zip(rows, places, strict=True)]
        chunks.append(pa.array(said))
    return pa.chunked_array(chunks)


class CountedLlm(SimulatedLlm):
    """A simulated language model that knows what it was asked for."""

    def __init__(self, name: str, socket: str) -> None:
        self.asked: list[str] = []
        super().__init__(name, socket)

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """As without counting."""
        self.asked.append("answers")
        return super().complete(request)

    def tokenize(self, request: dict[str, Any]) -> dict[str, Any]:
        """As without counting."""
        self.asked.append("counts")
        return super().tokenize(request)


@contextmanager
def served(folder: str, latency: float, requests: dict[str, int]) -> Iterator[Endpoint]:
    """A server in a process of its own, for the block; `requests` says at its end how many of each kind came."""
    socket = str(Path(folder) / "socket")
    command = [sys.executable, __file__, "--serve", socket, "--latency", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        try:
            yield Endpoint("http://simulated/v1", socket)
        finally:
            requests |= json.loads(process.communicate()[0])


def serve(socket: str, latency: float) -> None:
    """Serve until standard input ends; then print what was asked for."""
    with CountedLlm(f"simulated:latency={latency}", socket) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print("there", flush=True)
        sys.stdin.read()
        print(json.dumps(Counter(server.asked)))
        server.shutdown()


def peak_rss() -> int:
    """The most memory that this process has taken, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
