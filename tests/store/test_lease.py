"""Two commands on one run folder: in threads' and in processes' places, on this machine and on others."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.errors import StageError
from alia_ray.store import lease
from alia_ray.store.lease import LEASE, held
from alia_ray.store.run_folder import RunFolder

OTHER = {
    "id": "theirs",
    "command": "edit",
    "host": "node7",
    "pid": 4242,
    "since": "2026-11-27 06:00:00 +0000",
    "machine": "another boot pid:[1]",
    "started": "12345",
    "renewals": 3,
}
THEY_WORK = r"run.folder: `alia-ray edit` on node7 \(process 4242, since 2026-11-27 06:00:00 \+0000\) works in "


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    for name, seconds in {"RENEW_S": 0.1, "STALE_S": 0.6, "LOOK_EVERY_S": 0.05, "SETTLE_S": 0.05}.items():
        monkeypatch.setattr(lease, name, seconds)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"))


@pytest.fixture
def other_process(folder, tmp_path) -> Iterator[subprocess.Popen]:
    """Another process of this machine that has the folder."""
    script = textwrap.dedent("""
        import sys, time
        from alia_ray.store.lease import held
        from alia_ray.store.run_folder import RunFolder
        with held(RunFolder(sys.argv[1]), "run"):
            time.sleep(600)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, folder.path])
    deadline = time.monotonic() + 60
    while not folder.has_file(LEASE) and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def test_a_folder_is_held_and_renewed_for_a_commands_time_and_free_afterwards(folder):
    with held(folder, "caption"):
        first = folder.read_json(LEASE)
        assert (first["command"], first["pid"]) == ("caption", os.getpid())
        deadline = time.monotonic() + 10
        while folder.read_json(LEASE)["renewals"] == first["renewals"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert folder.read_json(LEASE)["renewals"] > first["renewals"]
    assert not folder.has_file(LEASE)
    with pytest.raises(KeyError), held(folder, "caption"):
        raise KeyError("the command failed")
    assert not folder.has_file(LEASE)


def test_a_second_command_of_this_machine_is_refused_at_once_and_told_of_the_first(folder, other_process):
    before = time.monotonic()
    with pytest.raises(ConfigError, match=rf"`alia-ray run` on .* \(process {other_process.pid}, since 20"):
        held(folder, "edit").__enter__()
    assert time.monotonic() - before < lease.STALE_S
    assert folder.read_json(LEASE)["pid"] == other_process.pid


@pytest.mark.parametrize("reaped", [True, False])
def test_a_command_that_was_killed_on_this_machine_is_in_nobodys_way(folder, other_process, reaped, capsys):
    other_process.send_signal(signal.SIGKILL)
    if reaped:
        other_process.wait()
    else:
        deadline = time.monotonic() + 10
        while lease._started(other_process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
    with held(folder, "edit"):
        assert folder.read_json(LEASE)["pid"] == os.getpid()
    assert capsys.readouterr().err == ""


def test_a_process_that_has_the_number_of_one_that_ended_does_not_count(folder):
    folder.write_json({**OTHER, "machine": lease._machine(), "pid": os.getpid(), "started": "1"}, LEASE)
    with held(folder, "edit"):
        assert folder.read_json(LEASE)["command"] == "edit"


@pytest.mark.parametrize("machine", ["another boot pid:[1]", None])
def test_a_command_of_another_machine_is_given_up_when_nothing_renews_its_lease(folder, machine, capsys):
    folder.write_json({**OTHER, "machine": machine}, LEASE)
    with held(folder, "edit"):
        assert folder.read_json(LEASE)["pid"] == os.getpid()
    assert "`alia-ray edit` on node7 (process 4242, " in capsys.readouterr().err


def test_a_command_of_another_machine_that_lives_is_left_alone_however_its_clock_goes(folder):
    folder.write_json(OTHER, LEASE)
    renewing = threading.Timer(0.2, lambda: folder.write_json({**OTHER, "renewals": 4}, LEASE))
    renewing.start()
    with pytest.raises(ConfigError, match=THEY_WORK):
        held(folder, "edit").__enter__()
    renewing.join()
    assert folder.read_json(LEASE)["id"] == "theirs"


def test_a_command_of_another_machine_that_ends_meanwhile_makes_room(folder):
    folder.write_json(OTHER, LEASE)
    ending = threading.Timer(0.2, lambda: Path(folder.file(LEASE)).unlink())
    ending.start()
    with held(folder, "edit"):
        assert folder.read_json(LEASE)["pid"] == os.getpid()
    ending.join()


def test_of_two_that_write_at_once_the_last_has_the_folder(folder, monkeypatch):
    monkeypatch.setattr(lease, "_lease", lambda command: folder.write_json(OTHER, LEASE) or {"id": "mine"})
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: folder.write_json(OTHER, LEASE))
    with pytest.raises(ConfigError, match=THEY_WORK):
        held(folder, "edit").__enter__()
    assert folder.read_json(LEASE) == OTHER


def in_a_thread(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_command_whose_folder_was_taken_over_stops_and_leaves_it_to_the_other(folder, in_thread):
    deadline = time.monotonic() + 20

    def work() -> None:
        with held(folder, "edit"):
            while time.monotonic() < deadline:
                folder.write_json(OTHER, LEASE)
                time.sleep(0.03)

    with pytest.raises(StageError, match=f"edit: stopped, since another command has taken over {folder.shown()}"):
        in_a_thread(work) if in_thread else work()
    assert folder.read_json(LEASE) == OTHER


def test_an_interrupt_by_the_person_stays_one(folder):
    with pytest.raises(KeyboardInterrupt), held(folder, "edit"):
        raise KeyboardInterrupt
    assert not folder.has_file(LEASE)


@pytest.mark.parametrize("content", [b"", b"{", json.dumps({"id": "older release"}).encode()])
def test_a_lease_that_says_nothing_is_in_nobodys_way(folder, content):
    Path(folder.file()).mkdir(parents=True)
    Path(folder.file(LEASE)).write_bytes(content)
    with held(folder, "edit"):
        assert folder.read_json(LEASE)["pid"] == os.getpid()
