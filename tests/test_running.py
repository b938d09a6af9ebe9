"""Running from Python, as a notebook does: its Ray, its streams, its threads and its interrupts."""

import io
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import ray
from a_run import small

import alia_ray
from alia_ray import pipeline
from alia_ray.cluster import joining
from alia_ray.config import ConfigError, Run
from alia_ray.errors import StageError
from alia_ray.store.damage import LEASE


class Cell(io.StringIO):
    """A stream of a notebook: no file of the operating system."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


@contextmanager
def shown() -> Iterator[Cell]:
    """What a cell of a notebook shows."""
    cell = Cell()
    with redirect_stdout(cell), redirect_stderr(cell):
        yield cell


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_a_notebook_s_thread_runs_and_goes_on_with_its_ray(copy):
    before = alia_ray.load(small(copy))
    metrics, handler = before.metrics, signal.getsignal(signal.SIGTERM)
    with shown() as cell, ThreadPoolExecutor(1) as pool:
        after = pool.submit(alia_ray.run, before, {"run.max_error_rate": 0.5}).result()
    assert after.metrics == metrics
    assert f"report: {copy}/report.html" in cell.getvalue()
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not (copy / LEASE).exists()


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), StageError("edit: no"), RuntimeError("bug")])
def test_a_cell_that_is_stopped_leaves_a_kernel_that_goes_on(copy, monkeypatch, ends):
    def stop(*_: object) -> None:
        print("of a library")
        print("of Ray", file=sys.stderr)
        raise ends

    monkeypatch.setattr(pipeline, "run_all", stop)
    with shown() as cell:
        with pytest.raises(type(ends)):
            alia_ray.run(small(copy))
        print("the next cell")
    assert ray.is_initialized()
    assert not (copy / LEASE).exists()
    assert cell.getvalue() == "the next cell\n"
    [log] = (copy / "logs").glob("*-run.log")
    assert "of a library\nof Ray\n" in log.read_text()


def test_a_wrong_configuration_is_refused_as_on_the_command_line(copy):
    with pytest.raises(ConfigError, match=r"edit\.steps"):
        alia_ray.run(small(copy), {"edit.steps": 0})
    with pytest.raises(ConfigError, match="run: is missing"):
        alia_ray.run({"source": {"kind": "miniature"}})


@pytest.mark.parametrize("was_there", [False, True])
def test_only_a_ray_that_was_not_there_before_is_left(monkeypatch, was_there):
    left = []
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: was_there)
    monkeypatch.setattr(joining.ray, "shutdown", lambda: left.append(True))
    monkeypatch.setattr(joining, "join", lambda run: None)
    with pytest.raises(KeyError), joining.joined(Run(folder="x")):
        raise KeyError
    assert left == ([] if was_there else [True])
