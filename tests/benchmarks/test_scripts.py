"""Each benchmark that runs in seconds, on as little as it takes; the others are run for their tables."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from in_process import passes_here

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def threads() -> Iterator[None]:
    """A script sets torch's threads, which are those of whatever comes after it here."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("caption_throughput.py", ["--batches", "2", "--repeats", "1"]),
        ("edit_throughput.py", ["--batches", "2", "--repeats", "1", "--steps", "2"]),
        ("edit_shapes.py", ["--images", "12", "--rounds", "1", "--steps", "2", "--batch", "4"]),
        ("discovery.py", ["--captions", "4000", "--latency", "0.1"]),
        ("cost_per_kept.py", ["--images", "4", "--prompts", "2"]),
        ("pipeline_overhead.py", ["--rounds", "1", "--set", "edit.steps=2", "--set", "source.train=48"]),
        (
            "train_throughput.py",
            [
                *("--architecture", "shufflenet_v2_x0_5", "--size", "32", "--images", "40", "--batch", "8"),
                *("--epochs", "2", "--rounds", "1", "--cold"),
            ],
        ),
    ],
)
def test_a_benchmark_prints_and_writes_its_figures(
    ray_cluster, threads, script, options, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", [script, *options, "--out", str(out)])
    runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert capsys.readouterr().out
    assert json.loads(out.read_text())["ratios"]


def test_the_cost_of_a_run_is_measured_in_a_folder_and_again_with_everything_done(
    ray_cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["scale.py", "--once", str(tmp_path), "--images", "60", "--prompts", "2"])
    figures = []
    for _ in range(2):
        with passes_here():
            runpy.run_path(str(BENCHMARKS / "scale.py"), run_name="__main__")
        figures.append(json.loads((tmp_path / "figures.json").read_text()))
    first, again = figures
    assert first["files"] == again["files"]
    assert first["files"].keys() == {"images", "captions", "edits", "errors"}
    assert all(seconds > 0 for seconds in first["seconds"].values())
    assert first["driver_peak_rss_gb"] <= again["driver_peak_rss_gb"]  # of this process


def test_a_benchmark_is_a_command(tmp_path):
    """The others are run here, where their libraries are imported already."""
    out = tmp_path / "figures.json"
    options = ["--batches", "2", "--repeats", "1", "--out", out]
    command = [sys.executable, BENCHMARKS / "judge_throughput.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
    assert json.loads(out.read_text())["ratios"]
