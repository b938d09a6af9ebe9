"""A command that is killed half way with all that it started: what the next one says, and where a run ends."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from a_run import in_this_ray
from in_process import passes_here, trainings_here
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.config import load_config
from alia_ray.config.arms import ARMS
from alia_ray.miniature.recipes import DEMO
from alia_ray.results import errors_of
from alia_ray.stages.caption import captions_table
from alia_ray.state import State

pytestmark = pytest.mark.slow
ASKING = "--set discover.prompts=null"  # prompts that are given need no captions
SETTINGS = [
    "run.address=local",
    "source={kind: miniature, train: 80, val: 32, test: 464, bias: 0.75}",
    "discover.prompts=['a photo of a {} bird in a forest', 'a photo of a {} bird on a lake']",
    "caption.workers=1",
    "caption.batch_size=8",
    "edit.steps=2",
    "edit.workers=1",
    "edit.batch_size=8",
    "judge.filters=[too_similar]",  # few steps make poor edits: this filter has both verdicts of them
    "train.epochs=12",
    "train.image_size=32",
    "train.arms=[original, alia]",
]
MEASURED = {"seconds", "load_seconds", "images_per_second", "input_share", "edit_seconds", "judge_seconds", "node"}
"""What says how long something took, and where."""


@dataclass(frozen=True)
class Kill:
    """A command over a run folder that lacks something, killed as soon as it has made a part of that."""

    command: str
    lacks: str  # folders; ALIA stands for the name of the classifier of the arm `alia`
    part: str  # a pattern of files
    refused: list[str]  # the commands that must then say that another one comes first
    first: str  # which that is
    exports: bool = False  # whether what is exported meanwhile is whole


KILLS = [
    Kill(
        *("ingest", "images listing", "images/*/part-*"),
        *([f"caption {ASKING}", "edit", "train", "evaluate", "export"], "ingest"),
    ),
    Kill("run", "edits", "edits/*/part-*", ["train", "evaluate", "export"], "edit"),
    Kill(
        "run", "classifiers/ALIA", "classifiers/ALIA/checkpoints/state.json", ["evaluate"], "train", exports=True
    ),
]


def words(folder: Path, command: str) -> list[str]:
    """The words of a command over a run folder."""
    name, *more = shlex.split(command)
    sets = [word for item in (f"run.folder={folder}", *SETTINGS) for word in ("--set", item)]
    out = [str(folder.with_name("out")), "--format", "parquet"] if name == "export" else []
    return [name, str(DEMO), *out, *sets, *more]


def invoke(folder: Path, command: str) -> tuple[int, str]:
    """The exit code of a command, and what it says."""
    done = CliRunner().invoke(app, words(folder, command))
    return done.exit_code, done.stderr


@pytest.fixture(scope="module")
def undisturbed(ray_cluster, tmp_path_factory) -> Path:
    """A run that nobody killed, with captions."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with in_this_ray(), passes_here(), trainings_here():
        for command in ("run", f"caption {ASKING}"):
            assert invoke(folder, command)[0] == 0
    return folder


def state_of(folder: Path) -> State:
    return State(load_config(DEMO, [f"run.folder={folder}", *SETTINGS]))


def kill(folder: Path, command: str, part: str) -> None:
    """Start a command, and kill it with all that it started as soon as there is a file of a pattern."""
    process = subprocess.Popen(
        [sys.executable, "-m", "alia_ray", *words(folder, command)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not any(folder.glob(part)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    has_ended = process.poll() is not None
    for one in processes_of(process.pid):
        os.kill(one, signal.SIGKILL)
    process.wait()
    assert not has_ended
    assert any(folder.glob(part))


def processes_of(session: int) -> list[int]:
    """The processes of a session, its leader first: Ray's workers have groups of their own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            if stat.read_text().rpartition(")")[2].split()[3] == str(session):
                found.append(int(stat.parent.name))
    return sorted(found)


def contents(folder: Path) -> dict[str, Any]:
    """What a run came to: its tables, and of each arm what it adds, how it was trained, and what it gives."""
    state = state_of(folder)
    tables = (state.images, captions_table(state.settings), state.domains_table(), state.edits)
    found: dict[str, Any] = {table.name: table.read() for table in tables}
    found["edits"] = found["edits"].drop_columns("image")  # another size of batch may change a pixel by one step
    found |= {"errors": errors_of(state), "selected": state.selected()}
    for arm in state.arms:
        place = folder.joinpath(*state.arm_path(arm))
        found |= {
            f"{arm.name} {name}": json.loads((place / name).read_text())
            for name in ("history.json", "metrics.json")
        }
        found[f"{arm.name} predictions"] = pq.read_table(place / "predictions.parquet")
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    """A table or JSON as plain data, without what was measured of this run alone."""
    if isinstance(value, pa.Table):
        value = value.to_pylist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in MEASURED}
    return [plain(each) for each in value] if isinstance(value, list) else value


def near(value: Any) -> Any:
    """What equals plain data but for the last digits of its numbers."""
    if isinstance(value, dict):
        return {key: near(each) for key, each in value.items()}
    if isinstance(value, list):
        return [near(each) for each in value]
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def exported(folder: Path) -> list[dict[str, Any]]:
    """The rows of a new export of a run folder."""
    code, said = invoke(folder, "export")
    assert code == 0, said
    files = sorted(folder.with_name("out").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("case", KILLS, ids=lambda case: f"{case.command.split()[0]}, {case.part.split('/')[0]}")
def test_what_a_kill_leaves_is_refused_until_it_is_whole_and_then_is_as_if_nobody_had_killed(
    undisturbed, tmp_path, case
):
    folder = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    alia = state_of(folder).arm_path(ARMS["alia"])[-1]
    for lost in case.lacks.replace("ALIA", alia).split():
        shutil.rmtree(folder / lost)
    kill(folder, case.command, case.part.replace("ALIA", alia))
    with in_this_ray(), passes_here(), trainings_here():
        for command in case.refused:
            code, said = invoke(folder, command)
            sentence, *more = said.splitlines()
            assert code in (1, 2), command
            assert sentence.endswith(f"run `alia-ray {case.first}` first")
            assert all(line.startswith("what led there is in ") for line in more)
        if case.exports:
            assert exported(folder) == exported(undisturbed)
        code, said = invoke(folder, "run")
        assert code == 0, said
    assert contents(folder) == near(contents(undisturbed))
