import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alia_ray.cluster.devices import LOGICAL_GPUS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    script, logical = Path(__file__).with_name("scaling.py"), {**os.environ, LOGICAL_GPUS: "1"}
    result = subprocess.run(
        [sys.executable, str(script)], env=logical, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_gpus_are_asked_for_where_the_autoscaler_looks_and_waited_for(found):
    assert found["asked"]
    assert found["first"]["gpus"] == 2


def test_gpus_that_came_are_kept_and_free_for_the_runs_own_pools(found):
    assert found["kept"] == {"idle": False, "free": 2, "groups": []}


def test_a_run_that_is_killed_lets_its_gpus_go_and_not_a_neighbours(found):
    assert found["kept_by_first"]
    assert found["let_go"]


def test_workers_have_the_persons_keys_and_proxies_and_nothing_else(found):
    expected = {"HF_TOKEN": "canary-of-hf", "https_proxy": "http://user:canary-of-proxy@proxy:1", "OTHER": None}
    assert found["first"]["seen"] == found["second"]["seen"] == expected


def test_what_workers_are_given_is_in_no_file_of_rays(found):
    assert found["leaks"] == ""
