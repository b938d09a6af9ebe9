"""A run from Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest
from a_run import small
from test_state import fill, state

import alia_ray
from alia_ray.config import ConfigError, as_yaml
from alia_ray.config.arms import ARMS
from alia_ray.errors import StageError
from alia_ray.loaded import settings_of
from alia_ray.state import State


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory) -> Path:
    """The finished run in another place than where it was made, and than its configuration says."""
    place = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(finished, place)
    (place / "config.yaml").write_text(as_yaml(small(Path("/nowhere"))))
    return place


@pytest.fixture(scope="module")
def run(copy) -> alia_ray.LoadedRun:
    return alia_ray.load(copy)


def content(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_one_override_may_be_given_as_a_text():
    tree = {"run": {"folder": "x"}, "source": {"kind": "miniature"}}
    assert settings_of(tree, "edit.steps=2") == settings_of(tree, ["edit.steps=2"])
    assert settings_of(tree, "edit.steps=2").edit.steps == 2


def test_importing_the_package_is_light_and_shows_what_it_has():
    code = (
        "import sys, alia_ray; assert {'load', 'run', '__version__'} <= set(dir(alia_ray)); "
        "print(alia_ray.__version__, sorted({'torch', 'ray', 'pyarrow', 'pydantic'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split(maxsplit=1)[1] == "[]\n"
    with pytest.raises(AttributeError, match="lod"):
        alia_ray.lod  # noqa: B018


def test_a_run_folder_is_read_where_it_lies(run, copy, finished):
    there = State(small(finished))
    assert run.folder == str(copy)
    assert run.images().num_rows == 64
    assert run.captions().num_rows == 32
    assert run.domains().to_pylist() == there.domains().to_pylist()
    assert run.selected("alia") == there.selected()
    assert run.thresholds == there.thresholds()
    assert run.metrics["alia"] == there.measured(ARMS["alia"])
    assert run.classes == there.classes
    assert run.errors().schema.names == ["stage", "key", "reason", "kind", "twin_of"]


def test_tables_come_without_pictures_and_with_the_columns_that_are_asked_for(run):
    assert "image" not in {*run.images().column_names, *run.edits().column_names}
    assert run.edits(columns=["verdict", "edit_id"]).column_names == ["verdict", "edit_id"]
    with pytest.raises(ConfigError, match=r"columns: there is no picture; there are image_id, image, width"):
        run.images(["picture"])


def test_verdicts_are_given_under_any_filters_and_the_run_stays_as_it_is(run, copy):
    before = content(copy)
    configured, none = run.edits(), run.edits(filters=[])
    assert set(configured["verdict"].to_pylist()) == {"kept", "too_similar"}
    assert set(none["verdict"].to_pylist()) == {"kept"}
    assert configured.drop_columns("verdict").equals(none.drop_columns("verdict"))
    strict = run.edits(filters=["mislabelled"], rule="top_k")
    ranks = strict.filter(pc.equal(strict["verdict"], "mislabelled"))["label_rank"].to_pylist()
    assert all(rank > run.settings.judge.top_k for rank in ranks)
    assert len(run.selected(filters=[])) >= len(run.selected())
    for wrong, said in ({"filters": ["nice"]}, "filters: there is no nice"), ({"rule": "mine"}, "rule: there is"):
        with pytest.raises(ConfigError, match=said):
            run.edits(**wrong)
    with pytest.raises(ConfigError, match="original adds no edits; those that do are text_to_image"):
        run.edits("original")
    assert content(copy) == before


def test_an_arm_named_after_a_filter_has_its_verdicts(run):
    assert run.edits("alia_unfiltered").equals(run.edits(filters=[]))


def test_pictures_come_by_the_ids_of_images_and_edits_in_their_order(run):
    edits = run.edits(columns=["edit_id", "image_id"]).slice(0, 3)
    ids = [*edits["edit_id"], *edits["image_id"]]
    pictures = run.pictures(ids)
    assert list(pictures) == list(dict.fromkeys(map(str, ids)))
    assert {(picture.mode, picture.size) for picture in pictures.values()} == {("RGB", (48, 48))}
    assert run.picture(str(ids[0])) == pictures[str(ids[0])]
    with pytest.raises(LookupError, match="no picture of 0123"):
        run.picture("0123")


def test_a_notebook_shows_what_there_is_and_nothing_that_it_would_obey(run, copy, tmp_path):
    shown = run._repr_html_()
    assert "<th>images</th><td>64</td>" in shown
    assert "<th>alia</th><td>accuracy 0." in shown or "<th>alia</th><td>accuracy 1." in shown
    assert repr(run) == f"alia_ray.load('{copy}')"
    wicked = tmp_path / "<script>"
    wicked.mkdir()
    (wicked / "config.yaml").write_text((copy / "config.yaml").read_text())
    shown = alia_ray.load(wicked)._repr_html_()
    assert "<script>" not in shown
    assert "<td>none yet</td>" in shown


def test_a_half_done_run_gives_what_is_there_and_says_what_makes_the_rest(tmp_path):
    settings = state(tmp_path / "run").settings
    run = alia_ray.load(settings)
    for read in (run.images, run.edits):
        with pytest.raises(StageError, match="run `alia-ray ingest` first"):
            read()
    fill(State(settings), images=3)
    assert run.images().num_rows == 4
    assert run.captions().num_rows == 0
    assert run.domains().num_rows == 2
    with pytest.raises(StageError, match="no arm is measured yet; run `alia-ray evaluate` first"):
        run.metrics  # noqa: B018


def test_what_is_damaged_stays_where_it_is(copy, tmp_path, capsys):
    place = tmp_path / "run"
    shutil.copytree(copy, place)
    [path, *_] = sorted((place / "images").rglob("part-*.parquet"))
    path.write_bytes(path.read_bytes()[:-200])
    before = content(place)
    run = alia_ray.load(place)
    with pytest.raises(StageError):
        run.captions()
    assert "is damaged" in capsys.readouterr().err
    assert content(place) == before


def test_what_is_no_run_folder_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"is no run folder: it holds no config\.yaml; give"):
        alia_ray.load(tmp_path)
    (tmp_path / "config.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="is not that of a run"):
        alia_ray.load(tmp_path)


def test_overrides_are_those_of_the_command_line_or_a_mapping(copy, run):
    given = {"edit.steps": 7, "train.arms": ["original", "alia"], "train.learning_rate": 1e-05}
    other = alia_ray.load(run, given)
    assert (other.settings.edit.steps, other.settings.train.learning_rate) == (7, 1e-05)
    assert alia_ray.load(copy, ["edit.steps=7"]).settings.edit.steps == 7
    assert run.settings.edit.steps == 3
    assert other.folder == run.folder
