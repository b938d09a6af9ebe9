"""Each stage is whole or it is not, and what comes after it asks: on tables made by hand, as kills leave them."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from asking import requests_in_order, wanted_ids
from PIL import Image
from typer.testing import CliRunner

from alia_ray import pipeline, reporting
from alia_ray.cli import app
from alia_ray.cluster.placement import Cluster
from alia_ray.config import as_yaml, parse_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.errors import StageError
from alia_ray.export.plan import plan_export
from alia_ray.images import encode
from alia_ray.llm.discover import domain_rows
from alia_ray.report.missing import missing_things
from alia_ray.stages.caption import captions_table
from alia_ray.state import State
from alia_ray.store import patience
from alia_ray.store.run_folder import CLASSIFIER, HISTORY, METRICS, PREDICTIONS, TENSORS
from alia_ray.store.tables import EDITS, ERRORS, IMAGES
from alia_ray.training.evaluation import THRESHOLDS

CLUSTER = Cluster(cpus=2, gpus=0)
PROMPTS = ["a photo of a {} by the sea", "a photo of a {} in a wood"]
IMAGES_OF = {"train": 6, "val": 1, "test": 1}


def state(folder: Path, **sections: dict) -> State:
    settings = {
        "run": {"folder": str(folder / "run"), **sections.get("run", {})},
        "source": {"kind": "imagefolder", "path": "photos"},
        "discover": {"prompts": sections.get("prompts", PROMPTS)},
        "train": {"arms": ["original", "alia"]},
        **({"judge": sections["judge"]} if "judge" in sections else {}),
    }
    return State(parse_config(settings))


@pytest.fixture
def found(tmp_path) -> State:
    """A run up to the edits: images in three files, ingested to their end, a base classifier, and every edit."""
    found = state(tmp_path)
    splits = [split for split, number in IMAGES_OF.items() for _ in range(number)]
    rows = [
        {
            "image_id": f"{n}",
            "split": split,
            "label": "cat",
            "group": "cat",
            "width": 4,
            "height": 4,
            "origin": f"{n}.png",
        }
        for n, split in enumerate(splits)
    ]
    images = pa.Table.from_pylist(rows, schema=IMAGES)
    for start in range(0, images.num_rows, 3):
        found.images.commit(images.slice(start, 3))
    place = ("listing", found.images.fingerprint)
    found.folder.write_parquet(
        images.select(["origin", "label", "split", "group"]), *place, "part-listing.parquet"
    )
    found.folder.write_json({"whole": True, "corrected": False}, *place, "_ingest.json")
    domains = domain_rows(PROMPTS, [], found.settings.discover.prefix, 0)
    found.domains_table().commit(pa.Table.from_pylist(domains, schema=found.domains_table().schema))
    found.folder.write_json({"cat": 0.9}, *found.arm_path(BASE), "thresholds.json")
    commit_edits(found)
    return found


def commit_edits(found: State, half: bool = False, **changes: object) -> None:
    rows = [
        {
            "edit_id": each["edit_id"],
            "image_id": each["image_id"],
            "domain_id": each["domain_id"],
            "label": each["label"],
            "semantic_text": "a photo",
            "image": b"png",  # which nobody who is asked here decodes, or must
            "image_bytes": 3,
            **changes,
        }
        for each in requests_in_order(found)
    ]
    some = [row for row in rows if int(row["image_id"]) < 3] if half else rows
    found.edits.commit(pa.Table.from_pylist(some, schema=EDITS))


def forget(found: State) -> State:
    """What a later command knows of the same run folder."""
    return State(found.settings)


LATER: dict[str, Callable[[State], object]] = {
    "discover": lambda found: pipeline.run_discovery(found, CLUSTER),
    "edit": lambda found: pipeline.run_edit(found, CLUSTER),
    "train": lambda found: pipeline.run_train(found, CLUSTER),
    "evaluate": lambda found: pipeline.run_evaluate(found, CLUSTER),
    "export": lambda found: plan_export(found, str(Path(found.folder.path).parent / "out"), "parquet"),
}


OF_IMAGES: dict[str, Callable[[State], object]] = {
    "caption": lambda found: pipeline.run_caption(asking(found), CLUSTER),
    "train_base": lambda found: pipeline.run_train_base(found, CLUSTER),
    "judge": lambda found: pipeline.run_judge(found, CLUSTER),
    **LATER,
}


def asking(found: State) -> State:
    """The same without prompts that are given."""
    discover = found.settings.discover.model_copy(update={"prompts": None})
    return State(found.settings.model_copy(update={"discover": discover}))


@pytest.mark.parametrize("command", OF_IMAGES)
@pytest.mark.parametrize("lost", ["part", "listing", "mark"])
def test_images_of_which_some_are_missing_are_refused_by_every_command(found, command, lost):
    folder = Path(found.folder.file("listing", found.images.fingerprint))
    broken = {
        "part": Path(found.images.files()[0]),
        "listing": folder / "part-listing.parquet",
        "mark": folder / "_ingest.json",
    }
    broken[lost].write_bytes(b"")
    with pytest.raises(StageError, match=r"^ingest.*; run `alia-ray ingest` first$"):
        OF_IMAGES[command](forget(found))


def test_a_run_whose_source_is_gone_counts_the_images_that_it_has(found, monkeypatch):
    counted = []
    monkeypatch.setattr(pipeline, "check_fits", lambda settings, cluster, images: counted.append(images.num_rows))
    pipeline.begin(found.settings, found, CLUSTER)
    assert counted == [sum(IMAGES_OF.values())]


def test_a_picture_that_failed_is_an_answer(found):
    found.images.discard({"0"})
    with pytest.raises(StageError, match="ingest: 1 of 8 pictures are missing"):
        forget(found).ids_of("train")
    row = {"stage": "ingest", "key": "0.png", "reason": "cannot be decoded", "kind": "decode"}
    found.images.errors("ingest").commit(pa.Table.from_pylist([row], schema=ERRORS))
    assert len(forget(found).ids_of("train")) == 5


def captioned(found: State, folder: Path, number: int, failed: int = 0, **run: object) -> State:
    asks = asking(state(folder, run=run))
    table, ids = captions_table(asks.settings), asks.ids_of("train")
    rows = [{"image_id": each, "caption": "a cat"} for each in ids[:number]]
    table.commit(pa.Table.from_pylist(rows, schema=table.schema))
    errors = [
        {"stage": "caption", "key": each, "reason": "the captioner said nothing", "kind": "model"}
        for each in ids[number : number + failed]
    ]
    table.errors("caption").commit(pa.Table.from_pylist(errors, schema=ERRORS))
    return asks


@pytest.mark.parametrize("command", ["discover", "edit", "train", "evaluate", "export"])
def test_captions_of_a_third_of_the_images_are_refused(found, tmp_path, command):
    asks = captioned(found, tmp_path, 2)
    asks.folder.write_json({"cat": 0.9}, *asks.arm_path(BASE), "thresholds.json")
    if command not in ("discover", "edit"):
        asks.settings.train.arms.remove("original")
    with pytest.raises(
        StageError, match=r"^caption: 4 of 6 training images are missing; run `alia-ray caption` first$"
    ):
        LATER[command](asks)


def test_captions_that_failed_are_an_answer_unless_there_were_too_many(found, tmp_path):
    assert len(captioned(found, tmp_path, 4, failed=2, max_error_rate=0.5).captions()) == 4
    with pytest.raises(StageError, match=r"caption: 2 of 6 rows failed, more than run.max_error_rate=0.1 allows"):
        captioned(found, tmp_path, 4, failed=2, max_error_rate=0.1).captions()


@pytest.mark.parametrize("command", ["train", "evaluate", "export"])
@pytest.mark.parametrize("lost", ["never made", "damaged"])
def test_half_of_the_edits_are_refused(found, command, lost):
    (whole,) = found.edits.files()
    commit_edits(found, half=True)
    Path(whole).unlink() if lost == "never made" else Path(whole).write_bytes(b"PAR1")
    said = (
        "edit has not come to its end: there is more to try of 3 of 6 training images; run `alia-ray edit` first"
    )
    with pytest.raises(StageError, match=f"^{said}$"):
        LATER[command](forget(found))


def test_whole_edits_are_selected_from(found):
    assert len(forget(found).selected()) == 6
    assert forget(found).training_examples(ARMS["alia"])[1].ids.to_pylist() == forget(found).selected()


def test_edits_of_which_too_many_failed_are_refused(found):
    keys = wanted_ids(found)[:9]
    found.edits.correct({key: {"error": "one flat colour", "image": None, "image_bytes": None} for key in keys})
    rows = [{"stage": "edit", "key": key, "reason": "one flat colour", "kind": "model"} for key in keys]
    found.edits.errors("edit").commit(pa.Table.from_pylist(rows, schema=ERRORS))
    with pytest.raises(StageError, match=r"edit: 9 of 12 rows failed, more than run.max_error_rate"):
        pipeline.run_train(forget(found), CLUSTER)


def test_edits_that_were_scored_for_one_half_are_not_trained_on(found, tmp_path):
    other = state(tmp_path, judge={"negatives": ["a photo of noise"]})
    assert other.edits != found.edits
    commit_edits(other, half=True)
    with pytest.raises(StageError, match=r"edit has not come to its end: .* 3 of 6 .*; run `alia-ray edit` first"):
        pipeline.run_train(forget(other), CLUSTER)
    commit_edits(other)
    assert len(forget(other).selected()) == 6


def test_edits_have_the_groups_that_their_images_have_now_where_nothing_is_to_be_judged(found):
    [image_id, *_] = found.edits.read(["image_id"]).column(0).to_pylist()
    found.images.correct({image_id: {"group": "another"}})
    pipeline.run_judge(forget(found), CLUSTER)
    rows = found.edits.read(["image_id", "group"]).to_pylist()
    assert {row["image_id"] for row in rows if row["group"] == "another"} == {image_id}


@pytest.mark.parametrize("lost", ["images", "domains", "edits", "nothing"])
def test_a_report_is_never_refused_and_says_what_is_missing(found, lost, capsys):
    table = {"images": found.images, "domains": found.domains_table(), "edits": found.edits}.get(lost)
    if table is not None:
        Path(table.files()[0]).write_bytes(b"")
    later = forget(found)
    missing = missing_things(later)
    reporting.run_report(later, missing=missing)
    told = {"images": "ingest", "domains": "discover", "edits": "edit", "nothing": "train"}[lost]
    assert any(sentence.endswith(f"run `alia-ray {told}` first") for sentence in missing)
    page = Path(found.folder.file("report.html")).read_text()
    assert all(sentence.split("`")[0] in page for sentence in missing)


@pytest.mark.parametrize("name", [HISTORY, THRESHOLDS, METRICS])
def test_a_result_of_a_classifier_that_says_nothing_is_made_again(found, name, capsys):
    path = found.arm_path(BASE)
    found.folder.write_json({"epochs": []}, *path, HISTORY)
    found.folder.write_json({"classes": ["cat"]}, *path, CLASSIFIER)
    found.folder.write_bytes(b"\x02" + b"\0" * 7 + b"{}", *path, TENSORS)
    test = found.images.read(["image_id", "label", "group", "split"]).filter(pc.field("split") == "test")
    measured = test.drop_columns("split").rename_columns(["id", "label", "group"])
    found.folder.write_parquet(measured, *path, PREDICTIONS)
    found.folder.write_json({"accuracy": 1.0, "worst_group_accuracy": 1.0}, *path, METRICS)
    found.folder.write_json({"cat": 0.5}, *path, THRESHOLDS)
    assert None not in (found.history(BASE), found.measured(BASE), found.thresholds())
    found.folder.write_json({}, *path, name)
    later = forget(found)
    read = {HISTORY: later.history, METRICS: later.measured}.get(name)
    if read is not None:
        assert read(BASE) is None
    else:
        with pytest.raises(StageError, match="the base classifier is not trained yet"):
            later.thresholds()
    assert "does not say all that was written" in capsys.readouterr().err


@pytest.mark.parametrize("gone", [TENSORS, CLASSIFIER])
def test_a_classifier_of_which_a_file_is_gone_is_trained_again(found, gone):
    path = found.arm_path(BASE)
    found.folder.write_json({"epochs": []}, *path, HISTORY)
    found.folder.write_json({"classes": ["cat"]}, *path, CLASSIFIER)
    found.folder.write_bytes(b"\x02" + b"\0" * 7 + b"{}", *path, TENSORS)
    Path(found.folder.file(*path, gone)).unlink()
    assert forget(found).history(BASE) is None
    assert not found.folder.has_file(*path, HISTORY)


@pytest.mark.parametrize("broken", [HISTORY, TENSORS, CLASSIFIER])
def test_a_classifier_that_is_damaged_is_trained_again(found, broken, capsys):
    path = found.arm_path(BASE)
    found.folder.write_json({"epochs": []}, *path, HISTORY)
    found.folder.write_json({"classes": ["cat"]}, *path, CLASSIFIER)
    found.folder.write_bytes(b"\x02" + b"\0" * 7 + b"{}", *path, TENSORS)
    assert found.history(BASE) == {"epochs": []}
    Path(found.folder.file(*path, broken)).write_bytes(b"\0")
    assert forget(found).history(BASE) is None
    assert not found.folder.has_file(*path, HISTORY)
    with pytest.raises(StageError, match="the arm original is not trained yet; run `alia-ray train` first"):
        forget(found).test_examples(BASE)
    assert found.folder.file(*path, broken) in capsys.readouterr().err


def test_a_picture_that_another_split_holds_is_read_by_nobody_even_when_it_comes_back(found, tmp_path):
    twin = {"image_id": "late", "origin": "late.png", "label": "cat", "group": "cat", "width": 4, "height": 4}
    rows = [
        {**twin, "split": "train", "content": "same"},
        {**twin, "image_id": "t", "split": "test", "content": "same"},
    ]
    found.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    later = forget(found)
    assert "late" not in later.ids_of("train")
    assert "t" in later.ids_of("test")
    assert "late" not in later.images.ids()
    assert "late" not in {request["image_id"] for request in requests_in_order(later)}
    assert "late" in set(later.images.stored(["image_id"]).column(0).to_pylist())


@pytest.mark.parametrize("seen", [True, False])
def test_a_training_has_ended_when_this_machine_sees_what_it_left(found, monkeypatch, seen):
    path, waits = found.arm_path(BASE), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seen and len(waits) == 3:
            found.folder.write_json({"epochs": []}, *path, HISTORY)

    monkeypatch.setattr(pipeline, "train_classifiers", lambda *_: None)
    monkeypatch.setattr(patience, "SEEN_WITHIN_S", 60.0 if seen else 0.0)
    monkeypatch.setattr(patience.time, "sleep", sleep)
    if seen:
        pipeline.train_arms([(found, BASE)], CLUSTER)
        assert len(waits) == 3
    else:
        with pytest.raises(
            StageError, match=r"^train: 1 of 1 classifiers that were trained are not to be seen from"
        ):
            pipeline.train_arms([(found, BASE)], CLUSTER)


def test_a_report_that_finds_a_damaged_picture_says_what_is_missing_and_counts_it_so(found):
    [path] = found.edits.files()
    Path(path).unlink()
    commit_edits(found, image=encode(Image.new("RGB", (64, 64), (3, 2, 1))), image_bytes=1, verdict="kept")
    [path] = found.edits.files()
    content = Path(path).read_bytes()
    at = content.index(b"IDAT")
    Path(path).write_bytes(content[:at] + b"X" + content[at + 1 :])
    config = Path(found.folder.path).parent / "run.yaml"
    config.write_text(as_yaml(found.settings))
    result = CliRunner().invoke(app, ["report", str(config)])
    assert result.exit_code == 0, result.stderr
    assert f"{path} is damaged" in result.stderr
    assert "not all is there: there are no edits for the arm alia yet; run `alia-ray edit` first" in result.stderr
    assert json.loads(Path(found.folder.file("metrics.json")).read_text())["edits"] is None
