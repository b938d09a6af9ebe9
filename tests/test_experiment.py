"""Arms × seeds × amounts: what is compared, what is shared, and that nothing finished is repeated."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from alia_ray.cluster import available
from alia_ray.config import Config, load_config
from alia_ray.experiment import arms_of, draws, run_experiment
from alia_ray.miniature.recipes import DEMO

SMALL = [
    "source={kind: miniature, train: 24, val: 8, test: 16, extra: 8, bias: 0.75}",
    "discover.prompts=['a photo of a {} bird in a forest', 'a photo of a {} bird on a lake']",
    "edit.steps=2",
    "edit.workers=1",
    "select.num_extra=extra",
    "train.workers=1",
    "train.epochs=1",
    "train.image_size=32",
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


def contents(folder: Path) -> dict[str, bytes]:
    kept = (".parquet", ".safetensors", "history.json", "metrics.json")
    paths = [path for path in folder.rglob("*") if path.name.endswith(kept) and "stages" not in path.parts]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths if path.parent != folder}


@pytest.fixture(scope="module")
def finished(ray_cluster, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "run"
    run_experiment(small(folder), available("auto"))
    return folder


@pytest.mark.slow
def test_every_arm_has_every_seed_with_equal_amounts(finished):
    result = json.loads((finished / "experiment.json").read_text())
    assert list(result["arms"]) == [
        "original",
        "alia_too_similar",
        "real_data",
        "alia_too_similar_control",
        "alia@0.5",
    ]
    for name, arm in result["arms"].items():
        assert [row["seed"] for row in arm["seeds"]] == [3, 4]
        assert set(arm["mean"]) == set(arm["std"]) >= {"accuracy", "worst_group_accuracy"}
        assert (arm["difference"] is None) == (name == "original")
    added = {name: [row["added"] for row in arm["seeds"]] for name, arm in result["arms"].items()}
    assert added["original"] == [0, 0]
    assert added["real_data"] == [8, 8]
    assert added["alia@0.5"] == [12, 12]
    assert added["alia_too_similar"] == added["alia_too_similar_control"]
    assert all(count <= 8 for count in added["alia_too_similar"])
    assert (finished / "experiment.md").read_text().count("| real_data |") == 1
    assert len((finished / "experiment.csv").read_text().splitlines()) == 1 + 5 * 2
    assert "Experiment</h2>" in (finished / "report.html").read_text()


@pytest.mark.slow
def test_seeds_of_one_draw_share_captions_and_edits(finished):
    one, other = (pq.read_table(path).sort_by("edit_id") for path in sorted((finished / "edits").iterdir()))
    assert one.column("image").equals(other.column("image"))
    assert one.column("confidence") != other.column("confidence")  # each seed's own base classifier
    assert len(list((finished / "images").iterdir())) == 1


@pytest.mark.slow
def test_an_experiment_run_again_repeats_nothing_but_what_was_lost(finished):
    before = contents(finished)
    lost = next(path for path in sorted(before) if path.endswith("metrics.json"))
    Path(lost).unlink()
    run_experiment(small(finished), available("auto"))
    after = contents(finished)
    assert json.loads(before[lost][1]) == json.loads(after[lost][1])
    again = {path for path in before if before[path] != after[path]}
    assert {Path(path).parent for path in again} == {Path(lost).parent}
    assert {Path(path).name for path in again} == {"metrics.json", "predictions.parquet"}
