"""A run folder whose source has gone, or whose pictures get labels from elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alia_ray.checks.inputs import STAGES, listing_of, look_at_inputs
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, ConfigError, parse_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.errors import StageError
from alia_ray.stages import ingest as ingesting
from alia_ray.stages.ingest import images_table, ingest
from alia_ray.state import State

CLUSTER = Cluster(cpus=2, gpus=0)


def settings(folder: Path, label_column: str = "label", **run: object) -> Config:
    columns = {"label_column": label_column, "val_fraction": 0, "test_fraction": 0}
    source = {"kind": "csv", "path": f"{folder}/meta.csv", "root": str(folder), **columns}
    return parse_config({"run": {"folder": f"{folder}/run", **run}, "source": source})


@pytest.fixture
def folder(without_ray, tmp_path) -> Path:
    """Three pictures, and a table of two with two columns of labels."""
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (10, 12, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    (tmp_path / "meta.csv").write_text("path,label,kind,split\n0.png,cat,dog,train\n1.png,cat,dog,val\n")
    return tmp_path


def test_what_was_learnt_from_another_column_of_labels_is_learnt_anew(folder):
    found = []
    for column in ("label", "kind"):
        state = State(settings(folder, column))
        ingest(state.settings, CLUSTER)
        with pytest.raises(StageError, match="the base classifier is not trained yet"):
            state.thresholds()
        state.folder.write_json({"cat": 0.5}, *state.arm_path(BASE), "thresholds.json")
        found.append((state.images.ids(), state.arm_fingerprint(BASE), state.edits.fingerprint))
    (ids, label, scores), (same, kind, others) = found
    assert ids == same
    assert label != kind
    assert scores != others


def test_a_label_that_is_put_right_again_brings_back_what_was_learnt_from_it(folder):
    before, wrong = again(folder, SAME), again(folder, SAME.replace("cat,dog,val", "dog,dog,val"))
    assert wrong != before
    assert again(folder, SAME) == before


def of_an_older_release(folder: Path) -> State:
    """The run folder as a release left it whose names of classifiers did not cover labels."""
    table = ingest(settings(folder), CLUSTER)
    table.folder.write_json({"whole": True, "corrected": False}, "listing", table.fingerprint, "_ingest.json")
    return State(settings(folder))


def again(folder: Path, table: str) -> str:
    """The base classifier's name after another ingest of a source with this table."""
    (folder / "meta.csv").write_text(f"path,label,kind,split\n{table}")
    ingest(settings(folder), CLUSTER)
    return State(settings(folder)).arm_fingerprint(BASE)


SAME = "0.png,cat,dog,train\n1.png,cat,dog,val\n"


def test_classifiers_of_older_releases_keep_their_names_until_a_label_that_they_learnt_from_changes(folder):
    before = of_an_older_release(folder).arm_fingerprint(BASE)
    assert again(folder, SAME) == before
    assert again(folder, f"{SAME}2.png,cat,dog,test\n") == before
    assert again(folder, f"{SAME}2.png,dog,dog,test\n") == before
    corrected = again(folder, SAME.replace("cat,dog,train", "dog,dog,train"))
    assert corrected != before
    assert again(folder, SAME) not in (before, corrected)


def test_a_picture_of_an_older_release_that_comes_back_under_another_label_is_learnt_anew(folder):
    before = of_an_older_release(folder).arm_fingerprint(BASE)
    again(folder, "1.png,cat,dog,val\n2.png,cat,dog,train\n")
    assert again(folder, SAME.replace("cat,dog,train", "dog,dog,train")) != before


def test_labels_of_what_an_arm_does_not_learn_from_are_not_in_its_name(folder):
    name = again(folder, SAME)
    assert again(folder, f"{SAME}2.png,dog,dog,extra\n") == name
    real = State(settings(folder)).arm_fingerprint(ARMS["real_data"])
    assert again(folder, f"{SAME}2.png,cat,dog,extra\n") == name
    assert State(settings(folder)).arm_fingerprint(ARMS["real_data"]) != real


def test_after_ingest_no_stage_lists_the_source(folder, monkeypatch):
    listed = []
    real = ingesting.list_images
    monkeypatch.setattr(ingesting, "list_images", lambda source, over: listed.append(source) or real(source, over))
    chosen = settings(folder)
    ingest(chosen, CLUSTER, listing_of(chosen))
    assert len(listed) == 1
    for stage in STAGES[1:]:
        look_at_inputs(chosen, [stage])
    assert listing_of(chosen).column("label").to_pylist() == ["cat", "cat"]
    assert len(listed) == 1


def test_what_was_ingested_whole_needs_its_source_no_more(folder, capsys):
    table = images_table(settings(folder))
    before = ingest(settings(folder), CLUSTER).read()
    (folder / "meta.csv").rename(folder / "moved.csv")
    assert ingest(settings(folder), CLUSTER).read().equals(before)
    assert "going on with the 2 pictures that were ingested" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot read"):
        ingest(settings(folder, source_changes="refuse"), CLUSTER)
    table.folder.write_json({"whole": False, "corrected": False}, "listing", table.fingerprint, "_ingest.json")
    with pytest.raises(ConfigError, match="cannot read"):
        ingest(settings(folder), CLUSTER)


@pytest.mark.parametrize("damaged", ["images", "errors", "listing", "_ingest.json"])
def test_what_a_power_loss_damaged_is_ingested_again(folder, capsys, damaged):
    with (folder / "meta.csv").open("a") as table:
        table.write("2.png,cat,dog,train\n")
    (folder / "2.png").write_bytes(b"garbage")
    config = settings(folder, max_error_rate=0.5)
    table = ingest(config, CLUSTER)
    before, errors = table.read(), table.errors("ingest").read()
    found = sorted((folder / "run").glob(f"{damaged}/*/part*"))
    path = found[0] if found else folder / "run" / "listing" / table.fingerprint / damaged
    path.write_bytes(b"")
    capsys.readouterr()
    if damaged != "errors":
        with pytest.raises(StageError, match=r"^ingest.*; run `alia-ray ingest` first$"):
            State(config).ids_of("train")
    assert ingest(config, CLUSTER).read().equals(before)
    assert table.errors("ingest").read().equals(errors)
    said = capsys.readouterr().err
    assert said.count(f"{path} is damaged") == 1
    assert "the source changed" not in said
    assert State(config).ids_of("train")


def test_a_trial_and_the_whole_run_take_neither_for_a_changed_source(folder, capsys):
    with (folder / "meta.csv").open("a") as table:
        table.write("2.png,cat,dog,train\n")

    def ingested(**limit: int) -> list[str]:
        whole = settings(folder)
        trial = whole.model_copy(update={"source": whole.source.model_copy(update=limit)})
        return sorted(ingest(trial, CLUSTER).read(["origin"]).column(0).to_pylist())

    assert ingested() == ["0.png", "1.png", "2.png"]
    assert len(ingested(limit=2)) == 2
    assert "2 of 3 images are taken" in capsys.readouterr().err
    assert ingested() == ["0.png", "1.png", "2.png"]
    assert len(ingested(limit=2)) == 2
    assert "the source changed" not in capsys.readouterr().err
