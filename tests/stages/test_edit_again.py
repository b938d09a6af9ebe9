"""Edits over several runs, on the miniature's models."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Pixels, load_config
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import build_classifier, save_classifier
from alia_ray.stages import trying as stage
from alia_ray.stages.edit import asked_of, edit, edits_table
from alia_ray.stages.ingest import ingest
from alia_ray.stages.stored import stored_edits
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import DOMAINS

pytestmark = pytest.mark.slow
CLUSTER = Cluster(cpus=2, gpus=0)
SNOW, SEA = "a photo of a {} bird in the snow", "a photo of a {} bird by the sea"


@pytest.fixture
def editing(without_ray, tmp_path: Path) -> tuple[Table, Callable[..., None]]:
    """The edits table of eight images, and what edits them under some prompts, with changes of sections."""
    source = "source={kind: miniature, train: 8, val: 8, test: 8}"
    changed = [source, "edit.steps=2", "edit.edits_per_image=all", "judge.filters=[]"]
    config = load_config(DEMO, [f"run.folder={tmp_path}/run", *changed])
    images = ingest(config, CLUSTER)
    classes = sorted(set(images.read(["label"]).column(0).to_pylist()))
    network = build_classifier("shufflenet_v2_x0_5", "none", len(classes))
    save_classifier(str(tmp_path / "base"), network, classes, "shufflenet_v2_x0_5", Pixels(image_size=48))
    target = edits_table(config, "base")

    def run(*prompts: str, **changes: dict[str, object]) -> None:
        sections = {name: getattr(config, name).model_copy(update=values) for name, values in changes.items()}
        settings = config.model_copy(update=sections)
        rows = domain_rows(list(prompts), [], config.discover.prefix, 0)
        domains = pa.Table.from_pylist(rows, schema=DOMAINS)
        asked = asked_of("discovered", settings, images, domains, target, dict.fromkeys(classes, 0.5))
        nothing = stored_edits(ledger_of(target.folder), target, "SELECT NULL AS edit_id")
        edit(settings, asked, str(tmp_path / "base"), CLUSTER, nothing)

    return target, run


def test_edits_that_failed_are_refused_again_and_made_once_when_asked(editing, monkeypatch):
    target, run = editing
    with monkeypatch.context() as patched:
        patched.setattr(stage, "_error", lambda image: "the edit is one flat colour")
        for _ in range(2):
            with pytest.raises(StageError, match=r"8 of 8 rows failed.*8 × the edit is one flat colour"):
                run(SNOW)
    with pytest.raises(StageError, match="8 of 8 rows failed"):
        run(SNOW)  # an edit that came out as nothing would again
    run(SNOW, run={"retry_errors": True})
    assert target.stored(["error"]).column(0).to_pylist() == [None] * 8
    assert target.errors("edit").ids() == set()
    run(SNOW)


def test_a_looser_filter_takes_no_row_from_a_stricter_one(editing):
    """Of an image whose second prompt was accepted the first is made again; the second, and what is said, stay."""
    target, run = editing
    strict = {"filters": ["too_similar"]}
    run(SNOW, SEA, edit={"edits_per_image": 1, "keep_rejected": False}, judge=strict)
    before = {row["edit_id"]: row for row in target.read().to_pylist()}
    rejected = [key for key, row in before.items() if row["image"] is None]
    run(SNOW, SEA, edit={"edits_per_image": 1}, judge={"filters": []})
    after = {row["edit_id"]: row for row in target.read().to_pylist()}
    assert rejected
    assert after.keys() == before.keys()
    for key, row in before.items():
        assert {**after[key], "image": None, "image_bytes": None} == {**row, "image": None, "image_bytes": None}
    assert any(after[key]["image"] is not None for key in rejected)


def test_pictures_that_were_not_kept_are_made_where_they_are_asked_for(editing):
    target, run = editing
    strict = {"filters": ["too_similar"]}
    run(SNOW, edit={"keep_rejected": False}, judge=strict)
    bare = target.read(["image"]).column(0).null_count
    run(SNOW, edit={"keep_rejected": True}, judge=strict)
    assert 0 < bare < 8
    assert target.stored(["image"]).num_rows == 8
    assert target.read(["image"]).column(0).null_count == 0


def test_failures_of_edits_that_are_not_needed_do_not_count(editing, monkeypatch):
    target, run = editing
    run(SNOW, SEA, edit={"edits_per_image": 1})
    needed = target.ids()
    with monkeypatch.context() as patched:
        patched.setattr(stage, "_error", lambda image: "the edit is one flat colour")
        with pytest.raises(StageError, match="rows failed"):
            run(SNOW, SEA)
    assert target.ids() > needed
    run(SNOW, SEA, edit={"edits_per_image": 1})


def test_of_what_other_settings_made_only_what_is_needed_was_there_from_before(editing, capsys):
    target, run = editing
    run(SNOW)
    assert capsys.readouterr().err.splitlines()[-1].startswith("edit: 8 edits in ")
    run(SNOW, SEA, edit={"edits_per_image": 1})
    made = len(target.ids()) - 8  # of the images whose first prompt is the sea, and which needed no snow
    assert 0 < made < 8
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"edit: {made} edit")
    assert f"; {8 - made} w" in said
