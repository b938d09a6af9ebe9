import copy
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from alia_ray.checks import paths
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


@pytest.mark.parametrize("recipe", sorted((ROOT / "alia_ray" / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_a_valid_configuration(recipe):
    assert load_config(recipe).run.folder


def test_the_kuberay_job_runs_a_recipe_that_exists():
    job = yaml.safe_load((ROOT / "jobs" / "kuberay.yaml").read_text())
    assert job["kind"] == "RayJob"
    recipe = job["spec"]["entrypoint"].split()[2]
    assert (ROOT / recipe).is_file()


def test_the_slurm_script_parses():
    subprocess.run(["bash", "-n", str(ROOT / "jobs" / "slurm.sh")], check=True)


def images() -> list[str]:
    """The Ray images that the cluster files name."""
    docker = launcher_file()["docker"]
    dockerfile = re.search(r"FROM (\S+)", (ROOT / "jobs" / "kuberay.yaml").read_text())
    return [docker["head_image"], docker["worker_image"], dockerfile[1]]


def test_images_have_a_python_and_the_ray_that_the_project_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [ray] = [Requirement(line) for line in project["dependencies"] if line.startswith("ray[")]
    kuberay = yaml.safe_load((ROOT / "jobs" / "kuberay.yaml").read_text())
    assert ray.specifier.contains(kuberay["spec"]["rayClusterSpec"]["rayVersion"])
    for image in images():
        version, major, minor = re.fullmatch(r"rayproject/ray:([\d.]+)-py(\d)(\d+)-\w+", image).groups()
        assert ray.specifier.contains(version)
        assert SpecifierSet(project["requires-python"]).contains(f"{major}.{minor}")


def test_no_node_takes_the_launchers_default_machine_image():
    types = launcher_file()["available_node_types"]
    assert {kind["node_config"]["ImageId"] for kind in types.values()} == {"AMI_ID"}


def test_a_node_that_cannot_run_the_project_does_not_join():
    tree = launcher_file()
    for command in (tree["setup_commands"][0], tree["setup_commands"][2]):
        code = re.search(r'python -c "(.*)"$', command)[1]
        subprocess.run([sys.executable, "-c", code], check=True)
    wrong = re.search(r'python -c "(.*)"$', tree["setup_commands"][0])[1].replace("sys.version_info", "(3, 10, 1)")
    assert subprocess.run([sys.executable, "-c", wrong], capture_output=True).returncode == 1
    compile(re.search(r'python -c "(.*)"$', tree["worker_setup_commands"][0])[1], "worker", "exec")


def test_clusters_ask_for_a_token():
    tree = launcher_file()
    started = [*tree["head_start_ray_commands"], *tree["worker_start_ray_commands"]]
    assert all("RAY_AUTH_MODE=token" in command for command in started if "ray start" in command)
    assert "~/.ray/auth_token" in tree["file_mounts"]
    kuberay = yaml.safe_load((ROOT / "jobs" / "kuberay.yaml").read_text())
    assert kuberay["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("place", ["README.md", "docs/cluster.md", "jobs/kuberay.yaml", "jobs/slurm.sh"])
def test_no_cluster_command_leaves_a_relative_path(place, monkeypatch):
    text = (ROOT / place).read_text().replace("\n#", "\n")
    recipe_and_overrides = r"(alia_ray/recipes/\S+\.yaml(?:[\s\\]+--set \S+)+)"
    command = re.search(rf"(?:run\.py|alia-ray run|slurm\.sh) {recipe_and_overrides}", text)[1]
    recipe, *rest = command.replace("\\", " ").split()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    settings = load_config(ROOT / recipe, [word for word in rest if word != "--set"])
    assert [key for key, place in paths.places(settings) if place.is_relative] == []


SRUN = """#!/bin/bash
echo "srun $*" >> "$CALLS"
while [[ $1 == --* ]]; do shift; done
if [[ $1 == hostname ]]; then echo "127.0.1.1 fe80::1 10.0.0.7 172.17.0.1"; fi
"""

PYTHON3 = """#!/bin/bash
echo "python3 $*" >> "$CALLS"
if [[ $* == *ray.init* ]]; then  # as many nodes as were started, but never at once
  (($(grep -c ray.init "$CALLS") > 1 &&
    $(grep 'ray start' "$CALLS" | grep -o 'n[0-9]' | wc -l) >= $(grep -o '[0-9]*$' <<<"$*")))
fi
"""


def slurm(folder: Path, srun: str = SRUN) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The script with stand-ins for Slurm, Ray and Python: how it ended, and what it called."""
    programs = {
        "srun": srun,
        "scontrol": "#!/bin/bash\nprintf 'n1\\nn2\\nn3\\n'\n",
        "python3": PYTHON3,
        "sleep": "#!/bin/bash\nexec /usr/bin/sleep 0.05\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "CALLS": str(folder / "calls"),
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_CPUS_PER_TASK": "32",
        "SLURM_GPUS_ON_NODE": "4",
        "RAY_AUTH_TOKEN": "t",
    }
    command = ["bash", ROOT / "jobs" / "slurm.sh", "x.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done, (folder / "calls").read_text().splitlines()


def test_the_slurm_script_gives_every_task_its_cores_and_waits_until_all_nodes_are_there(tmp_path):
    done, lines = slurm(tmp_path)
    assert done.returncode == 0, done.stderr
    starts = [line for line in lines if line.startswith("srun")]
    assert all("--cpus-per-task=32" in line for line in starts)
    assert "--node-ip-address=10.0.0.7" in next(line for line in starts if "--head" in line)
    assert sorted(re.search(r"--nodelist=(\S+)", line)[1] for line in starts) == ["n1", "n1", "n1,n2,n3", "n2,n3"]
    assert "--nodes=2 --ntasks=2" in next(line for line in starts if "=n2,n3" in line)
    assert sum("ray.init" in line for line in lines) >= 3  # the first was too early, then one node, then three
    assert lines[-1] == "python3 jobs/run.py x.yaml"


def test_on_slurm_ray_lies_in_a_folder_that_only_its_user_may_enter(tmp_path):
    _, lines = slurm(tmp_path)
    assert "--nodelist=n1,n2,n3" in lines[0]
    made = re.search(r"bash -c (.*)", lines[0])[1]
    assert made.startswith("mkdir --mode=700 /tmp/alia-ray-17 || ")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir(mode=0o755)
    theirs.symlink_to(mine)  # whoever guessed the job's number may have laid it there
    for folder, is_taken in ((mine, True), (theirs, False)):
        command = made.replace("/tmp/alia-ray-17", str(folder)).strip("'\"")
        assert (subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0) == is_taken
    assert mine.stat().st_mode & 0o777 == 0o700
    assert "--temp-dir=/tmp/alia-ray-17/ray" in next(line for line in lines if "--head" in line)


def test_a_slurm_node_without_an_address_that_others_reach_is_named(tmp_path):
    done, _ = slurm(tmp_path, SRUN.replace("10.0.0.7 172.17.0.1", ""))
    assert done.returncode == 1
    assert done.stderr.startswith("error: n1 has no IPv4 address that other nodes could reach, only: 127.0.1.1")
