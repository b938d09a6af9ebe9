"""Progress while nothing is committed yet."""

import time
from dataclasses import replace

import pytest
import ray

from alia_ray.config import Run
from alia_ray.stages import counting
from alia_ray.stages.counting import Counts
from alia_ray.stages.streaming import Pass
from alia_ray.store.run_folder import RunFolder


def test_where_the_counter_dies_nobody_minds(ray_cluster, monkeypatch):
    monkeypatch.setattr(counting, "LOOK_EVERY_S", 0.1)
    shown = []
    with counting.counting(shown.append) as counter:
        counting.tell(counter, 4, 1)
        while Counts(4, 1) not in shown:
            time.sleep(0.05)
        ray.kill(counter)
        counting.tell(counter, 4, 1)
        time.sleep(0.3)
    assert shown[-1] == Counts(4, 1)


@pytest.mark.parametrize(
    ("changes", "counts", "expected"),
    [
        ({}, Counts(40, 40), 100),
        ({"makes": 400}, Counts(40, 10), 400),
        ({}, Counts(0, 0), 100),
        ({"makes_one_each": False}, Counts(8, 0), 108),
        ({"makes_one_each": False}, Counts(60, 20), 60 + 80 * 3),
    ],
)
def test_how_many_rows_are_to_come_is_told_by_those_that_came(changes, counts, expected):
    target = RunFolder("nowhere").table("captions", "f")
    job = Pass("edit", "", 100, object, (), target, "k", "", 8, Run(folder="nowhere"))
    assert replace(job, **changes).expected(counts) == expected
