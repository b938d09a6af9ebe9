"""Bad, odd and good files through `alia-ray run`, laid out in every way that a source can be: nothing is lost.

ALIA_RAY_CORPUS=all takes every layout through it; without it those go that differ most.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from a_run import in_this_ray
from asking import wanted_ids
from corpus.layouts import LAYOUTS, SAMPLES, as_imagefolder, as_saved_to_disk, problem
from in_process import passes_here, trainings_here
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.config import load_config
from alia_ray.config.arms import ARMS
from alia_ray.edits.shapes import frame_of
from alia_ray.images import decode_rgb
from alia_ray.miniature.recipes import DEMO
from alia_ray.state import State

pytestmark = pytest.mark.slow
DIFFERENT = (as_imagefolder, as_saved_to_disk)
"""Files by their folders, and a library's table."""
CHOSEN = LAYOUTS if os.environ.get("ALIA_RAY_CORPUS") == "all" else DIFFERENT
CAPTIONED = as_imagefolder
"""The layout whose pictures are captioned, and whose prompts a language model makes of that."""
BY_ITSELF = as_imagefolder
"""The layout that is run as a person does: in a process with a Ray of its own."""
REFUSED = as_saved_to_disk
"""The layout that is run with too low a limit for errors first."""
SIZE = 48  # of edits, in the demo
BAD = sum(sample.pixels is None for sample in SAMPLES)
CHEAP = [
    "run.address=local",  # whatever other Ray runs here
    "edit.steps=1",
    "judge.filters=[]",  # every edit that was made is trained on
    "train.arms=[original, alia]",
    "train.epochs=1",
    "train.image_size=32",
]
TOO_MANY = re.compile(
    r"error: ingest: \d+ of \d+ rows failed, more than run.max_error_rate=0.05 allows: .*raise run.max_error_rate"
)
SAID = re.compile("(cluster|ingest|caption|discover|train|edit|evaluate|report|run)[ :]")
"""How each line of a run begins."""
GIVEN = "discover.prompts=['a photo of a {} bird in a forest']"


def write(folder: Path, source: dict[str, object]) -> str:
    """The demo, whose models are at hand, with another source."""
    tree = {**yaml.safe_load(Path(DEMO).read_text()), "source": source, "run": {"folder": str(folder / "run")}}
    (folder / "run.yaml").write_text(yaml.safe_dump(tree))
    return str(folder / "run.yaml")


def run(config: str, overrides: Sequence[str]) -> tuple[int, list[str]]:
    """The exit code of `alia-ray run` with the tests' Ray, but for trainings, and what the person reads."""
    with in_this_ray(), trainings_here():
        done = CliRunner().invoke(app, ["run", config, *as_options(overrides)])
    assert done.stdout == ""
    return done.exit_code, done.stderr.splitlines()


def run_by_itself(config: str, overrides: Sequence[str]) -> tuple[int, list[str]]:
    """The same in a process with a Ray of its own, whose noise would be read too."""
    command = [sys.executable, "-m", "alia_ray", "run", config, *as_options(overrides)]
    quiet = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, timeout=500)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def as_options(overrides: Sequence[str]) -> list[str]:
    return [word for each in overrides for word in ("--set", each)]


def read(state: State, table: str) -> list[dict]:
    return pq.read_table(Path(state.settings.run.folder) / table).to_pylist()


def check_files(state: State, origins: list[str]) -> None:
    """Each file is an image of the right pixels, or an error with its reason."""
    images = {row["origin"]: row["image"] for row in read(state, "images")}
    errors = {row["key"]: row["reason"] for row in read(state, "errors") if row["stage"] == "ingest"}
    assert sorted([*images, *errors]) == sorted(origins)  # each once, in one of the two
    assert len(errors) == BAD
    rows = [
        (sample, images.get(origin), errors.get(origin)) for sample, origin in zip(SAMPLES, origins, strict=True)
    ]
    assert not [found for row in rows if (found := problem(*row))]


def check_captions(state: State) -> None:
    """Each training image is captioned, or an error with its reason."""
    captioned = [row["image_id"] for row in read(state, "captions")]
    failed = [row["key"] for row in read(state, "errors") if row["stage"] == "caption"]
    assert sorted([*captioned, *failed]) == state.ids_of("train")
    assert len(failed) < len(captioned)


def check_edits(state: State) -> None:
    """Each training image was edited under each prompt, in its shape, or is an error with its reason."""
    images = {row["image_id"]: row for row in read(state, "images")}
    edits = read(state, "edits")
    assert sorted(row["edit_id"] for row in edits) == sorted(wanted_ids(state))
    assert len(edits) == len(state.ids_of("train")) * state.domains().num_rows
    failed = {row["edit_id"]: row["error"] for row in edits if row["error"] is not None}
    assert failed == {row["key"]: row["reason"] for row in read(state, "errors") if row["stage"] == "edit"}
    for row in edits:
        source = images[row["image_id"]]
        assert (row["image"] is None) == (row["edit_id"] in failed)
        assert row["verdict"] == ("error" if row["edit_id"] in failed else "kept")
        if row["image"] is not None:
            assert decode_rgb(row["image"]).size == frame_of((source["width"], source["height"]), SIZE)
    assert sorted(state.selected()) == sorted(row["edit_id"] for row in edits if row["edit_id"] not in failed)
    assert len(failed) < len(edits) / 10


def check_classifiers(state: State) -> None:
    """Each arm was trained on all that it has, and measured on each test image."""
    originals, added = len(state.ids_of("train")), len(state.selected())
    for name, count in {"original": originals, "alia": originals + added}.items():
        arm = ARMS[name]
        assert state.history(arm)["train_images"] == count
        assert state.measured(arm)["count"] == len(state.ids_of("test"))
        predictions = state.folder.read_parquet(*state.arm_path(arm), "predictions.parquet")
        assert sorted(predictions.column("id").to_pylist()) == state.ids_of("test")


def check_report(state: State) -> None:
    """The report is there, and the metrics count what the tables hold."""
    folder = Path(state.settings.run.folder)
    page, metrics = ((folder / name).read_text() for name in ("report.html", "metrics.json"))
    assert "data:image/webp" in page
    counts = {"Images": len(SAMPLES) - BAD, "Errors": len(read(state, "errors"))}
    assert all(f"<dt>{name}</dt><dd>{count:,}</dd>" in page for name, count in counts.items())
    stages = json.loads(metrics)["stages"]
    assert (stages["ingest"]["rows"], stages["ingest"]["errors"]) == (len(SAMPLES) - BAD, BAD)
    wanted, errors = len(wanted_ids(state)), len(read(state, "errors")) - BAD
    assert stages["edit"]["rows"] == wanted
    assert sum(stage["errors"] for stage in stages.values()) == BAD + errors


def figures(state: State, seconds: float) -> str:
    """What a layout came to, for who runs pytest with -s."""
    made = [f"{len(read(state, table))} {table}" for table in ("images", "edits")]
    failed = Counter(row["stage"] for row in read(state, "errors"))
    lost = [f"{count} errors of {stage}" for stage, count in failed.items()]
    return ", ".join([*made, *lost, f"{seconds:.0f} s"])


@pytest.mark.parametrize("layout", CHOSEN, ids=lambda layout: layout.__name__)
def test_a_run_over_bad_and_odd_files_ends_with_a_report_and_loses_none_of_them(
    ray_cluster, layout, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source, origins = layout(tmp_path / "source")
    config = write(tmp_path, source)
    chosen = [*CHEAP, "discover.max_domains=1" if layout is CAPTIONED else GIVEN]
    if layout is REFUSED:  # it goes on when it is told to
        code, said = run(config, chosen)
        assert code == 1, said
        [error] = [line for line in said if line.startswith("error: ")]
        assert TOO_MANY.fullmatch(error)
    chosen.append("run.max_error_rate=0.5")
    started = time.perf_counter()
    with passes_here():  # but for the run by itself, and for what workers have read before that was refused
        code, said = (run_by_itself if layout is BY_ITSELF else run)(config, chosen)
    seconds = time.perf_counter() - started
    assert code == 0, said
    assert all(SAID.match(line) for line in said), said
    state = State(load_config(config, chosen))
    assert len(SAMPLES) >= 500
    check_files(state, origins)
    if layout is CAPTIONED:
        check_captions(state)
    check_edits(state)
    check_classifiers(state)
    check_report(state)
    print(f"{layout.__name__}: {figures(state, seconds)}")
