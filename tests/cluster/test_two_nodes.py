import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="needs GPUs that are not there"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    script, folder = Path(__file__).with_name("two_nodes.py"), tmp_path_factory.mktemp("run")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    result = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment | {"NETRC": "/dev/null"},  # in which W&B finds no key
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    [told] = [line for line in result.stdout.splitlines() if line.startswith("{")]  # Ray may have the last word
    return json.loads(told)


def test_gpus_that_torch_cannot_use_are_refused_where_a_gpu_is_asked_for(found):
    assert found["gpu"].startswith("ConfigError: run.accelerator: Ray counts 4 GPUs on node ")
    assert "cannot use it" in found["gpu"]


def test_gpus_that_torch_cannot_use_are_left_out_with_a_line_where_any_will_do(found):
    lines = found["auto"].splitlines()
    assert len(lines) == 2  # one a node
    assert all("it goes on without them" in line for line in lines)
    assert found["auto_gpus"] == found["cpu_gpus"] == 0


def test_a_worker_without_a_gpu_sees_none_and_takes_the_cpu(found):
    assert found["without_a_gpu"] == ["", "cpu"]


def test_a_worker_that_cannot_use_its_gpu_fails_instead_of_taking_the_cpu(found):
    _, says = found["with_a_gpu"]
    assert says.startswith("StageError: this worker was given a GPU, but torch")


def test_gpus_that_are_meant_to_be_logical_are_counted(found):
    assert found["logical"] == [[4, 4], [4, 4]]


def test_more_than_a_node_has_is_refused_for_every_stage_at_once(found):
    for key in ("llm.gpus", "caption.cpus_per_worker", "edit.gpus_per_worker", "train.cpus_per_worker"):
        assert f"{key}: " in found["too_much"]


def test_the_doctor_looks_at_every_node(found):
    gpus = [line for line in found["doctor"] if " GPUs " in line and "Ray counts 4" in line]
    assert len(gpus) == 2
    assert all(line.startswith("wrong") and "cannot use it" in line for line in gpus)
    folders = [line for line in found["doctor"] if "run.folder can be written and read there" in line]
    assert len(folders) == 2
    assert all(line.startswith("ok") for line in folders)


def test_what_another_node_lacks_is_said_before_the_first_stage(found):
    server, key, weights = sorted(found["lacks"])
    assert server.startswith("train.trackers: mlflow has no server")
    assert key.startswith("train.trackers: wandb has no key")
    assert weights.startswith("train.weights: there is no ")
    assert all("(so it is on node " in sentence for sentence in found["lacks"])


def test_the_doctor_leaves_nothing_behind(found):
    assert found["left"] == []
