"""The base classifier is trained while captions are made and read, where the cluster has room for both."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from a_run import small
from in_process import trainings_here

from alia_ray import pipeline
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config
from alia_ray.config.arms import BASE
from alia_ray.errors import StageError
from alia_ray.miniature.dataset import CLASSES
from alia_ray.models.simulated import SimulatedCaptioner
from alia_ray.stages.caption import captions_table
from alia_ray.state import State
from alia_ray.store.ledger import Ledger
from alia_ray.training import lanes
from alia_ray.training.failures import Failure

ROOM, NONE = Cluster(cpus=8, gpus=0), Cluster(cpus=2, gpus=0)
SIMULATED = [
    "caption.model.name=simulated:latency=0.1",
    "caption.batch_size=4",
    "llm={model: {name: simulated}, max_model_len: 4096}",
    "train.epochs=1",
]


@pytest.fixture(autouse=True)
def patch(without_ray) -> Iterator[pytest.MonkeyPatch]:
    """Trainings run in this process; what a test patches of them is undone before they go on in Ray."""
    thresholds = dict.fromkeys(CLASSES, 0.5)
    with trainings_here(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "score_training_set", lambda *_: thresholds)  # which tasks of Ray do
        yield patch


def begun(folder: Path, *more: str) -> Config:
    settings = small(folder, *SIMULATED, *more)
    pipeline.run_ingest(State(settings), ROOM)
    return settings


@pytest.fixture
def spans(patch) -> dict[str, tuple[float, float]]:
    """When captions and trainings began and ended."""
    found: dict[str, tuple[float, float]] = {}

    def timed(name, does):
        def call(*arguments):
            began = time.monotonic()
            try:
                return does(*arguments)
            finally:
                found[name] = (found.get(name, (began, 0))[0], time.monotonic())

        return call

    patch.setattr(SimulatedCaptioner, "caption", timed("caption", SimulatedCaptioner.caption))
    patch.setattr(lanes, "_try", timed("train", lanes._try))
    return found


def rows(folder: Path) -> dict[str, object]:
    """What stages say of themselves, without times, and the names of what they left."""
    of_stages = {}
    for path in folder.glob("results/*/stages/*.json"):
        stats = json.loads(path.read_text())
        of_stages[path.name] = {key: stats[key] for key in ("rows", "made", "errors")}
    names = {"/".join(path.relative_to(folder).parts[:2]) for path in folder.rglob("*") if path.is_file()}
    return {"stages": of_stages, "names": {name for name in names if not name.startswith("logs")}}


def test_they_overlap_where_there_is_room_and_leave_the_same_rows(tmp_path, spans):
    pipeline.read_and_train_bases([State(begun(tmp_path / "room"))], ROOM)
    together = dict(spans)
    spans.clear()
    pipeline.read_and_train_bases([State(begun(tmp_path / "none"))], NONE)
    assert together["train"][0] < together["caption"][1]
    assert together["caption"][0] < together["train"][1]
    assert spans["caption"][1] < spans["train"][0]
    assert rows(tmp_path / "room") == rows(tmp_path / "none")


def test_the_second_thread_asks_nothing_of_the_ledger(tmp_path, patch):
    asking = set()
    for name in ("ask", "keep", "rows"):
        real = getattr(Ledger, name)

        def ask(ledger, *arguments, real=real, **values):
            asking.add(threading.current_thread())
            return real(ledger, *arguments, **values)

        patch.setattr(Ledger, name, ask)
    pipeline.read_and_train_bases([State(begun(tmp_path))], ROOM)
    assert asking == {threading.current_thread()}


def test_a_training_that_fails_ends_the_captions_and_is_what_is_said(tmp_path, patch):
    settings = begun(tmp_path, "caption.model.name=simulated:latency=1", "caption.batch_size=1")

    def fail(*_: object) -> Failure:
        time.sleep(2)
        return Failure("no", comes_again=True)

    patch.setattr(lanes, "_try", fail)
    with pytest.raises(StageError, match=r"^train original.*: no;"):
        pipeline.read_and_train_bases([State(settings)], ROOM)
    assert len(captions_table(settings).ids()) < 32  # which take as many seconds
    assert State(settings).history(BASE) is None


def test_captions_that_fail_end_the_training(tmp_path, patch):
    settings = begun(tmp_path, "caption.model.name=simulated:failures=1")
    may_end, ended = threading.Event(), threading.Event()
    patch.setattr(lanes, "_try", lambda *_: (may_end.wait(), ended.set()))
    with pytest.raises(StageError, match=r"^caption"):
        pipeline.read_and_train_bases([State(settings)], ROOM)
    assert not ended.is_set()  # it was not waited for
    may_end.set()


def test_what_an_interrupt_left_of_both_is_gone_on_with(tmp_path, patch):
    settings, seen = begun(tmp_path), []
    caption = SimulatedCaptioner.caption

    def some(captioner, images):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(images)
        return caption(captioner, images)

    with patch.context() as once:
        once.setattr(SimulatedCaptioner, "caption", some)
        once.setattr(lanes, "_try", lambda *_: time.sleep(1))
        with pytest.raises(KeyboardInterrupt):
            pipeline.read_and_train_bases([State(settings)], ROOM)
    state = State(settings)
    pipeline.read_and_train_bases([state], ROOM)
    assert state.thresholds()
    assert state.domains().num_rows
    assert rows(tmp_path)["stages"]["caption.json"] == {"rows": 32, "made": 32, "errors": 0}
