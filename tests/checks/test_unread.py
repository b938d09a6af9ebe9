from importlib.resources import files
from pathlib import Path

import pytest

from alia_ray import recipes
from alia_ray.checks.unread import doubtful_things
from alia_ray.config import load_config, parse_config


def said_of(*overrides: str) -> list[str]:
    return list(
        doubtful_things(parse_config({"run": {"folder": "x"}, "source": {"kind": "miniature"}}, overrides))
    )


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["edit.method=instruct_pix2pix", "edit.strength=0.4"],
            "edit.strength: edit.method=instruct_pix2pix does not read it; leave it out, or set edit.method=img",
        ),
        (["edit.image_guidance_scale=2"], "or set edit.method=instruct_pix2pix"),
        (["edit.controlnet_scale=0.5"], "or set edit.method=controlnet"),
        (["edit.canny_thresholds=[1, 2]"], "or set edit.method=controlnet"),
        (["edit.controlnet.name=x/y"], "edit.controlnet: edit.method=img2img does not read it"),
        (["judge.confidence_rule=code"], "judge.confidence_rule: code is a rule of the filter mislabelled"),
    ],
)
def test_a_key_that_nothing_reads_is_said_with_what_would_read_it(overrides, says):
    [said] = said_of(*overrides)
    assert says in said


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["edit.strength=0.4", "edit.guidance_scale=5", "edit.preset=lcm"],
        ["edit.method=instruct_pix2pix", "edit.strength=0.6", "edit.image_guidance_scale=2"],
        ["edit.method=controlnet", "edit.controlnet_scale=0.5", "edit.canny_thresholds=[1, 2]"],
        ["judge.filters=[mislabelled]", "judge.confidence_rule=code"],
    ],
)
def test_what_is_read_or_is_the_default_is_not_said(overrides):
    assert said_of(*overrides) == []


@pytest.mark.parametrize("name", recipes.names())
def test_no_recipe_sets_what_nothing_reads(name):
    assert not list(doubtful_things(load_config(Path(str(files(recipes).joinpath(f"{name}.yaml"))))))
