import socket
from contextlib import nullcontext

import httpx2
import pytest
import yaml
from huggingface_hub import constants
from typer.testing import CliRunner

from alia_ray.checks import doctor
from alia_ray.checks.doctor import examine
from alia_ray.cli import app
from alia_ray.config import load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.store.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("ray_cluster")


def findings(tmp_path, *overrides: str) -> list[str]:
    return [str(each) for each in examine(load_config(DEMO, [f"run.folder={tmp_path / 'run'}", *overrides]))]


def wrong(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("wrong")]


def test_a_machine_that_can_run_the_demo_has_nothing_wrong_and_is_left_as_it_was(tmp_path):
    lines = findings(tmp_path)
    assert not wrong(lines)
    assert any("versions" in line and "torch" in line and "ray 2." in line for line in lines)
    assert any("run.folder can be written and read there" in line for line in lines)
    assert any("nothing in it would be refused" in line for line in lines)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_there_keeps_what_it_holds(tmp_path):
    RunFolder(str(tmp_path / "run")).write_bytes(b"kept", "report.html")
    findings(tmp_path)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["report.html"]


def test_everything_that_would_be_refused_has_its_line(tmp_path):
    lines = wrong(findings(tmp_path, "edit.workers=99", "train.cpus_per_worker=77", "caption.cpus_per_worker=66"))
    assert len(lines) == 3
    for key in ("edit.workers: ", "train.cpus_per_worker: ", "caption.cpus_per_worker: "):
        assert any(key in line for line in lines)


def test_a_run_folder_that_cannot_be_written_is_wrong(tmp_path):
    (tmp_path / "run").write_text("a file")
    tried, refused = wrong(findings(tmp_path))
    assert "run.folder" in tried
    assert "cannot be written from here" in tried
    assert refused.endswith(f"run.folder: {tmp_path}/run is a file; name another folder")


def test_a_server_that_does_not_answer_is_wrong(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    (line,) = wrong(findings(tmp_path, f"llm.base_url={url}"))
    assert " LLM " in line
    assert url in line


def test_the_hub_is_asked_only_for_what_is_missing_and_not_when_offline(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("alia_ray.checks.doctor.look_at_inputs", lambda settings: (None, []))
    monkeypatch.setattr(httpx2, "get", lambda url, **_: asked.append(url) or httpx2.Response(200))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    findings(tmp_path)
    assert asked == []
    missing = "edit.model.name=nobody/nothing"
    assert not wrong(findings(tmp_path, missing))
    assert len(asked) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert any("edit.model=nobody/nothing; fetch it first" in line for line in wrong(findings(tmp_path, missing)))
    assert len(asked) == 1


@pytest.mark.parametrize(("overrides", "code"), [([], 0), (["--set", "edit.workers=99"], 2)])
def test_the_command_ends_with_2_where_something_is_wrong(tmp_path, monkeypatch, overrides, code):
    monkeypatch.setattr("alia_ray.cluster.joining.joined", lambda run: nullcontext())
    tree = yaml.safe_load(DEMO.read_text())
    tree["run"]["folder"] = str(tmp_path / "run")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "run.yaml"), *overrides])
    assert result.exit_code == code, result.output
    assert ("wrong" in result.output) == bool(code)


def test_without_a_configuration_it_looks_at_machine_and_cluster():
    lines = [str(each) for each in examine(None)]
    assert not wrong(lines)
    assert any(" node " in line for line in lines)
    assert not any("configuration" in line for line in lines)


def test_a_container_with_little_shared_memory_or_few_open_files_is_wrong(monkeypatch):
    assert not list(doctor._limits())
    monkeypatch.setattr(doctor, "_LITTLE_SHARED", 10**18)
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (1024, 1024))
    files, shared = map(str, doctor._limits())
    assert "ulimit -Hn 4096" in files
    assert "--shm-size=8g" in shared
