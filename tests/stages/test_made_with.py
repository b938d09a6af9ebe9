"""What rows were made with, and that a person hears where that is not all the same."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
import safetensors.torch
import torch

from alia_ray import pipeline, reporting
from alia_ray.cluster.devices import LOGICAL_GPUS
from alia_ray.cluster.placement import Cluster, Placement
from alia_ray.config import Caption, Config, Edit, Model, Run, parse_config
from alia_ray.config.arms import BASE
from alia_ray.errors import StageError
from alia_ray.stages import made_with
from alia_ray.stages.answered import left_to_do
from alia_ray.stages.caption import captions_table
from alia_ray.stages.streaming import Pass, run_pass
from alia_ray.state import State
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import CAPTIONS, IMAGES
from alia_ray.training.checkpoints import save_checkpoint

IDS = [f"id{n}" for n in range(10)]


class Captioner:
    """Captions a row with its id, and loads nothing of the model that its settings name."""

    def __init__(self, settings: Caption) -> None:
        self.settings = settings

    def __call__(self, rows: pa.Table) -> pa.Table:
        ids = rows.column("image_id")
        errors = pa.nulls(rows.num_rows, pa.string())
        return pa.table([ids, ids, errors], schema=pa.schema([*CAPTIONS, pa.field("error", pa.string())]))


@pytest.fixture
def installed(monkeypatch) -> dict[str, str]:
    """The versions of this machine, which a test may change."""
    versions = {"torch": "2.12", "transformers": "5.0"}
    monkeypatch.setattr(made_with, "installed", lambda package: f"{package} {versions.get(package, '1.0')}")
    monkeypatch.setattr(made_with, "_told", set())
    return versions


def caption(folder: Path, count: int, model: str = "random:blip-large") -> Table:
    """Caption the first `count` rows."""
    target = RunFolder(str(folder)).table("captions", "f")
    ledger = ledger_of(target.folder)
    asked = f"SELECT key FROM {ledger.keep('asked', pa.table({'key': IDS[:count]}))}"
    todo = ledger.keep("left", left_to_do(asked, target, "caption", "image_id", False))
    job = Pass(
        stage="caption",
        rows=f"SELECT key AS image_id FROM {todo} ORDER BY key",
        todo=ledger.number(f"SELECT count(*) FROM {todo}"),
        worker=Captioner,
        worker_args=(Caption(model=Model(name=model)),),
        target=target,
        key="image_id",
        wanted=asked,
        batch_size=2,
        run=Run(folder=str(folder)),
    )
    run_pass(job, Placement(1, 1.0, 0.0))
    return target


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "made with" in line or "differ" in line]


def test_a_table_says_what_its_rows_were_made_with(without_ray, tmp_path, installed):
    table = caption(tmp_path, 10)
    [record] = made_with.records(table)
    assert record == {
        "stage": "caption",
        "alia-ray": "alia-ray 1.0",
        "torch": "torch 2.12",
        "transformers": "transformers 5.0",
        "pillow": "pillow 1.0",
        "device": "a CPU",
        "random:blip-large::auto": "random:blip-large (random weights, float32)",
    }
    assert table.read().num_rows == 10


def test_a_simulated_model_is_made_with_no_device(installed):
    record = made_with.record("caption", [Caption(model=Model(name="simulated:latency=1"))])
    assert "device" not in record
    assert any(made.startswith("simulated:latency=1 (") for made in record.values())


def test_a_resume_with_other_libraries_is_told_in_one_line_and_once(without_ray, tmp_path, installed, capsys):
    caption(tmp_path, 4)
    caption(tmp_path, 6)
    assert told(capsys) == []
    installed["torch"] = "2.13"
    caption(tmp_path, 8)
    line = "the captions that are there (6) were made with torch 2.12; those to come with torch 2.13"
    assert told(capsys) == [f"caption: {line}"]
    table = caption(tmp_path, 9)
    assert told(capsys) == []
    made_with._told.clear()  # another run
    caption(tmp_path, 10)
    assert told(capsys) == [f"caption: some of {line.replace('(6)', '(9)')}"]
    assert len(made_with.records(table)) == 2


def test_nothing_is_said_of_a_table_of_a_release_without_records(without_ray, tmp_path, installed, capsys):
    table = caption(tmp_path, 4)
    for path in Path(table.path).glob("_made_with-*"):
        path.unlink()
    installed["torch"] = "2.13"
    caption(tmp_path, 10)
    assert told(capsys) == []


def test_a_model_whose_files_have_changed_under_their_name_is_told(without_ray, tmp_path, installed, capsys):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(100))
    caption(tmp_path, 4, str(model))
    (model / "README.md").write_text("nothing that is loaded")
    caption(tmp_path, 6, str(model))
    assert told(capsys) == []
    (model / "model.safetensors").write_bytes(bytes(99) + b"x")
    caption(tmp_path, 8, str(model))
    [line] = told(capsys)
    assert line.count(str(model)) == 2
    assert line.count("files ") == 2


def test_another_model_is_no_difference_since_names_cover_it(without_ray, tmp_path, installed, capsys):
    caption(tmp_path, 4)
    caption(tmp_path, 8, "miniature:captioner")
    assert told(capsys) == []


def test_compiled_kernels_are_told_since_they_round_otherwise(installed):
    plain, compiled = (made_with.record("edit", [Edit(compile=each)]) for each in (False, True))
    assert made_with.difference(compiled, [plain]) == ("torch 2.12", "torch 2.12, compiled")


def test_workers_that_differ_are_told(tmp_path, installed, capsys):
    table = RunFolder(str(tmp_path)).table("captions", "f")
    now = [made_with.record("caption")]
    made_with.tell(table, now, [], 0)
    installed["torch"] = "2.13"
    made_with.tell(table, [*now, made_with.record("caption")], [], 0)
    assert told(capsys) == ["caption: its workers differ: some have torch 2.12, others torch 2.13"]


def test_what_pictures_were_made_with_goes_on_with_them_to_the_table_that_judges_them_again(tmp_path, installed):
    folder = RunFolder(str(tmp_path))
    older, target = folder.table("edits", "a"), folder.table("edits", "b")
    made_with.keep(older, made_with.record("edit"))
    made_with.take_over(target, older)
    assert made_with.records(target) == made_with.records(older) != []


# -------------------------------------------------------------------- classifiers, and the report


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The trainings that were begun; they do nothing."""
    found: list[str] = []
    monkeypatch.setattr(pipeline, "train_classifiers", lambda jobs, *_: found.extend(job.name for job in jobs))
    monkeypatch.setattr(pipeline, "still_unseen", lambda look: [])
    return found


def state(folder: Path, caption: dict[str, object] | None = None, **train: object) -> State:
    sections = {"run": {"folder": str(folder)}, "source": {"kind": "imagefolder", "path": "photos"}}
    settings: Config = parse_config({**sections, "train": train, "caption": caption or {}})
    found = State(settings)
    rows = [{"image_id": key, "label": "cat", "split": split} for key, split in {"a": "train", "b": "val"}.items()]
    found.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    return found


def test_a_training_that_goes_on_with_other_libraries_or_weights_is_told(tmp_path, installed, trained, capsys):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"old")
    run = state(tmp_path / "run", weights=str(weights))
    cluster = Cluster(cpus=1, gpus=0)
    pipeline.train_arms([(run, BASE)], cluster)
    save_checkpoint(run.arm_folder(BASE), {"model.a": torch.ones(1)}, {"history": [{"epoch": 1, "a": 1}]}, "a")
    (weights / "metrics.json").write_text("{}")  # of the run that it belongs to
    pipeline.train_arms([(run, BASE)], cluster)
    assert "begun with" not in capsys.readouterr().err
    (weights / "model.safetensors").write_bytes(b"new")
    installed["torch"] = "2.13"
    pipeline.train_arms([(run, BASE)], cluster)
    [line] = [line for line in capsys.readouterr().err.splitlines() if "begun with" in line]
    assert line.startswith("train: original, seed 0: begun with torch 2.12 and ")
    assert "goes on with torch 2.13 and " in line
    assert len(trained) == 3


def test_a_training_that_begins_anew_has_nothing_of_what_it_was_begun_with(tmp_path, installed, trained, capsys):
    run = state(tmp_path)
    pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))
    installed["torch"] = "2.13"
    pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))
    assert "begun with" not in capsys.readouterr().err
    assert [record["torch"] for record in made_with.records(run.arm_folder(BASE))] == ["torch 2.13"]


def test_gpus_that_are_only_counted_are_not_what_a_classifier_was_trained_on(installed, monkeypatch):
    assert made_with.record_of_training("none", on_gpu=True)["device"] == "GPUs"
    monkeypatch.setenv(LOGICAL_GPUS, "1")
    assert made_with.record_of_training("none", on_gpu=True)["device"] == "CPUs"


def test_the_report_says_what_everything_was_made_with(tmp_path, installed, trained):
    run = state(tmp_path)
    made_with.keep(run.images, made_with.record("ingest"))
    pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))
    save_checkpoint(run.arm_folder(BASE), {"model.a": torch.ones(1)}, {"history": [{"epoch": 1, "a": 1}]}, "a")
    installed["torch"] = "2.13"
    pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))
    reporting.run_report(run)
    page = (tmp_path / "report.html").read_text()
    for line in ("ingest: alia-ray 1.0, pillow 1.0", "train: alia-ray 1.0, torch 2.12,", "torch 2.13,"):
        assert line in page


def test_what_is_complete_and_was_made_from_other_files_of_the_same_name_is_told_once(
    tmp_path, installed, trained, monkeypatch, capsys
):
    for check in ("listing_of", "check_fits", "doubtful_things"):  # there is no source
        monkeypatch.setattr(pipeline, check, lambda *_: ())
    weights, captioner = tmp_path / "weights", tmp_path / "blip"
    for folder, file in ((weights, "model.safetensors"), (captioner, "config.json")):
        folder.mkdir()
        (folder / file).write_bytes(b"old")
    run = state(tmp_path / "run", weights=str(weights), caption={"model": {"name": str(captioner)}})
    pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))
    captions = captions_table(run.settings)
    captions.commit(pa.table({"image_id": ["a"], "caption": ["a cat"]}))
    made_with.keep(captions, made_with.record("caption", [run.settings.caption]))

    def told_now(*commands: Callable[[], None]) -> list[str]:
        for command in commands:
            command()
        return [line for line in capsys.readouterr().err.splitlines() if "other files lie now" in line]

    def begin() -> None:
        pipeline.begin(run.settings, run, Cluster(cpus=1, gpus=0))

    def report() -> None:
        reporting.run_report(run)

    def evaluate() -> None:
        with suppress(StageError):  # there is nothing to measure
            pipeline.run_evaluate(run, Cluster(cpus=1, gpus=0))

    def train() -> None:
        pipeline.train_arms([(run, BASE)], Cluster(cpus=1, gpus=0))

    run.arm_folder(BASE).write_json({"epochs": [], "train_images": 1}, "history.json")  # it is finished
    run.arm_folder(BASE).write_json({"classes": ["cat"]}, "classifier.json")
    run.arm_folder(BASE).write_bytes(safetensors.torch.save({}), "model.safetensors")
    assert told_now(begin, train, evaluate, report) == []
    shutil.move(weights, tmp_path / "gone")
    assert told_now(begin, evaluate, report) == []
    shutil.move(tmp_path / "gone", weights)
    (weights / "model.safetensors").write_bytes(b"new")
    (captioner / "config.json").write_bytes(b"new")
    for command in (begin, evaluate, report):
        lines = told_now(command, command)
        assert [line.split(": ")[0] for line in lines] == ["captions", "train"]
        assert f"made with {captioner} (files " in lines[0]
        assert f"made with {weights} (files " in lines[1]
        made_with._told.clear()  # another process
    made_with.keep(
        captions, made_with.record("caption", [run.settings.caption])
    )  # some were made with the new ones
    assert [line.split(": ")[0] for line in told_now(train, report)] == ["train"]
    assert len(trained) == 1
