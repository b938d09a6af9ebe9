import os
from copy import deepcopy

import pytest

from alia_ray.config import ConfigError, as_yaml, fingerprint, parse_config
from alia_ray.config.places import Place, as_given
from alia_ray.models.methods import edit_parameters
from alia_ray.stages.caption import captions_table
from alia_ray.stages.edit import edits_table
from alia_ray.stages.ingest import images_table

TREE = {
    "run": {"folder": "runs/x"},
    "source": {"kind": "csv", "path": "meta.csv", "root": "./photos"},
    "caption": {"model": {"name": "models/blip"}},
    "edit": {"model": {"name": "./editor"}},
    "judge": {"model": {"name": "~/clip"}},
    "train": {"weights": "old/classifiers/1"},
}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "models" / "blip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/people/someone")
    return parse_config(TREE)


def with_folder(folder: str, **sections):
    return parse_config({"run": {"folder": folder}, "source": {"kind": "miniature"}, **sections})


def test_a_relative_path_is_taken_from_the_folder_of_the_command_once(settings, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    worker = deepcopy(settings)  # by what pickles use
    assert worker.run.folder == f"{tmp_path}/runs/x"
    assert worker.source.path == f"{tmp_path}/meta.csv"
    assert worker.source.root == f"{tmp_path}/photos"
    assert worker.caption.model.name == f"{tmp_path}/models/blip"
    assert worker.edit.model.name == f"{tmp_path}/editor"
    assert worker.judge.model.name == "/people/someone/clip"
    assert worker.train.weights == f"{tmp_path}/old/classifiers/1"
    assert worker.source.path.given == "meta.csv"


def test_fingerprints_cover_what_is_written_so_that_old_run_folders_stay_valid(settings):
    assert images_table(settings).fingerprint == "8eb662084c90"
    assert captions_table(settings).fingerprint == "4fad3e7d9b99"
    assert edits_table(settings, "x").fingerprint == "69b624b68e49"
    assert fingerprint(settings.train) == "5a6646d0d55a"
    assert fingerprint([settings.llm.model.name, settings.edit.model.name]) == "00190ee5bf35"
    assert fingerprint(edit_parameters(settings.edit)) == "f5b0352a3153"


def test_the_yaml_of_a_configuration_shows_what_was_written(settings):
    assert "path: meta.csv\n" in as_yaml(settings)
    assert "name: ./editor\n" in as_yaml(settings)


@pytest.mark.parametrize("name", ["ORG/MODEL", "miniature:clip", "random:sd15", "hf-hub:org/model"])
def test_a_models_name_that_is_no_folder_stays_a_name(name):
    model = with_folder("x", caption={"model": {"name": name}}).caption.model
    assert model.name == as_given(model.name) == name


def test_a_hugging_face_dataset_in_a_folder_is_that_folder_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds").mkdir()
    for name, meant in (("birds", f"{tmp_path}/birds"), ("ORG/birds", "ORG/birds")):
        source = {"kind": "huggingface", "name": name}
        assert parse_config({"run": {"folder": "x"}, "source": source}).source.name == meant


@pytest.mark.parametrize("weights", ["imagenet", "none", "miniature:classifier"])
def test_weights_that_have_a_name_are_no_path(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").mkdir()
    assert with_folder("x", train={"weights": weights}).train.weights == weights


@pytest.mark.parametrize(
    "uri",
    [
        "s3://b/run?scheme=http&endpoint_override=localhost:9000",
        "gs://anonymous@b/x",
        "hdfs://host:8020/user@home",
        "abfs://container@account.dfs.core.windows.net/x?credential_kind=cli",
        "file:///x/y",
    ],
)
def test_a_uri_is_taken_as_it_is(uri):
    assert with_folder(uri).run.folder == uri
    assert not with_folder(uri).run.folder.is_relative


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("http://host/x", "no way to open http://"),
        ("az://container/x", "no way to open az://"),
        ("S3://b/x", "no way to open S3://"),
        ("s3:/b/x", "write s3://b/x"),
        ("s3:b/x", "write s3://b/x"),
        ("file:/b/x", "write file:///b/x"),
        ("dbfs:/b/x", "no way to open dbfs://"),
        ("s3://", "names no bucket"),
        ("", "is empty"),
        ("$SCRATCH/runs", "let the shell expand it"),
        ("~nobody-of-that-name/runs", "no such home folder"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_sentence_with_its_key(folder, said):
    with pytest.raises(ConfigError, match=said) as caught:
        with_folder(folder)
    assert str(caught.value).startswith("run.folder: ")


@pytest.mark.parametrize(
    ("key", "uri"),
    [
        ("run.folder", "s3://AKIAKEY:s3cr3t@bucket/run"),
        ("run.folder", "s3://AKIAKEY:s3c/r3t@bucket/run"),
        ("run.folder", "s3://bucket/run?secret_key=s3cr3t&region=x"),
        ("run.folder", "abfs://:s3cr3t@account.dfs.core.windows.net/c/x"),
        ("run.folder", "abfs://account.dfs.core.windows.net/c/x?client_secret=s3cr3t"),
        ("llm.base_url", "http://user:s3cr3t@host:8000/v1"),
        ("llm.base_url", "http://host/v1?api_key=s3cr3t"),
    ],
)
def test_a_key_in_a_uri_is_refused_and_never_shown(key, uri):
    section, name = key.split(".")
    tree = {"run": {"folder": "x"}, "source": {"kind": "miniature"}}
    tree[section] = {**tree.get(section, {}), name: uri}
    with pytest.raises(ConfigError, match=f"{key}: (a URI must hold no key|must (hold no|end with))") as caught:
        parse_config(tree)
    shown = f"{caught.value} {caught.value.__cause__}"
    assert "s3c" not in shown
    assert "AKIAKEY" not in shown


def test_a_place_is_absolute_and_remembers_what_was_written():
    place = Place.of("a/../b")
    assert place == os.path.join(os.getcwd(), "b")
    assert place.given == "a/../b"
    assert Place.of(place) is place
