"""Three trainings that tell one store of MLflow at the same moment, each in a process; prints what failed as JSON.

A process of its own, since MLflow tells its makers nothing where pytest runs. Run by test_trackers.py.
"""

import json
import multiprocessing
import sys
from importlib import import_module

from alia_ray.training import trackers


def main(logs: str) -> None:
    """Import once, part, tell, print."""
    mlflow = trackers._mlflow()
    import_module("mlflow.store.tracking.sqlalchemy_store")  # else each does, for a second
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(3)

    def train(name: str) -> None:
        ready.wait()
        with trackers.tracking(f"/run/{name}", logs, name, {}, ["mlflow"], [{"epoch": 1, "loss": 1.0}]) as tracked:
            pass
        failed.put(tracked.failed)

    failed = fork.Queue()
    trainings = [fork.Process(target=train, args=(name,)) for name in ("first", "second", "third")]
    for each in trainings:
        each.start()
    found = [failed.get() for _ in trainings]
    is_told = mlflow.telemetry.get_telemetry_client() is not None
    print(json.dumps({"telemetry": is_told, "failed": found}))


if __name__ == "__main__":
    main(sys.argv[1])
