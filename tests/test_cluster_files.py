import copy
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from alia_ray.config import load_config

ROOT = Path(__file__).parent.parent


def launcher_file() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def validated(tree: dict) -> dict:
    prepared = prepare_config(copy.deepcopy(tree))
    validate_config(prepared)
    return prepared


def test_the_launcher_file_satisfies_rays_own_schema():
    prepared = validated(launcher_file())
    assert prepared["available_node_types"]["gpu_worker"]["max_workers"] == 8
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_rays_schema_would_notice_a_mistake():
    broken = launcher_file()
    broken["available_node_types"]["gpu_worker"]["max_wrokers"] = 3
    with pytest.raises(Exception, match="max_wrokers"):
        validated(broken)


def test_gpu_workers_scale_from_none_and_the_head_has_no_gpu():
    tree = launcher_file()
    worker = tree["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0 < worker["max_workers"] <= tree["max_workers"]
    assert any("--num-gpus=0" in command for command in tree["head_start_ray_commands"])


@pytest.mark.parametrize("recipe", sorted((ROOT / "jobs" / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_a_valid_configuration(recipe):
    assert load_config(recipe).run.folder


def test_the_kuberay_job_runs_a_recipe_that_exists():
    job = yaml.safe_load((ROOT / "jobs" / "kuberay.yaml").read_text())
    assert job["kind"] == "RayJob"
    recipe = job["spec"]["entrypoint"].split()[2]
    assert (ROOT / recipe).is_file()


def test_the_slurm_script_parses():
    subprocess.run(["bash", "-n", str(ROOT / "jobs" / "slurm.sh")], check=True)
