"""What trackers were given, read from the files of TensorBoard and W&B, and from a module in MLflow's place."""

import json
import struct
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEADER = 32768, 7  # bytes, of the format that LevelDB logs in


def events(path: Path) -> list[Event]:
    """The events of TensorBoard's file: length, checksum, content and checksum of each."""
    raw, place, found = path.read_bytes(), 0, []
    while place < len(raw):
        (length,) = struct.unpack_from("<Q", raw, place)
        found.append(Event.FromString(raw[place + 12 : place + 12 + length]))
        place += 12 + length + 4
    return found


def scalars(folder: Path) -> set[tuple[str, float, int]]:
    """(tag, value, step) of a run of TensorBoard; fails where one is there twice."""
    found = [
        (value.tag, value.simple_value, event.step)
        for path in folder.glob("*tfevents*")
        for event in events(path)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]
    assert len(found) == len(set(found))
    return set(found)


def offline(folder: Path) -> dict[str, Any]:
    """What W&B would send of a run: {"id", "name", "config", "steps": step -> values, "summary"}."""
    [path] = folder.glob("run-*.wandb")
    run: dict[str, Any] = {"steps": {}, "summary": {}}
    deadline = time.monotonic() + 20
    while not (records := list(_records(path.read_bytes()))) or not records[-1].HasField("exit"):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # a process of its own writes it, and may be a moment behind
    for record in records:
        if record.HasField("run"):
            config = {_key(each): json.loads(each.value_json) for each in record.run.config.update}
            run |= {"id": record.run.run_id, "name": record.run.display_name, "config": config}
        elif record.HasField("history"):
            values = {_key(each): json.loads(each.value_json) for each in record.history.item}
            assert values["_step"] not in run["steps"]
            run["steps"][values["_step"]] = {key: value for key, value in values.items() if key[0] != "_"}
        elif record.HasField("summary"):
            run["summary"] |= {_key(each): json.loads(each.value_json) for each in record.summary.update}
    return run


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(raw: bytes) -> Iterator[Record]:
    place, record = _HEADER, b""  # the file begins with a header of its own
    while place + _HEADER <= len(raw):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", raw, place + 4)
        if place + _HEADER + length > len(raw):
            return  # what is being written at this moment
        record += raw[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


class Mlflow:
    """A module in MLflow's place. `runs`: id -> {"name", "params", "status", "metrics": [(key, value, step)], …}.

    As the real one it keeps a metric twice that it is told twice, and refuses names that it does not know.
    """

    class MlflowException(Exception): ...

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, str] = {}
        self.uris: set[str] = set()
        self.entities = types.ModuleType("mlflow.entities")
        self.entities.Metric = lambda key, value, timestamp, step: (key, value, step)

    def MlflowClient(self, tracking_uri: str) -> "Mlflow":
        self.uris.add(tracking_uri)
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return types.SimpleNamespace(experiment_id=name) if name in self.experiments else None

    def create_experiment(self, name: str, artifacts: str | None) -> str:
        self.experiments[name] = artifacts or ""
        return name

    def search_runs(self, experiments: list[str], filter_string: str, max_results: int) -> list[Any]:
        wanted = filter_string.removeprefix("tags.training = '").removesuffix("'")
        return [self.get_run(id) for id, run in self.runs.items() if run["tags"]["training"] == wanted]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        id = f"run {len(self.runs)}"
        self.runs[id] = {"name": run_name, "tags": tags, "params": {}, "metrics": [], "artifacts": {}}
        return self.get_run(id)

    def get_run(self, id: str) -> Any:
        metrics = {key: value for key, value, _ in self.runs[id]["metrics"]}
        data = types.SimpleNamespace(metrics=metrics)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=id), data=data)

    def update_run(self, id: str, status: str) -> None:
        self.runs[id]["status"] = status

    set_terminated = update_run

    def log_param(self, id: str, key: str, value: Any) -> None:
        self.runs[id]["params"][key] = str(value)

    def get_metric_history(self, id: str, key: str) -> list[Any]:
        return [types.SimpleNamespace(step=step) for name, _, step in self.runs[id]["metrics"] if name == key]

    def log_batch(self, id: str, metrics: list[tuple[str, float, int]]) -> None:
        self.runs[id]["metrics"] += metrics

    def log_metric(self, id: str, key: str, value: float) -> None:
        assert "@" not in key
        self.runs[id]["metrics"].append((key, value, 0))

    def log_text(self, id: str, text: str, artifact_file: str) -> None:
        self.runs[id]["artifacts"][artifact_file] = text

    def log_image(self, id: str, image: Any, artifact_file: str) -> None:
        self.runs[id]["artifacts"][artifact_file] = image
