import os
import re
import time

import pytest
import ray

from alia_ray.cluster import tasks
from alia_ray.config import ConfigError, Run
from alia_ray.errors import StageError


def place_of(part: int) -> tuple[int, int]:
    """Where a part was gone over, which takes a moment."""
    time.sleep(0.002)
    if part == 13:
        raise ConfigError("source.path: part 13 is broken")
    return part, os.getpid()


def lost_with_its_process(part: int) -> None:
    """Ends the process that goes over it."""
    if ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
        os._exit(1)


def over(tmp_path) -> tasks.Over:
    return tasks.spread(Run(folder=str(tmp_path), accelerator="cpu"), "source")


def test_few_parts_are_gone_over_here(tmp_path):
    assert list(over(tmp_path)(place_of, range(10))) == [(part, os.getpid()) for part in range(10)]


def test_what_would_take_long_is_gone_over_by_the_cluster_in_its_order(tmp_path, ray_cluster, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "SOON_S", 0.001)
    parts = [*range(13), *range(14, 100)]
    found = list(over(tmp_path)(place_of, parts))
    assert [part for part, _ in found] == parts
    here = {process == os.getpid() for _, process in found[: tasks.THREADS]}
    there = {process == os.getpid() for _, process in found[tasks.THREADS :]}
    assert (here, there) == ({True}, {False})
    said = capsys.readouterr().err
    assert re.search(r"^source: 8 of 99 parts took .*; the cluster goes over the others$", said, re.MULTILINE)
    assert re.search(r"^source: 91 parts in ", said, re.MULTILINE)


@pytest.mark.parametrize("soon", [0.001, 20.0])
def test_what_is_wrong_with_a_part_is_said_wherever_it_is_found(tmp_path, ray_cluster, monkeypatch, soon):
    monkeypatch.setattr(tasks, "SOON_S", soon)
    with pytest.raises(ConfigError, match=r"^source\.path: part 13 is broken$"):
        list(over(tmp_path)(place_of, range(100)))


def test_a_part_that_kills_what_goes_over_it_ends_with_a_sentence(tmp_path, ray_cluster, monkeypatch):
    monkeypatch.setattr(tasks, "SOON_S", 0.0)
    with pytest.raises(StageError, match="source: a worker failed"):
        list(over(tmp_path)(lost_with_its_process, range(2)))
