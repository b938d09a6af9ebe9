"""Edits that other edits tables hold, on the miniature's models and a classifier of random weights."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Pixels, load_config
from alia_ray.edits.drawing import requests
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import build_classifier, save_classifier
from alia_ray.stages import made_with, trying
from alia_ray.stages.edit import _as_far_as_stored, asked_of, edit, edits_table
from alia_ray.stages.ingest import images_table, ingest
from alia_ray.stages.stored import describe_anew, stored_edits
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import DOMAINS, EDITS, draw_key

pytestmark = pytest.mark.slow
CLUSTER = Cluster(cpus=2, gpus=0)
SNOW, SEA = "a photo of a {} bird in the snow", "a photo of a {} bird by the sea"
MADE = ["edit_id", "image_id", "prompt", "seed", "parameters", "image", "edit_seconds", "node"]
SAME = ["edit_id", "image_id", "label", "group", "verdict", "image", "error"]
ONE = {"edit": {"edits_per_image": 1, "keep_rejected": False}, "judge": {"filters": ["too_similar"]}}

Run = Callable[..., Table]


@pytest.fixture
def run(without_ray: None, tmp_path: Path) -> Run:
    """Tries the edits of eight images under both prompts, scored for a base of some name; gives their table."""

    def try_edits(base: str, *, stage: str = "edit", folder: str = "run", **changes: dict[str, object]) -> Table:
        source = "source={kind: miniature, train: 8, val: 8, test: 8}"
        made_by = [source, "edit.steps=2", "edit.edits_per_image=all", "judge.filters=[]"]
        settings = load_config(DEMO, [f"run.folder={tmp_path / folder}", *made_by])
        for name, values in changes.items():
            section = getattr(settings, name).model_copy(update=values)
            settings = settings.model_copy(update={name: section})
        images, target = images_table(settings), edits_table(settings, base)
        if not images.exists():
            ingest(settings, CLUSTER)
        classes = sorted(set(images.read(["label"]).column(0).to_pylist()))
        if not (tmp_path / "base").exists():
            network = build_classifier("shufflenet_v2_x0_5", "none", len(classes))
            save_classifier(str(tmp_path / "base"), network, classes, "shufflenet_v2_x0_5", Pixels(image_size=48))
        rows = domain_rows([SNOW, SEA], [], settings.discover.prefix, 0)
        domains, thresholds = pa.Table.from_pylist(rows, schema=DOMAINS), dict.fromkeys(classes, 0.126)
        describe_anew(target, images)
        ledger, asked = (
            ledger_of(target.folder),
            asked_of("discovered", settings, images, domains, target, thresholds),
        )
        there = ledger.rows(target, [])
        left = f"SELECT edit_id FROM {requests(ledger, asked)} ANTI JOIN {there} USING (edit_id)"
        edit(settings, asked, str(tmp_path / "base"), CLUSTER, stored_edits(ledger, target, left), stage)
        return target

    return try_edits


def no_editor(*_: object) -> None:
    raise AssertionError("an editor was loaded")


def test_what_another_table_holds_is_scored_and_not_made_again(run, monkeypatch):
    older = run("older")
    monkeypatch.setattr(trying, "editor_of", no_editor)
    target = run("base", stage="judge")
    assert target != older
    assert target.read(MADE).num_rows == 16
    assert target.read(MADE).equals(older.read(MADE))
    assert not target.read(["judge_seconds"]).equals(older.read(["judge_seconds"]))
    stages = {record["stage"] for record in made_with.records(target)}
    assert stages == {"edit", "judge"}  # what they were made with goes along


def test_judging_ends_where_one_would_have_to_be_made_and_editing_takes_what_is_stored(run, monkeypatch):
    alone = run("base", folder="alone", **ONE).read()
    older = run("older")
    tries = sorted(alone.to_pylist(), key=lambda row: draw_key(load_config(DEMO).seed, row["edit_id"]))
    images = [row["image_id"] for row in tries]
    lost = [row["edit_id"] for number, row in enumerate(tries) if row["image_id"] in images[number + 1 :]]
    assert lost  # the first of two tries of an image
    older.discard(set(lost))
    with monkeypatch.context() as patched:
        patched.setattr(trying, "editor_of", no_editor)
        judged = run("base", stage="judge", **ONE).ids()
    target, scored = run("base", **ONE), older.read(["edit_id", "edit_seconds"]).to_pylist()
    assert target.read(SAME).equals(alone.select(SAME))
    seconds = {row["edit_id"]: row["edit_seconds"] for row in target.read().to_pylist()}
    as_made = {row["edit_id"] for row in scored if seconds.get(row["edit_id"]) == row["edit_seconds"]}
    assert as_made == alone_ids(alone) - set(lost)
    assert judged < as_made  # of images whose next edit was lost the others are left to `edit`


def alone_ids(rows: pa.Table) -> set[str]:
    return set(rows.column("edit_id").to_pylist())


def test_edits_have_the_label_and_group_that_their_image_has_now(run):
    older = run("older")
    [row, *_] = older.read(["edit_id", "image_id"]).to_pylist()
    images = Table(older.folder, "images", older.folder.tables("images")[0].fingerprint)
    images.correct({row["image_id"]: {"group": "another"}})
    target = run("base", stage="judge")
    found = {each["image_id"] for each in target.read().to_pylist() if each["group"] == "another"}
    assert found == {row["image_id"]}


@pytest.mark.parametrize("made_in", ["1", "2"])
def test_an_edit_that_failed_once_and_was_made_later_is_scored_as_it_was_made(run, made_in):
    older = run("older")
    [file, *_] = older.files()
    [row, *_] = pq.read_table(file).to_pylist()
    other = "2" if made_in == "1" else "1"
    older.discard({row["edit_id"]})
    failed = {**row, "image": None, "image_bytes": None, "error": "one flat colour", "verdict": "error"}
    for name, each in ((made_in, row), (other, failed)):
        pq.write_table(pa.Table.from_pylist([each], schema=EDITS), f"{older.path}/part-{name}.parquet")
    target = run("base", stage="judge")
    rows = target.stored(["edit_id", "image", "error"])
    [found] = rows.filter(pc.equal(rows["edit_id"], row["edit_id"])).to_pylist()
    assert found == {"edit_id": row["edit_id"], "image": row["image"], "error": None}


def test_a_damaged_file_of_another_table_is_put_aside_and_its_edits_are_made_next_time(run):
    older = run("older")
    [file, *_] = older.files()
    content = Path(file).read_bytes()
    image = pq.read_table(file).column("image")[0].as_py()
    at = content.index(image[200:264])
    Path(file).write_bytes(content[:at] + bytes(64) + content[at + 64 :])
    with pytest.raises(StageError, match="run it again"):
        run("base", stage="judge")
    run("base", stage="judge")
    assert run("base").read(["image"]).num_rows == 16


@pytest.mark.parametrize(
    ("per_image", "expected"), [(1, {"a": "0", "c": "0"}), (None, {"a": "02", "b": "02", "c": "0"})]
)
def test_without_making_one_an_image_comes_as_far_as_its_edits_are_stored(tmp_path, per_image, expected):
    """An image's attempts: + survived, s is stored, ? is to be made."""
    rows = [
        {
            "image_id": image,
            "draw": str(place),
            "survived": sign == "+" or None,
            "path": sign if sign == "s" else None,
        }
        for image, attempts in {"a": "s?s", "b": "+?s", "c": "s?", "d": "+"}.items()
        for place, sign in enumerate(attempts)
    ]
    ledger = ledger_of(RunFolder(str(tmp_path)))
    left = f"SELECT * FROM {ledger.given(pa.Table.from_pylist(rows))}"
    found: dict[str, str] = {}
    for row in ledger.ask(
        f"SELECT * FROM ({_as_far_as_stored(left, per_image)}) ORDER BY image_id, draw"
    ).to_pylist():
        found[row["image_id"]] = found.get(row["image_id"], "") + row["draw"]
    assert found == expected
