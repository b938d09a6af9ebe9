"""What trackers were given, read from the files of TensorBoard and W&B, and from MLflow's store."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event
from wandb.proto.wandb_internal_pb2 import Record

from alia_ray.training import trackers

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


def in_mlflow(store: str, experiment: str = "alia_ray") -> list[dict[str, Any]]:
    """What MLflow has of each run: {"name", "status", "params", "metrics": [(key, value, step)], "artifacts"}."""
    client = trackers._mlflow().MlflowClient(store)
    id = client.get_experiment_by_name(experiment).experiment_id
    found = []
    for run in client.search_runs([id], order_by=["attributes.start_time"]):
        histories = [client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        metrics = sorted(
            ((each.key, each.value, each.step) for history in histories for each in history), key=_step
        )
        found.append(
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "params": run.data.params,
                "metrics": metrics,
                "artifacts": Path(run.info.artifact_uri),
            }
        )
    return found


def _step(metric: tuple[str, float, int]) -> tuple[int, str]:
    key, _, step = metric
    return step, key
