import pytest

from alia_ray.cluster import Cluster
from alia_ray.config import ConfigError, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.plan import describe


def test_a_plan_counts_rows_pools_and_disk():
    plan = describe(load_config(DEMO), Cluster(cpus=16, gpus=4))
    assert "320 images, 4 workers of 1 GPU" in plan
    assert "at most 2880 edits of 48² pixels with instruct_pix2pix" in plan
    assert "GB" in plan


def test_given_prompts_make_the_plan_exact():
    settings = load_config(DEMO, ["discover.prompts=['a {} at sea', 'a {} on land']"])
    plan = describe(settings, Cluster(cpus=3, gpus=0))
    assert "edit      640 edits" in plan
    assert "caption   0 images" in plan


def test_what_cannot_be_scheduled_is_refused():
    with pytest.raises(ConfigError, match=r"edit\.workers"):
        describe(load_config(DEMO, ["edit.workers=9"]), Cluster(cpus=3, gpus=0))
