import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import OutOfMemoryError, RaySystemError

from alia_ray.cluster.failures import failures_of
from alia_ray.errors import StageError

KILLED = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: ab) was "
    "22.41GB used / 23.54GB limit (0.951997)\nOOM kill reason: …"
)


def test_a_worker_that_was_killed_for_memory_says_how_much_and_what_to_lower():
    says = r"edit: a node ran out of memory \(22\.41GB used / 23\.54GB\).*lower the stage's workers or batch_size"
    with pytest.raises(StageError, match=says), failures_of("edit"):
        raise OutOfMemoryError(KILLED)


def test_another_failure_says_what_the_worker_raised():
    with pytest.raises(StageError, match="edit: a worker failed: OSError: no such model"), failures_of("edit"):
        raise RaySystemError("Traceback …\n  File x\nOSError: no such model")


POOL = """
from alia_ray.cluster import joining
import pyarrow as pa, ray, sys, time
from alia_ray.cluster.placement import Placement
from alia_ray.config import Run
from alia_ray.stages import streaming
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder

class Greedy:
    def __init__(self, when): self.taken = [] if when == "later" else take()
    def __call__(self, rows):
        self.taken = take()
        return rows

def take():
    taken = []
    for _ in range(60):
        taken.append(b"x" * 100_000_000)
        time.sleep(0.02)
    time.sleep(2)
    return taken

streaming.RESTARTS = 1
memory = dict(line.split()[:2] for line in open("/proc/meminfo"))
used = 1 - int(memory["MemAvailable:"]) / int(memory["MemTotal:"])
threshold = used + 3e6 / int(memory["MemTotal:"])  # far above what Ray itself takes, which else is killed too
ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="WARNING", object_store_memory=10**8,
         _system_config={"memory_usage_threshold": threshold, "memory_monitor_refresh_ms": 50})
folder = RunFolder(sys.argv[1])
asked = f"SELECT key FROM {ledger_of(folder).keep('asked', pa.table({'key': ['a', 'b']}))}"
run = Run(folder=sys.argv[1])
for when in sys.argv[2:]:
    target = folder.table("captions", when.replace(" ", "-"))
    job = streaming.Pass(stage="caption", rows=f"SELECT key AS image_id FROM ({asked})", todo=2,
                         worker=Greedy, worker_args=(when,), target=target, key="image_id",
                         wanted=asked, batch_size=2, run=run)
    try:
        streaming.run_pass(job, Placement(1, 1.0, 0.0))
    except Exception as error:
        print(when, type(error).__name__, error)
"""


def said(program: str, folder: Path, *when: str) -> subprocess.CompletedProcess[str]:
    """What passes say whose workers die at once or later, in a Ray of their own."""
    command = [sys.executable, "-c", program, str(folder), *when]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_pool_whose_workers_are_killed_for_memory_again_and_again_ends(tmp_path):
    result = said(POOL, tmp_path, "at once", "later")
    for when in ("at once", "later"):
        assert f"{when} StageError caption: a node ran out of memory" in result.stdout, result.stderr[-3000:]


@pytest.mark.slow
def test_a_row_that_kills_every_worker_is_named_once_others_are_made(tmp_path):
    dying = POOL.replace("self.taken = take()\n        return rows", "import os; os.kill(os.getpid(), 9)")
    dying = dying.replace('"memory_usage_threshold": threshold', '"memory_usage_threshold": 1.0')
    result = said(dying, tmp_path, "later")
    assert "later StageError caption: a worker failed" in result.stdout, result.stderr[-3000:]
    assert "2 rows are left, and if workers die again, one of these kills them" in result.stderr
    assert "take it out of the source: 'a', 'b'" in result.stderr
