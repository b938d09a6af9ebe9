"""The whole method through the real classes, small: BLIP, vLLM, diffusers, open_clip, Ray Data, Ray Train."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from a_run import hidden_test_split, small
from asking import judged_edits, needed_ids
from in_process import passes_here, trainings_here
from PIL import Image

from alia_ray.cluster.joining import available
from alia_ray.config import as_yaml
from alia_ray.config.arms import ARMS, BASE
from alia_ray.errors import StageError
from alia_ray.loaded import load
from alia_ray.pipeline import STAGES, run_all
from alia_ray.report.missing import missing_things
from alia_ray.reporting import run_report
from alia_ray.state import State
from alia_ray.store.tables import SCHEMAS
from alia_ray.training.evaluation import evaluate_classifier

pytestmark = pytest.mark.slow
SAME = ("edit_id", "image_id", "seed", "prompt", "verdict", "predicted_label", "semantic_text")
HOME = {f"a photo of a {{}} bird {place}" for place in ("in a forest", "in a meadow", "on a lake", "on a beach")}


def files(folder: Path) -> dict[str, int]:
    return {str(p): os.stat(p).st_mtime_ns for p in folder.rglob("*") if p.suffix in (".parquet", ".safetensors")}


def test_a_run_keeps_no_secret_of_its_environment(finished, secrets_of_the_environment):
    kept = [path.read_bytes() for path in finished.rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert not any(secret.encode() in content for secret in secrets_of_the_environment for content in kept)


def test_no_stage_before_evaluate_reads_the_test_split(finished):
    """The run came this far while its test pictures and labels were garbage; `evaluate` would not have."""
    state = State(small(finished))
    with hidden_test_split(finished), pytest.raises(StageError, match=r"evaluate: .*cannot be decoded"):
        evaluate_classifier(
            state.folder.uri(*state.arm_path(BASE)), state.test_examples(BASE), state.classes, available("auto")
        )
    untrained = State(small(finished, "train.seed=1"))
    with pytest.raises(StageError, match="the arm original is not trained yet"):
        untrained.test_examples(BASE)


def test_every_table_of_the_design_is_there(finished):
    for name, schema in SCHEMAS.items():
        table = pq.read_table(finished / name)
        assert table.schema.names == schema.names
        assert table.num_rows > 0 or name == "errors"


def test_the_domains_are_the_training_backgrounds_and_name_no_class(finished):
    prompts = set(pq.read_table(finished / "domains").column("prompt").to_pylist())
    assert prompts == HOME
    assert not any(name in prompt for prompt in prompts for name in ("tarrel", "mirrol"))


def test_every_training_image_was_tried_under_every_prompt(finished):
    edits = pq.read_table(finished / "edits")
    assert edits.num_rows == 32 * 4
    assert len(set(edits.column("edit_id").to_pylist())) == 32 * 4
    assert set(edits.column("verdict").to_pylist()) <= {"kept", "too_similar", "error"}


def test_metrics_name_every_arm_and_stage(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert set(metrics["arms"]) == {"original", "alia"}
    for arm in metrics["arms"].values():
        assert {"accuracy", "class_balanced_accuracy", "worst_group_accuracy"} <= set(arm)
        low, high = arm["interval"]["accuracy"]
        assert low <= arm["accuracy"] <= high
    assert metrics["arms"]["original"]["difference"] is None
    assert metrics["arms"]["alia"]["difference"]["to"] == "original"
    assert {"ingest", "caption", "discover", "edit", "train", "evaluate"} <= set(metrics["stages"])
    assert all({"rows", "errors", "seconds"} <= set(stage) for stage in metrics["stages"].values())
    assert metrics["stages"]["edit"]["rows"] == 32 * 4
    assert not any(stage["reused"] for stage in metrics["stages"].values())  # nothing was there before
    assert metrics["time"]["seconds"] == pytest.approx(sum(s["seconds"] for s in metrics["stages"].values()))
    assert metrics["edits"]["clock_per_kept"] * metrics["edits"]["kept"] >= metrics["edits"]["seconds"] / 2


def test_the_report_holds_pictures_and_prompts(finished):
    page = (finished / "report.html").read_text()
    assert "data:image/" in page
    assert "a photo of a {} bird in a forest" in page


def test_running_again_makes_nothing_again(finished):
    before = files(finished)
    run_all(small(finished), available("auto"))
    assert files(finished) == before


def test_other_settings_and_a_crash_in_the_same_folder_change_nothing_of_a_page(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "shared")
    first, quick = small(folder), "edit.edits_per_image=1"
    run_all(first, available("auto"))
    own = State(first).results
    before = {name: own.read_bytes(name) for name in ("config.yaml", "metrics.json", "report.html")}
    assert before == {name: (folder / name).read_bytes() for name in before}
    with trainings_here():
        run_all(small(folder, quick, "judge.filters=[semantic, too_similar]"), available("auto"))
    assert (folder / "metrics.json").read_bytes() != before["metrics.json"]

    def crash(*_: object) -> None:
        raise RuntimeError("a crash")

    monkeypatch.setitem(STAGES, "edit", crash)
    crashed = small(folder, quick, "judge.filters=[]")
    with pytest.raises(RuntimeError, match="a crash"):
        run_all(crashed, available("auto"))
    assert {name: own.read_bytes(name) for name in before} == before
    run_report(State(crashed), missing=missing_things(State(crashed)))
    run_report(State(first))
    assert {name: own.read_bytes(name) for name in before} == before
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_of_what_other_runs_left_just_what_is_needed_is_judged(finished, tmp_path, without_ray):
    def of_seed(seed: int, name: str) -> State:
        """The state of a seed in a folder, its base classifier that of the finished run."""
        state = State(small(tmp_path / name, "edit.edits_per_image=1", f"train.seed={seed}"))
        base = State(small(finished)).arm_folder(BASE).path
        shutil.copytree(base, state.arm_folder(BASE).path, dirs_exist_ok=True)
        return state

    for name in ("shared", "alone"):
        shutil.copytree(finished, tmp_path / name, ignore=shutil.ignore_patterns("edits"))
    for seed, name in ((5, "shared"), (6, "shared"), (5, "shared"), (6, "alone")):
        for stage in ("judge", "edit"):
            STAGES[stage](of_seed(seed, name), available("cpu"))
    for seed in (5, 6):
        state = of_seed(seed, "shared")
        assert state.edits.ids() == needed_ids(state)
    made, alone = of_seed(6, "shared").edits.read(SAME), of_seed(6, "alone").edits.read(SAME)
    assert made.to_pylist() == alone.to_pylist()
    stats = of_seed(6, "shared").results.read_json("stages", "judge.json")
    kept = made.num_rows - of_seed(6, "shared").results.read_json("stages", "edit.json")["made"]
    assert 0 < stats["made"] == stats["rows"] <= kept < made.num_rows  # `edit` comes to the others
    assert of_seed(5, "shared").results.read_json("stages", "judge.json") is None


def test_an_arm_that_is_added_later_gets_the_pictures_that_it_draws_from(finished, tmp_path, without_ray):
    folder = shutil.copytree(finished, tmp_path / "later", ignore=shutil.ignore_patterns("edits"))
    first = State(small(folder, "edit.edits_per_image=1", "edit.keep_rejected=false"))
    STAGES["edit"](first, available("cpu"))
    before = first.edits.read()
    said = first.scored("discovered", "edit_seconds").drop_columns("image_bytes")
    bare = before.column("image_bytes").null_count
    first.results.write_bytes(as_yaml(first.settings).encode(), "config.yaml")
    assert len(load(first.results.path).selected("alia", filters=[])) == 32  # which needs no picture
    added = State(small(folder, "edit.keep_rejected=false", "train.arms=[original, alia, alia_unfiltered]"))
    STAGES["edit"](added, available("cpu"))
    assert bare
    assert added.edits.read(["image"]).column(0).null_count == 0
    assert len(added.selected(ARMS["alia_unfiltered"])) == 32
    made = added.results.read_json("stages", "edit.json")["made"]
    assert made == bare + added.edits.read().num_rows - before.num_rows
    now = State(first.settings).scored("discovered", "edit_seconds").drop_columns("image_bytes")
    assert now.equals(said)


def test_pool_and_batch_sizes_do_not_change_the_edits(finished, tmp_path):
    """Ids and verdicts are equal; pixels may differ where a kernel sums another batch size in another order."""
    again = shutil.copytree(finished, tmp_path / "again", ignore=shutil.ignore_patterns("edits"))
    resized = State(small(again, "edit.batch_size=5", "edit.workers=1"))
    STAGES["edit"](resized, available("auto"))
    one, other = (pq.read_table(folder / "edits").sort_by("edit_id") for folder in (finished, again))
    for column in SAME:
        assert one.column(column).to_pylist() == other.column(column).to_pylist()
    worst = max(
        np.abs(pixels(a) - pixels(b)).max()
        for a, b in zip(one.column("image").to_pylist(), other.column("image").to_pylist(), strict=True)
    )
    assert worst <= 1


@pytest.mark.parametrize("limit", ["all", 6])
def test_looking_for_one_survivor_of_each_image_ends_with_the_edits_that_all_would_have_given(
    finished, tmp_path, limit
):
    fresh = shutil.copytree(finished, tmp_path / "fresh", ignore=shutil.ignore_patterns("edits"))
    drawn = f"select.num_extra={limit}"
    quick = State(small(fresh, drawn, "edit.edits_per_image=1", "edit.keep_rejected=false", "edit.batch_size=5"))
    with passes_here():
        STAGES["edit"](quick, available("auto"))
    every = State(small(finished, drawn))
    of_all = {row["edit_id"]: row for row in every.edits.read().to_pylist()}
    rows = quick.edits.read().to_pylist()
    assert quick.selected() == every.selected()
    assert len(quick.selected()) <= len(rows) < len(of_all)
    for row in rows:
        expected = of_all[row["edit_id"]]
        assert {name: row[name] for name in SAME} == {name: expected[name] for name in SAME}
        assert row["confidence"] == pytest.approx(expected["confidence"], abs=1e-3)
        if row["verdict"] == "kept":
            assert np.abs(pixels(row["image"]) - pixels(expected["image"])).max() <= 1
        else:
            assert row["image"] is None
    before = files(fresh)
    STAGES["edit"](quick, available("auto"))
    assert files(fresh) == before
    beside_all = State(small(finished, drawn, "edit.edits_per_image=1"))
    assert needed_ids(beside_all) == {row["edit_id"] for row in rows}
    assert judged_edits(beside_all).num_rows == len(rows)


def pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded))).astype(int)


def test_other_judge_settings_score_the_same_edits_again_without_editing(finished, tmp_path):
    scored = shutil.copytree(finished, tmp_path / "scored")
    before = pq.read_table(scored / "edits").num_rows
    other = small(scored, "judge.negatives=[a photo of noise]")
    with passes_here():
        STAGES["judge"](State(other), available("auto"))
    state = State(other)
    assert state.edits.read().num_rows == before
    texts = set(state.edits.read(["semantic_text"]).column(0).to_pylist())
    assert texts <= {"a photo of a bird", "a photo of noise"}
    original = State(small(scored)).edits.read(["edit_id", "image"])
    assert state.edits.read(["edit_id", "image"]).equals(original)


def test_a_changed_filter_changes_the_selection_and_no_table(finished):
    before = files(finished)
    strict, loose = (State(small(finished, f"judge.filters={filters}")) for filters in ("[too_similar]", "[]"))
    assert len(loose.selected()) == 32
    assert set(judged_edits(strict).column("verdict").to_pylist()) >= {"too_similar"}
    assert files(finished) == before
