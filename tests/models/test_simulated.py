import time

import numpy as np
import pytest
import torch
from PIL import Image

from alia_ray.config import Judge, Model
from alia_ray.models.simulated import SimulatedCaptioner, SimulatedEditor, SimulatedJudge, simulation_of


def pictures(number: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in range(number)]


def sources(number: int) -> torch.Tensor:
    return torch.rand(number, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["simulated:speed=1", "simulated:latency=-1", "simulated:failures=x"])
def test_a_name_that_is_wrong_is_told_how_it_is_written(name):
    with pytest.raises(ValueError, match=r"write it as simulated:latency=2,acceptance=0\.5"):
        simulation_of(name)


def test_a_captioner_says_of_a_picture_the_same_in_any_batch_and_fails_as_often_as_asked():
    captioner = SimulatedCaptioner("simulated:failures=0.2")
    seen = pictures(200)
    said = captioner.caption(seen)
    assert said[::-1] == captioner.caption(seen[::-1])
    assert 20 < said.count("") < 60
    assert len(set(said)) > 4


def test_an_edit_follows_from_its_source_and_seed_alone():
    editor = SimulatedEditor("simulated:")
    images, prompts = sources(4), ["a", "b", "c", "d"]
    made = editor.edit(editor.encode(images), prompts, [1, 2, 3, 4])
    again = editor.edit(editor.encode(images[[2]]), ["c"], [3])
    assert torch.equal(made[2], again[0])
    assert not torch.equal(made, images)
    failing = SimulatedEditor("simulated:failures=1").edit(images, prompts, [1, 2, 3, 4])
    assert failing.isnan().all()


def test_a_judge_accepts_as_many_as_asked_and_always_the_same():
    judge = SimulatedJudge(Judge(model=Model(name="simulated:acceptance=0.25")))
    images = list(sources(400))
    rows = judge.score(images, ["cat"] * 400)
    accepted = [row["semantic_text"] in Judge().positives for row in rows]
    assert 70 < sum(accepted) < 130
    assert [row["semantic_text"] for row in judge.score(images[::-1], ["cat"] * 400)][::-1] == [
        row["semantic_text"] for row in rows
    ]


def test_a_batch_takes_its_latency():
    started = time.perf_counter()
    SimulatedCaptioner("simulated:latency=0.2").caption(pictures(3))
    assert time.perf_counter() - started >= 0.2
