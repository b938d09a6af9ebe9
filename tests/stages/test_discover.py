"""discover over many parts: what a person is told, and what the run folder holds while they are read."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from alia_ray import progress
from alia_ray.config import parse_config
from alia_ray.llm.simulated import SimulatedLlm
from alia_ray.pipeline import discover_all
from alia_ray.stages import discover
from alia_ray.stages.caption import captions_table
from alia_ray.state import State
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import IMAGES


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """What the simulated language model is asked for."""
    requests: list[dict] = []
    complete = SimulatedLlm.complete
    monkeypatch.setattr(
        SimulatedLlm, "complete", lambda self, request: requests.append(request) or complete(self, request)
    )
    return requests


def captioned(folder: Path) -> State:
    """A run with captions that take several requests to read."""
    settings = {
        "run": {"folder": str(folder)},
        "source": {"kind": "imagefolder", "path": "photos"},
        "llm": {"model": {"name": "simulated"}, "max_model_len": 512},
        "discover": {"captions": "all", "max_tokens": 16},
    }
    state = State(parse_config(settings))
    ids = [f"{n:03}" for n in range(300)]
    images = [{"image_id": n, "split": "train", "label": "gull"} for n in ids]
    state.images.commit(pa.Table.from_pylist(images, schema=IMAGES))
    captions = captions_table(state.settings)
    said = [{"image_id": n, "caption": f"bird {n} by the sea"} for n in ids]
    captions.commit(pa.Table.from_pylist(said, schema=captions.schema))
    return state


def test_answers_of_parts_outlive_a_kill_and_go_once_the_domains_are_there(tmp_path, asked, monkeypatch):
    state, commit = captioned(tmp_path), Table.commit

    def killed(self, rows):
        raise KeyboardInterrupt

    monkeypatch.setattr(Table, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        discover_all([state])
    monkeypatch.setattr(Table, "commit", commit)
    parts = len(asked) - 2
    assert parts > 2
    [folder] = (tmp_path / "answers").iterdir()
    assert folder.name == state.domains_table().fingerprint
    assert len(list(folder.iterdir())) == parts

    asked.clear()
    discover_all([State(state.settings)])
    assert len(asked) == 2  # the conversation over the summaries
    support = {row["prompt"]: row["support"] for row in state.domains().to_pylist()}
    assert support["a photo of a {} by the sea"] == 300
    assert not folder.exists()


def test_answers_that_a_kill_left_beside_their_domains_go_with_the_next_run(tmp_path, asked, monkeypatch):
    state = captioned(tmp_path)
    monkeypatch.setattr("alia_ray.pipeline.forget_answers", lambda settings, fingerprint: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        discover_all([state])
    assert list((tmp_path / "answers").iterdir())
    monkeypatch.undo()
    discover_all([State(state.settings)])
    assert not list((tmp_path / "answers").iterdir())


def test_parts_are_counted_and_the_time_that_is_left_is_said(tmp_path, asked, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    discover_all([captioned(tmp_path)])
    parts = len(asked) - 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("discover: ")]
    assert any(re.fullmatch(rf"discover: \d+/{parts}  .*  .* left", line) for line in lines), lines
    assert any(re.fullmatch(rf"discover: {parts} parts in .*", line) for line in lines), lines


def test_what_a_host_has_read_is_shown_as_it_grows(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    with discover._progress("vLLM starts") as shown:
        tell = discover._shown_on(shown)
        for doing, parts, read in [("vLLM loads", 0, 0), ("reads", 4, 0), ("reads", 4, 3), ("reads", 6, 6)]:
            tell(doing, parts - (shown.total or 0), read - shown.done)
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"discover: vLLM loads \(.*\)", lines[0])
    assert re.fullmatch(r"discover: 0/4  reads \(.*\)", lines[1])
    assert lines[2].startswith("discover: 3/4  ")
    assert lines[-1].startswith("discover: 6 parts in ")
