"""Which arms and draws an experiment has; tests/test_jobs.py runs a small one."""

import time
from pathlib import Path

import pyarrow as pa

from alia_ray.checks.comparison import arms_of, draws
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, load_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.experiment import run
from alia_ray.miniature.recipes import DEMO
from alia_ray.results import stages_of
from alia_ray.state import State
from alia_ray.training.evaluation import THRESHOLDS

SMALL = [
    "source={kind: miniature, extra: 8, bias: 0.75}",
    "experiment={arms: [original, alia_too_similar, real_data], seeds: [3, 4], amounts: [0.5]}",
]


def small(folder: Path, *overrides: str) -> Config:
    return load_config(DEMO, [f"run.folder={folder}", *SMALL, *overrides])


def names(*overrides: str) -> list[str]:
    return [arm.name for arm in arms_of(small(Path("nowhere"), *overrides))]


def test_filtered_arms_bring_their_control_and_amounts_are_arms_of_their_own():
    assert names() == ["original", "alia_too_similar", "real_data", "alia_too_similar_control", "alia@0.5"]


def test_an_arm_as_configured_is_filtered_if_the_judge_filters():
    chosen = "experiment={arms: [alia, alia_unfiltered, alia_user_prompts]}"
    assert "alia_control" in names(chosen, "judge.filters=[semantic]")
    assert not [name for name in names(chosen, "judge.filters=[]") if name.endswith("_control")]


def test_without_an_extra_split_every_arm_but_real_data_is_compared():
    assert "real_data" in names("experiment={}")
    assert "real_data" not in names("experiment={}", "source.extra=0")


def test_the_original_always_comes_first():
    assert names("experiment={arms: [cutmix]}", "judge.filters=[]") == ["original", "cutmix"]


def test_fresh_draws_paint_anew_and_shared_ones_do_not():
    settings = small(Path("nowhere"), "experiment.fresh_draws=true")
    assert [state.settings.source.seed for state in draws(settings, [])] == [3, 4]
    shared = draws(small(Path("nowhere")), [])
    assert [state.settings.source.seed for state in shared] == [0, 0]
    assert [state.settings.seed for state in shared] == [3, 4]


def test_an_experiment_gives_up_no_prompt_for_controls_draw_from_all_edits():
    states = draws(small(Path("nowhere"), "edit.drop_prompt_below=0.5"), [])
    assert {state.settings.edit.drop_prompt_below for state in states} == {None}


def test_a_seed_is_judged_when_the_edits_of_the_one_before_are_there(monkeypatch):
    done = []
    for stage in ("run_ingest", "run_judge", "run_edit"):
        monkeypatch.setattr(
            run.pipeline, stage, lambda state, cluster, stage=stage: done.append((stage, state.settings.seed))
        )
    monkeypatch.setattr(run.pipeline, "train_bases", lambda states, cluster: None)
    monkeypatch.setattr(run, "check_ingested", lambda settings: None)
    arms = [BASE, ARMS["text_to_image"]]
    states = draws(small(Path("nowhere")), arms)
    run._make_edits(states, arms, Cluster(cpus=2, gpus=0))
    assert done.index(("run_judge", 4)) > done.index(("run_edit", 3)) > done.index(("run_judge", 3))


def test_the_time_in_which_the_seeds_base_classifiers_are_trained_together_counts(monkeypatch, tmp_path):
    taken = 0.2
    times = [taken, 0, 0]  # who is asked again finds them trained
    for stage in ("run_ingest", "run_judge", "run_edit"):
        monkeypatch.setattr(run.pipeline, stage, lambda state, cluster: None)
    monkeypatch.setattr(run, "check_ingested", lambda settings: None)
    monkeypatch.setattr(run.pipeline, "train_arms", lambda *_: time.sleep(times.pop(0)))
    monkeypatch.setattr(run.pipeline, "score_training_set", lambda *_: {})
    monkeypatch.setattr(
        run.pipeline, "_knows_thresholds", lambda state: state.arm_folder(BASE).has_file(THRESHOLDS)
    )
    monkeypatch.setattr(State, "count_of", lambda state, split: 2)
    monkeypatch.setattr(State, "id_column", lambda state, split: pa.array(["a", "b"]))
    monkeypatch.setattr(State, "arm_path", lambda state, arm: ("classifiers", str(state.settings.seed)))
    arms = [BASE, ARMS["text_to_image"]]
    states = draws(small(tmp_path), arms)
    run._make_edits(states, arms, Cluster(cpus=2, gpus=0))
    kept = stages_of(states[0])["train_base"]
    assert (kept["rows"], kept["made"], kept["reused"]) == (4, 4, 0)
    assert kept["seconds"] >= taken
