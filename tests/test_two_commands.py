"""Commands that come to a run folder in which another one works."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.miniature.recipes import DEMO
from alia_ray.store import lease
from alia_ray.store.lease import LEASE

SMALL = "source={kind: miniature, train: 24, val: 8, test: 16, bias: 0.75}"


@pytest.fixture
def in_use(tmp_path, monkeypatch) -> Path:
    """A run folder that this process holds under another command."""
    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LEASE).write_text(json.dumps(lease._lease("experiment")))
    return tmp_path / "run"


def invoke(command: str, folder: Path, *more: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, [command, str(DEMO), *more, "--set", f"run.folder={folder}", "--set", SMALL])
    return found.exit_code, found.stderr


@pytest.mark.parametrize("command", ["ingest", "train"])
def test_a_command_that_writes_is_refused_in_one_sentence_and_begins_nothing(in_use, command):
    code, said = invoke(command, in_use)
    assert code == 2
    (line,) = said.splitlines()
    assert line.startswith("error: run.folder: `alia-ray experiment` on ")
    assert f"(process {os.getpid()}, since 20" in line
    assert line.endswith(f" works in {in_use}; wait for it, stop it, or use another run.folder")
    assert [path.name for path in in_use.iterdir() if path.is_file()] == [LEASE]
    assert not list((in_use / "logs").glob("*"))


def test_a_report_is_written_meanwhile(in_use):
    (in_use / "errors" / "ingest-f").mkdir(parents=True)
    code, said = invoke("report", in_use)
    assert (code, said) == (1, f"error: report: {in_use} holds no run yet; run `alia-ray run` first\n")
