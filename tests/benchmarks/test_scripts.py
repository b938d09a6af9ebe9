"""Each benchmark that runs in seconds, on as little as it takes; the others are run for their tables."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("caption_throughput.py", ["--batches", "2", "--repeats", "1"]),
        ("edit_throughput.py", ["--batches", "2", "--repeats", "1", "--steps", "2"]),
        ("judge_throughput.py", ["--batches", "2", "--repeats", "1"]),
        ("edit_shapes.py", ["--images", "12", "--rounds", "1", "--steps", "2", "--batch", "4"]),
        ("cost_per_kept.py", ["--images", "4", "--prompts", "2"]),
        ("pipeline_overhead.py", ["--blocks", "2", "--rounds", "1", "--set", "edit.steps=2"]),
    ],
)
def test_a_benchmark_prints_and_writes_its_figures(script, options, tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, BENCHMARKS / script, *options, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
    assert json.loads(out.read_text())["ratios"]
