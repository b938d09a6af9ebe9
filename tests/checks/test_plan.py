import re

import pyarrow as pa
import pytest
from a_run import small

from alia_ray.checks.inputs import doubtful_things, listing_of
from alia_ray.checks.plan import check_fits, describe
from alia_ray.cluster.placement import GB, Cluster, Node
from alia_ray.config import ConfigError, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.pipeline import run_all


def test_a_plan_counts_rows_pools_and_disk():
    plan = describe(load_config(DEMO), Cluster(cpus=16, gpus=4))
    assert "320 images, 4 workers of 1 GPU and about" in plan
    assert "at most 2880 edits of 48² pixels with instruct_pix2pix" in plan
    assert "GB" in plan


def test_given_prompts_make_the_plan_exact():
    settings = load_config(DEMO, ["discover.prompts=['a {} at sea', 'a {} on land']"])
    plan = describe(settings, Cluster(cpus=3, gpus=0))
    assert "edit      640 edits" in plan
    assert "caption   0 images" in plan


def test_a_plan_and_a_run_say_which_keys_nothing_reads():
    settings = load_config(DEMO, ["edit.strength=0.3"])
    said = "edit.strength: edit.method=instruct_pix2pix does not read it"
    assert f"note      {said}" in describe(settings, Cluster(cpus=3, gpus=0))
    assert any(doubt.startswith(said) for doubt in doubtful_things(settings, listing_of(settings)))


def test_the_plan_of_an_experiment_counts_its_trainings():
    settings = load_config(DEMO, ["experiment={arms: [cutmix, alia], seeds: [0, 1], amounts: [2]}"])
    plan = describe(settings, Cluster(cpus=3, gpus=0))
    assert "compare   5 arms × 2 seeds: at most 10 trainings" in plan


@pytest.mark.parametrize(
    ("override", "cluster"),
    [
        ("edit.workers=9", Cluster(cpus=3, gpus=0)),
        ("caption.workers=9", Cluster(cpus=64, gpus=8)),
        ("train.workers=4", Cluster(cpus=3, gpus=0)),
        ("train.workers=4", Cluster(cpus=64, gpus=2)),
        ("llm.gpus=4", Cluster(cpus=64, gpus=2)),
    ],
)
def test_what_can_never_be_scheduled_is_refused_before_the_first_stage(tmp_path, override, cluster):
    settings = load_config(DEMO, [override, f"run.folder={tmp_path / 'run'}"])
    for refuse in (describe, run_all):
        with pytest.raises(ConfigError, match=override.partition("=")[0].replace(".", r"\.")):
            refuse(settings, cluster)
    assert not (tmp_path / "run").exists()


def test_the_memory_that_the_images_of_a_training_take_is_counted_before_the_first_stage():
    node = Cluster.of((Node(cpus=3, memory=8 * GB),))
    listing = pa.table({"split": ["train"] * 60_000})
    check_fits(load_config(DEMO, ["train.image_size=48"]), node, listing)
    large = ["train.image_size=224", "train.batch_size=8"]
    check_fits(load_config(DEMO, large), node, listing)  # which are streamed
    with pytest.raises(ConfigError, match=r"train: a worker needs about \d+\.\d GB .* more than 8\.0 GB free"):
        check_fits(load_config(DEMO, [*large, "train.loading=memory"]), node, listing)


def test_a_plan_says_what_the_disk_will_hold_and_how_large_the_models_are():
    plan = describe(load_config(DEMO), Cluster(cpus=3, gpus=0))
    [disk] = [line for line in plan.splitlines() if line.startswith("disk ")]
    parts = ", ".join(rf"{name} \d\.\d\d" for name in ("images", "edits", "trainings"))
    assert re.fullmatch(rf"disk +about \d\.\d\d GB \({parts}\) more; \d+ GB are free there", disk)
    [models] = [line for line in plan.splitlines() if line.startswith("models ")]
    assert re.search(r"edit\.model miniature:instruct_pix2pix \(\S+ M\)", models)
    assert "llm.model miniature:llm (" in models
    assert not any(line.startswith("time ") for line in plan.splitlines())  # nothing was measured here


def test_where_edits_were_made_before_a_plan_says_how_long_others_take(finished):
    plan = describe(small(finished), Cluster(cpus=3, gpus=0))
    [line] = [line for line in plan.splitlines() if line.startswith("time ")]
    assert re.fullmatch(
        r"time +\S+( \w+ each)? for an edit, as \d+ in this folder took; at most \d+ others .*", line
    )
