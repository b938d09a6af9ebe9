"""Jobs of `jobs/` through Ray's Job Submission API, on a Ray head of its own; the experiment is one of them."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from a_run import in_this_ray
from ray.job_submission import JobStatus, JobSubmissionClient
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.miniature.recipes import DEMO

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
SMALL = [
    "source={kind: miniature, train: 24, val: 8, test: 16, extra: 8, bias: 0.75}",
    "discover.prompts=['a photo of a {} bird in a forest', 'a photo of a {} bird on a lake']",
    "edit.steps=2",
    "edit.workers=1",
    "select.num_extra=extra",
    "train.workers=1",
    "train.cpus_per_worker=2",  # of three: one lane
    "train.epochs=1",
    "train.image_size=32",
    "train.arms=[original]",
    "experiment={arms: [original, alia_too_similar, real_data], seeds: [3, 4], amounts: [0.5]}",
]
ARMS = ["original", "alia_too_similar", "real_data", "alia_too_similar_control", "alia@0.5"]

# Fixed by default, so that a second Ray on the machine has no agent that takes jobs.
AGENT_PORTS = ("dashboard-agent-listen-port", "metrics-export-port", "ray-client-server-port")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Iterator[str]:
    """A Ray head with a dashboard on loopback, taken down by its own process group alone."""
    ports = {name: free_port() for name in ("port", "dashboard-port", *AGENT_PORTS)}
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += ["--num-cpus=3", f"--temp-dir={tmp_path_factory.mktemp('ray')}"]
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    environment = {**os.environ, "RAY_API_SERVER_ADDRESS": address}  # or Ray Train waits for another Ray's
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(ray, env=environment, **quiet, start_new_session=True)
    try:
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # at SIGTERM its processes wait for each other, for half a minute
        process.wait()


def submitted(address: str, command: str) -> tuple[JobSubmissionClient, str]:
    """Submit a job as soon as the head and its agent are there."""
    deadline = time.monotonic() + 180
    while True:
        try:
            client = JobSubmissionClient(address)
            return client, client.submit_job(entrypoint=command)
        except (ConnectionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def finished(client: JobSubmissionClient, job: str) -> JobStatus:
    deadline = time.monotonic() + 500
    while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
        time.sleep(1)
    return client.get_job_status(job)


def command(script: str, folder: Path, *overrides: str) -> str:
    """The entry point of a small job over the run folder `folder`."""
    return f"{sys.executable} {ROOT / 'jobs' / script} {shlex.join(arguments(folder, *overrides))}"


def arguments(folder: Path, *overrides: str) -> list[str]:
    items = [f"run.folder={folder}", *SMALL, *overrides]
    return [str(DEMO), *(word for item in items for word in ("--set", item))]


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Whatever the trainings and tables of a run folder hold, and when it was written."""
    kept = (".parquet", ".safetensors", "history.json", "metrics.json")
    parts = [path for path in folder.iterdir() if path.is_dir() and path.name != "results"]
    paths = [path for part in parts for path in part.rglob("*") if path.name.endswith(kept)]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.fixture(scope="module")
def experiment(head, tmp_path_factory) -> Path:
    """The run folder of a submitted experiment."""
    folder = tmp_path_factory.mktemp("experiment") / "run"
    client, job = submitted(head, command("experiment.py", folder))
    assert finished(client, job) == JobStatus.SUCCEEDED, client.get_job_logs(job)[-4000:]
    return folder


def test_every_arm_of_an_experiment_has_every_seed_with_equal_amounts(experiment):
    result = json.loads((experiment / "experiment.json").read_text())
    assert list(result["arms"]) == ARMS
    for name, arm in result["arms"].items():
        assert [row["seed"] for row in arm["seeds"]] == [3, 4]
        assert set(arm["mean"]) == set(arm["std"]) >= {"accuracy", "worst_group_accuracy"}
        assert (arm["difference"] is None) == (name == "original")
    added = {name: [row["added"] for row in arm["seeds"]] for name, arm in result["arms"].items()}
    assert added["original"] == [0, 0]
    assert added["real_data"] == [8, 8]
    assert added["alia@0.5"] == [12, 12]
    assert added["alia_too_similar"] == added["alia_too_similar_control"]
    assert all(count <= 8 for count in added["alia_too_similar"])
    assert (experiment / "experiment.md").read_text().count("| real_data |") == 1
    assert len((experiment / "experiment_seeds.csv").read_text().splitlines()) == 1 + 5 * 2
    assert "Experiment</h2>" in (experiment / "report.html").read_text()


def test_seeds_of_one_draw_share_images_and_edits_and_have_judges_of_their_own(experiment):
    one, other = (pq.read_table(path).sort_by("edit_id") for path in sorted((experiment / "edits").iterdir()))
    assert one.column("image").equals(other.column("image"))
    assert not one.column("confidence").equals(other.column("confidence"))
    assert len(list((experiment / "images").iterdir())) == 1


def test_an_experiment_run_again_repeats_nothing_but_what_was_lost(ray_cluster, experiment):
    before = contents(experiment)
    lost = next(path for path in sorted(before) if path.name == "metrics.json")
    lost.unlink()
    with in_this_ray():
        done = CliRunner().invoke(app, ["experiment", *arguments(experiment)])
    assert done.exit_code == 0, done.stderr
    after = contents(experiment)
    assert json.loads(before[lost][1]) == json.loads(after[lost][1])
    made_again = {path for path in before if before[path] != after[path]}
    assert made_again == {lost, lost.with_name("predictions.parquet")}


def test_a_run_over_the_same_folder_makes_only_what_it_lacks_and_a_bad_one_fails(head, experiment):
    before = contents(experiment)
    entrypoint = command("run.py", experiment, "train.seed=3")
    client, good = submitted(head, entrypoint)
    assert finished(client, good) == JobStatus.SUCCEEDED, client.get_job_logs(good)[-4000:]
    assert contents(experiment) == before
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert set(metrics["arms"]) == {"original"}
    edit = metrics["stages"]["edit"]
    assert edit["made"] == 0
    assert 0 < edit["reused"] == edit["rows"] <= 24 * 2
    assert (experiment / "report.html").stat().st_size > 10_000

    bad = client.submit_job(entrypoint=f"{entrypoint} --set edit.stpes=3")
    assert finished(client, bad) == JobStatus.FAILED
    assert "did you mean edit.steps?" in client.get_job_logs(bad)
