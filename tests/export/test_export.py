"""Exports of a run folder made by hand: two classes, every split, edits of which some are dropped."""

import io
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision
import webdataset
from asking import needed_ids
from PIL import Image
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.cluster.joining import available
from alia_ray.config import ConfigError, load_config, parse_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.config.source import ImageFolder, ParquetTable, WebDataset
from alia_ray.edits.requests import OF_IMAGES, plan_edits, requests_of
from alia_ray.errors import StageError
from alia_ray.export.formats import FORMATS
from alia_ray.export.parts import Chosen, _write_part, parts_of
from alia_ray.export.plan import plan_export, write_export
from alia_ray.images import encode
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.sources import list_images, read_images
from alia_ray.state import State
from alia_ray.store.damage import LEASE
from alia_ray.store.tables import EDITS, IMAGES, content_id

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
CLASSES = ("cat", "dog")
AMOUNTS = {"train": 10, "val": 4, "test": 4, "extra": 2}
PROMPTS = ["a photo of a {} by the sea", "a photo of a {} in a wood"]
SOURCES = {
    "imagefolder": lambda path: ImageFolder(kind="imagefolder", path=path),
    "webdataset": lambda path: WebDataset(kind="webdataset", path=path, label_key="label"),
    "parquet": lambda path: ParquetTable(kind="parquet", path=path, group_column="group"),
}


def picture(number: int) -> bytes:
    return encode(Image.new("RGB", (4, 4), (number % 256, number // 256, 7)))


def image_rows() -> list[dict]:
    splits = [split for split, amount in AMOUNTS.items() for _ in range(amount)]
    return [
        {
            "image_id": content_id("image", str(number)),
            "image": picture(number),
            "label": "dog" if number % 2 else "cat",
            "split": split,
            "group": "sea" if number % 3 else "wood",
            "width": 4,
            "height": 4,
            "origin": f"photos/{number}.png",
        }
        for number, split in enumerate(splits)
    ]


@pytest.fixture
def state(tmp_path) -> State:
    """Ten training images, each edited twice; what was made by the sea is dropped as no photo."""
    state = State(
        parse_config(
            {
                "run": {"folder": str(tmp_path / "run")},
                "source": {"kind": "imagefolder", "path": "photos"},
                "discover": {"prompts": PROMPTS},
            }
        )
    )
    images = pa.Table.from_pylist(image_rows(), schema=IMAGES)
    for start in range(0, images.num_rows, 3):  # in many files, as a run commits them
        state.images.commit(images.slice(start, 3))
    domains = domain_rows(PROMPTS, [], state.settings.discover.prefix, 0)
    state.domains_table().commit(pa.Table.from_pylist(domains, schema=state.domains_table().schema))
    state.folder.write_json({"cat": 0.9, "dog": 0.9}, *state.arm_path(BASE), "thresholds.json")
    commit_edits(state)
    return state


def commit_edits(state: State) -> None:
    requests = requests_of(
        state.images.read(list(OF_IMAGES)),
        plan_edits(state.domains(), state.settings.edit, state.settings.run.seed),
    )
    rows = [
        {
            **{name: value for name, value in row.items() if name != "source_image"},
            "image": picture(1000 + number),
            "image_bytes": len(picture(1000 + number)),
            "semantic_text": "a painting" if "sea" in row["prompt"] else "a photo",
            "predicted_label": row["label"],
            "confidence": 0.5,
            "label_probability": 0.5,
            "verdict": "too_similar",  # under filters that are no longer configured
        }
        for number, row in enumerate(requests.to_pylist())
    ]
    failed = [{**row, "image": None, "image_bytes": None, "error": "black"} for row in rows]
    for chunk in (failed[:4], rows[:7], rows[7:]):  # some failed once and were made later
        state.edits.commit(pa.Table.from_pylist(chunk, schema=EDITS))


def export(state: State, out: Path | str, format: str = "parquet", **options: object) -> None:
    write_export(plan_export(state, str(out), format, **options), available("cpu"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_of(folder: Path, split: str) -> list[dict]:
    return pq.read_table(folder / split).to_pylist()


@pytest.mark.parametrize("format", FORMATS)
def test_our_own_source_reads_what_an_arm_trains_on(ray_cluster, state, tmp_path, format):
    export(state, tmp_path / "out", format)
    source = SOURCES[format](str(tmp_path / "out"))
    listing = list_images(source)
    assert Counter(listing["split"].to_pylist()) == {"train": 10 + 10, "val": 4, "test": 4}
    edits, selected = state.edits.read(["edit_id", "label", "image"]).to_pylist(), set(state.selected())
    chosen = [row for row in edits if row["edit_id"] in selected]
    wanted = [row for row in image_rows() if row["split"] != "extra"] + chosen
    found = zip(read_images(source, listing), listing["label"].to_pylist(), strict=True)
    assert sorted(found) == sorted((row["image"], row["label"]) for row in wanted)


def run_snippet(format: str, out: Path) -> SimpleNamespace:
    """What the Python under a format's heading in docs/export.md makes of an export, as it is printed there."""
    section = DOCS.read_text().split(f"\n## {format}\n")[1].split("\n## ")[0]
    code = section.split("```python\n")[1].split("```")[0].replace("000003", "000000").replace("OUT", str(out))
    names = {"torchvision": torchvision, "datasets": datasets, "wds": webdataset}
    exec(code, names)
    return SimpleNamespace(**names)


def as_written(rows: Iterable[tuple[Image.Image, str]]) -> list[tuple[tuple[int, ...], str]]:
    return sorted((image.convert("RGB").getpixel((0, 0)), label) for image, label in rows)


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_the_trainers_that_the_documentation_names_read_an_export(
    ray_cluster, state, tmp_path, monkeypatch, format
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    export(state, out, format)
    made = run_snippet(format, out)
    rows = rows_with_pictures(state)
    if format == "webdataset":
        triples = list(made.triples)
        assert as_written((image, about["label"]) for image, _, about in triples) == as_written(rows)
        assert all(CLASSES[index] == about["label"] for _, index, about in triples)
    else:
        train = made.data["train"]
        assert as_written((row["image"], row["label"]) for row in train) == as_written(rows)
        assert {row["prompt"] for row in train} == {None, *(f"a photo of a {name} in a wood" for name in CLASSES)}
    if format == "imagefolder":
        names = made.pairs.classes
        assert as_written((image, names[label]) for image, label in made.pairs) == as_written(rows)


def rows_with_pictures(state: State) -> list[tuple[Image.Image, str]]:
    """Picture and label of all that the arm `alia` trains on."""
    edits, selected = state.edits.read(["edit_id", "label", "image"]).to_pylist(), set(state.selected())
    rows = [row for row in image_rows() if row["split"] == "train"]
    rows += [row for row in edits if row["edit_id"] in selected]
    return [(Image.open(io.BytesIO(row["image"])), row["label"]) for row in rows]


def test_an_edit_says_what_it_was_made_from_and_an_original_where_it_came_from(ray_cluster, state, tmp_path):
    export(state, tmp_path / "out")
    rows = rows_of(tmp_path / "out", "train")
    edits, originals = ([row for row in rows if bool(row["edit_id"]) == is_edit] for is_edit in (True, False))
    assert sorted(row["edit_id"] for row in edits) == state.selected()
    assert {row["image_id"] for row in edits} == {row["image_id"] for row in originals}
    assert {(row["verdict"], row["semantic_text"], row["origin"]) for row in edits} == {("kept", "a photo", None)}
    assert all(row["prompt"].endswith("in a wood") and row["parameters"] and row["seed"] for row in edits)
    assert all(row["origin"] and row["prompt"] is None and row["verdict"] is None for row in originals)


def test_an_unfiltered_arm_exports_more_and_the_original_no_edit(ray_cluster, state, tmp_path):
    every = State(
        state.settings.model_copy(
            update={"select": state.settings.select.model_copy(update={"edits_per_image": "all"})}
        )
    )
    export(every, tmp_path / "all", arm="alia_unfiltered")
    assert len(rows_of(tmp_path / "all", "train")) == 10 + 20
    export(state, tmp_path / "original", arm="original")
    assert len(rows_of(tmp_path / "original", "train")) == 10


def test_an_arm_that_is_not_configured_is_exported_whole_or_not_at_all(state, tmp_path):
    edit = state.settings.edit.model_copy(update={"edits_per_image": None})
    quick = State(state.settings.model_copy(update={"edit": edit}))
    quick.edits.discard(quick.edits.ids() - needed_ids(quick))  # as `edit` leaves it
    assert len(quick.selected()) == 10
    for arm in ("alia_unfiltered", "alia_too_similar"):
        missing = (
            rf"not come to its end: .*run `alia-ray edit` first with --set 'train.arms=\[original, alia, {arm}"
        )
        with pytest.raises(StageError, match=missing):
            plan_export(quick, str(tmp_path / "out"), "parquet", arm, added_only=True)


def test_only_what_an_arm_adds(ray_cluster, state, tmp_path):
    export(state, tmp_path / "edits", added_only=True)
    assert sorted(row["edit_id"] for row in rows_of(tmp_path / "edits", "train")) == state.selected()
    assert sorted(p.name for p in (tmp_path / "edits").iterdir()) == ["export.json", "train"]
    export(state, f"file://{tmp_path}/real", arm="real_data", added_only=True)
    wanted = {row["origin"] for row in image_rows() if row["split"] == "extra"}
    assert {row["origin"] for row in rows_of(tmp_path / "real", "train")} == wanted


def test_exporting_the_test_split_does_not_open_it_to_training(ray_cluster, state, tmp_path):
    export(state, tmp_path / "out")
    assert len(rows_of(tmp_path / "out", "test")) == AMOUNTS["test"]
    with pytest.raises(StageError, match="not trained yet"):
        state.test_examples(ARMS["alia"])


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_was_killed_is_finished_and_is_then_the_same(ray_cluster, state, tmp_path, format):
    export(state, tmp_path / "whole", format)
    planned = plan_export(state, str(tmp_path / "out"), format)
    write_export(planned, available("cpu"))
    for path in (tmp_path / "out" / "val").rglob("*.*"):
        path.unlink()
    planned.out.write_json(planned.about, "export.json")  # not finished
    (tmp_path / "out" / ".export.json.0.tmp").touch()
    export(state, tmp_path / "out", format)
    (tmp_path / "out" / ".export.json.0.tmp").unlink()
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_an_export_repeats_no_part_that_is_whole(ray_cluster, state, tmp_path):
    out = tmp_path / "out"
    planned = plan_export(state, str(out), "webdataset")
    write_export(planned, available("cpu"))
    before = {path: os.stat(path).st_mtime_ns for path in out.rglob("*.tar")}
    (out / "test" / "test-000000.tar").unlink()
    planned.out.write_json(planned.about, "export.json")
    export(state, out, "webdataset")
    again = [p for p, time in before.items() if os.stat(p).st_mtime_ns != time]
    assert [path.name for path in again] == ["test-000000.tar"]


@pytest.mark.parametrize("lost", [Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("format", FORMATS)
def test_what_a_finished_export_has_lost_since_is_written_again(ray_cluster, state, tmp_path, format, lost):
    out = tmp_path / "out"
    export(state, out, format)
    before = files(out)
    lost(next(path for path in sorted((out / "val").rglob("*.*")) if path.is_file()))
    assert files(out) != before
    export(state, out, format)
    assert files(out) == before


# -------------------------------------------------------------------- refusals; nothing below starts Ray


@pytest.mark.parametrize("another_works_there", [True, False])
def test_a_worker_moves_no_damaged_pictures_under_the_command_that_has_the_folder(
    state, tmp_path, another_works_there
):
    planned = plan_export(state, str(tmp_path / "out"), "parquet")
    first = next(part for part in planned.parts if part.split == "train")
    path = Path(first.pieces[0].table)
    content = path.read_bytes()
    at = content.index(b"IHDR")
    path.write_bytes(content[:at] + b"ihdr" + content[at + 4 :])
    if another_works_there:
        state.folder.write_json({"id": "theirs"}, LEASE)
    said = "left to the command that works there" if another_works_there else "put aside"
    with pytest.raises(StageError, match=f"{path.name} .*{said}"):
        _write_part(replace(planned, parts=(first,)))
    assert path.exists() == another_works_there


def test_a_damaged_note_of_an_export_is_refused_and_stays(state, tmp_path):
    (tmp_path / "out").mkdir()
    note = tmp_path / "out" / "export.json"
    note.write_text("{")
    with pytest.raises(ConfigError, match=r"holds a damaged .*; name another folder, or delete it"):
        plan_export(state, str(tmp_path / "out"), "imagefolder")
    assert note.read_text() == "{"


def test_a_folder_with_something_else_in_it_is_refused(state, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else; name a new or an empty folder"):
        plan_export(state, str(tmp_path), "parquet")
    with pytest.raises(ConfigError, match=r"notes\.txt is a file; name a folder"):
        plan_export(state, str(tmp_path / "notes.txt"), "parquet")
    with pytest.raises(ConfigError, match=r"OUT: there is no way to open nowhere://; give a path, or one of"):
        plan_export(state, "nowhere://x", "parquet")


def test_out_is_taken_from_the_folder_of_the_command_and_on_a_cluster_must_be_absolute(
    state, tmp_path, monkeypatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert plan_export(state, "out", "parquet").out.path == f"{tmp_path}/out"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert plan_export(state, f"{tmp_path}/out", "parquet").out.path == f"{tmp_path}/out"
    with pytest.raises(ConfigError, match=r"OUT: out is relative .* absolute path on storage that all nodes"):
        plan_export(state, "out", "parquet")


@pytest.mark.parametrize("options", [{"format": "webdataset"}, {"arm": "original"}, {"added_only": True}])
def test_another_export_is_not_written_over(state, tmp_path, options):
    planned = plan_export(state, str(tmp_path / "out"), "parquet")
    planned.out.write_json(planned.about, "export.json")
    assert plan_export(state, str(tmp_path / "out"), "parquet") == planned
    with pytest.raises(ConfigError, match="holds another export"):
        plan_export(state, str(tmp_path / "out"), **{"format": "parquet", **options})


def test_an_export_of_labels_or_groups_that_were_corrected_since_is_another_one(state, tmp_path):
    """Whose files are called as before, so that a killed export would have been finished with both."""
    planned = plan_export(state, str(tmp_path / "out"), "parquet")
    older = {key: value for key, value in planned.about.items() if key != "described"}
    for about in (planned.about, older):  # as releases left them that did not look
        planned.out.write_json(about, "export.json")
        assert plan_export(state, str(tmp_path / "out"), "parquet") == planned
    planned.out.write_json(planned.about, "export.json")
    rows = state.images.read(["image_id", "split", "label"]).to_pylist()
    cat = next(row["image_id"] for row in rows if (row["split"], row["label"]) == ("test", "cat"))
    for correction in ({"label": "dog"}, {"group": "lake"}):
        before = state.images.read(["image_id", *correction]).to_pylist()
        state.images.correct({cat: correction})
        with pytest.raises(ConfigError, match="other edits, labels or settings"):
            plan_export(state, str(tmp_path / "out"), "parquet")
        state.images.correct({row.pop("image_id"): row for row in before})
    assert plan_export(state, str(tmp_path / "out"), "parquet") == planned


def test_arms_that_have_nothing_to_add_are_refused(state, tmp_path):
    with pytest.raises(ConfigError, match="--added-only: the arm original adds no image"):
        plan_export(state, str(tmp_path / "out"), "parquet", arm="original", added_only=True)
    with pytest.raises(ConfigError, match=r"--arm: there is no arm 'alias'; did you mean alia\? There are "):
        plan_export(state, str(tmp_path / "out"), "parquet", arm="alias")
    judge = state.settings.judge.model_copy(update={"positives": ["a film still"]})
    other = State(state.settings.model_copy(update={"judge": judge}))
    other.folder.write_json({"cat": 0.9, "dog": 0.9}, *other.arm_path(BASE), "thresholds.json")
    with pytest.raises(StageError, match="there are no edits for the arm alia yet; run `alia-ray edit` first"):
        plan_export(other, str(tmp_path / "out"), "parquet")
    for path in state.edits.files():
        Path(path).unlink()
    with pytest.raises(StageError, match="there are no edits for the arm alia yet"):
        plan_export(State(other.settings), str(tmp_path / "out"), "parquet")
    commit_edits(other)
    with pytest.raises(StageError, match="no edit survived the filters of alia"):
        plan_export(other, str(tmp_path / "out"), "parquet")


def test_the_command_refuses_with_exit_code_2_and_asks_for_what_is_missing_with_1(tmp_path):
    options = ["--arm", "original", "--set", f"run.folder={tmp_path}/run"]
    command = ["export", str(DEMO), str(tmp_path / "out"), *options]
    assert CliRunner().invoke(app, command).exit_code == 1
    images = State(load_config(DEMO, [f"run.folder={tmp_path}/run"])).images
    images.commit(pa.Table.from_pylist(image_rows(), schema=IMAGES))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert CliRunner().invoke(app, command).exit_code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_parts_hold_every_image_once_and_are_no_larger_than_asked(state, size):
    training = state.training_examples(ARMS["alia"])
    parts = parts_of(
        "train", list(map(Chosen, (state.images, state.edits), (part.ids for part in training))), size
    )
    ids = [key for part in parts for piece in part.pieces for key in piece.ids.to_pylist()]
    assert sorted(ids) == sorted(key for examples in training for key in examples.ids.to_pylist())
    assert [sum(len(piece.ids) for piece in part.pieces) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert [part.number for part in parts] == list(range(-(-20 // size)))
    assert all(Path(piece.table).is_file() for part in parts for piece in part.pieces)
