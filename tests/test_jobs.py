"""A job of `jobs/` through Ray's Job Submission API, on a Ray head of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from alia_ray.miniature.recipes import DEMO

ROOT = Path(__file__).parent.parent
TINY = [
    "source={kind: miniature, train: 24, val: 16, test: 16, bias: 0.75}",
    "discover.prompts=['a photo of a {} bird in the snow']",
    "edit.steps=3",
    "judge.filters=[]",
    "train.arms=[original, alia]",
    "train.epochs=1",
]

# Fixed by default, so that a second Ray on the machine has no agent that takes jobs.
AGENT_PORTS = ("dashboard-agent-listen-port", "metrics-export-port", "ray-client-server-port")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head(tmp_path_factory):
    """A Ray head with a dashboard on loopback, taken down by its own process group alone."""
    ports = {name: free_port() for name in ("port", "dashboard-port", *AGENT_PORTS)}
    options = [f"--{name}={port}" for name, port in ports.items()]
    options += ["--num-cpus=3", f"--temp-dir={tmp_path_factory.mktemp('ray')}"]
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(
        ray, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{ports['dashboard-port']}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


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


@pytest.mark.slow
def test_a_submitted_job_runs_every_stage_and_a_bad_one_fails(head, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    overrides = " ".join(f'--set "{item}"' for item in [f"run.folder={tmp_path / 'run'}", *TINY])
    command = f"{sys.executable} {ROOT / 'jobs' / 'run.py'} {DEMO} {overrides}"
    client, good = submitted(head, command)
    assert finished(client, good) == JobStatus.SUCCEEDED, client.get_job_logs(good)[-4000:]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["arms"]) == {"original", "alia"}
    assert metrics["stages"]["edit"]["rows"] == 24
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000

    bad = client.submit_job(entrypoint=f"{command} --set edit.stpes=3")
    assert finished(client, bad) == JobStatus.FAILED
    assert "edit.stpes: is not a known key" in client.get_job_logs(bad)
