import os
import re
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from alia_ray import reporting
from alia_ray.config import ConfigError
from alia_ray.log import quiet
from alia_ray.progress import say
from alia_ray.store.run_folder import RunFolder


def logs(folder: Path) -> list[Path]:
    return sorted((folder / "logs").glob("*.log"))


def noisy() -> None:
    """What libraries do: from Python, from below it, and from a process of their own."""
    warnings.warn("of a library", stacklevel=1)
    os.write(1, b"from C on standard output\n")
    os.write(2, b"from C on standard error\n")
    subprocess.run([sys.executable, "-c", "print('of another process')"], check=True)


def test_only_what_is_said_reaches_the_person_and_the_log_has_everything(tmp_path, capfd):
    with quiet(RunFolder(str(tmp_path / "run")), "run"):
        noisy()
        say("ingest: 3 rows")
    noted = capfd.readouterr()
    assert noted.out == ""
    assert noted.err == "ingest: 3 rows\n"
    [log] = logs(tmp_path / "run")
    text = log.read_text()
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} alia-ray \d\S*: .+\n", text)
    for line in ("from C on standard output", "from C on standard error", "of another process", "ingest: 3 rows"):
        assert line in text
    assert log.stat().st_mode & 0o077 == 0
    say("after")
    assert capfd.readouterr().err == "after\n"


def test_a_failure_leaves_its_traceback_in_the_log_and_says_where_that_is(tmp_path, capfd):
    with pytest.raises(KeyError) as caught, quiet(RunFolder(str(tmp_path / "run")), "edit"):
        raise KeyError("x")
    [log] = logs(tmp_path / "run")
    assert caught.value.__notes__ == [f"what led there is in {log}"]
    assert log.name.endswith("-edit.log")
    assert 'raise KeyError("x")' in log.read_text()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ends", [None, ConfigError("no"), KeyError("x")])
def test_of_a_run_folder_that_may_only_be_read_a_log_is_kept_elsewhere_and_only_of_a_failure(
    tmp_path, monkeypatch, ends
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "run").write_text("where nothing can be written")
    expected = pytest.raises(type(ends)) if ends else nullcontext()
    with expected, quiet(RunFolder(str(tmp_path / "run")), "export"):
        if ends is not None:
            raise ends
    kept = list((tmp_path / "temporary").rglob("*.log"))
    assert len(kept) == isinstance(ends, KeyError)
    assert (tmp_path / "temporary").is_dir()


def test_a_wrong_configuration_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError), quiet(RunFolder(str(tmp_path / "run")), "run"):
        raise ConfigError("edit.steps: must be positive")
    assert list(tmp_path.iterdir()) == []


def test_a_command_without_a_folder_leaves_a_log_only_where_it_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with quiet(None, "plan"):
        noisy()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="gone"), quiet(None, "plan"):
        raise OSError("gone")
    assert len(list(tmp_path.rglob("*-plan.log"))) == 1


def test_the_log_of_a_run_on_an_object_store_lies_there_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = RunFolder("mock://bucket/run")
    with pytest.raises(ValueError, match="wrong") as caught, quiet(folder, "run"):
        raise ValueError("wrong")
    assert caught.value.__notes__[0].startswith("what led there is in mock://bucket/run/logs/")
    name = caught.value.__notes__[0].rpartition("/")[2]
    with folder.fs.open_input_stream(folder.file("logs", name)) as stream:
        assert b"ValueError: wrong" in stream.read()
    assert list(tmp_path.iterdir()) == []


def test_the_closing_line_of_a_run_on_an_object_store_has_its_scheme(monkeypatch, capsys):
    for name in ("shown", "build_report", "tell_trackers"):
        monkeypatch.setattr(reporting, name, lambda *_: "")
    monkeypatch.setattr(reporting, "numbers", lambda *_: {})
    monkeypatch.setattr(reporting, "_report_inputs", lambda *_: SimpleNamespace(experiment=None, config_yaml=""))
    folder, whole = RunFolder("mock://bucket/run"), SimpleNamespace(trial=None)
    results = RunFolder("mock://bucket/run/results/1")
    reporting.run_report(SimpleNamespace(folder=folder, results=results, settings=whole))
    assert capsys.readouterr().err == "report: mock://bucket/run/report.html\n"
