"""`alia-ray errors`, over tables as stages leave them."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from test_cli import write
from typer.testing import CliRunner, Result

from alia_ray.cli import app
from alia_ray.config import load_config
from alia_ray.stages.caption import captions_table
from alia_ray.stages.ingest import images_table
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import ERRORS, IMAGES

SILENT = "the captioner said nothing"


def fail(table: Table, stage: str, *rows: tuple[str, str, str]) -> None:
    """Leave errors (key, reason, kind) of a stage."""
    found = [{"stage": stage, "key": key, "reason": reason, "kind": kind} for key, reason, kind in rows]
    table.errors(stage).commit(pa.Table.from_pylist(found, schema=ERRORS))


@pytest.fixture
def config(tmp_path) -> str:
    """A configuration under which four rows failed, and in whose folder one failed under another."""
    path = write(tmp_path)
    settings = load_config(path)
    fail(
        images_table(settings),
        "ingest",
        ("photos/a.jpg", "cannot be decoded: the file is empty", "decode"),
        ("photos/b.jpg", "cannot be decoded: the file is empty", "decode"),
        ("photos/c.jpg", "the same picture as 'photos/d.jpg' in the split test", "twin"),
    )
    rows = [{"image_id": each, "label": "cat", "split": "train", "origin": each} for each in ("id1", "id2")]
    images_table(settings).commit(pa.Table.from_pylist(rows, schema=IMAGES))
    fail(captions_table(settings), "caption", ("id1", SILENT, "model"))
    fail(captions_table(load_config(path, ["caption.max_new_tokens=7"])), "caption", ("id2", SILENT, "model"))
    return path


def listed(*words: str) -> Result:
    return CliRunner().invoke(app, ["errors", *words])


def test_errors_are_told_by_stage_and_reason_with_an_example(config):
    result = listed(config)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "ingest: 3 rows",
        "     2 × cannot be decoded: the file is empty",
        "         such as 'photos/a.jpg'",
        "     1 × the same picture as 'photos/d.jpg' in the split test  (left out, and no failure)",
        "         such as 'photos/c.jpg'",
        "caption: 1 row",
        f"     1 × {SILENT}",
        "         such as 'id1'",
    ]


def test_of_a_run_folder_all_errors_are_told_and_of_a_configuration_its_own(config, tmp_path):
    chosen = ("--stage", "caption", "--all", "--format", "csv")
    keys = [
        [row["key"] for row in csv.DictReader(io.StringIO(listed(place, *chosen).stdout))]
        for place in (str(tmp_path / "run"), config)
    ]
    assert keys == [["id1", "id2"], ["id1"]]


def test_errors_are_handed_on_as_json(config):
    first, *_ = json.loads(listed(config, "--format", "json").stdout)
    assert (first["stage"], first["rows"], first["example"]) == ("ingest", 2, "photos/a.jpg")
    assert len(json.loads(listed(config, "--format", "json", "--all").stdout)) == 4


def test_a_run_without_errors_is_said_to_have_none(tmp_path):
    path = write(tmp_path)
    assert listed(path).stdout == "no row has failed\n"
    assert not Path(tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("nowhere",), ("nowhere.yaml",), ("nowhere", "--set", "run.seed=1")])
def test_errors_of_no_run_are_a_sentence_and_exit_code_2(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = listed(*words)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
