"""The reference of the keys is that of the models, and ships as it is."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from alia_ray import recipes
from alia_ray.config import Config, ConfigError, load_config
from alia_ray.config.keys import keys
from alia_ray.config.reference import EDITOR, SCHEMA, as_markdown, as_text, found, help_of, schema, schema_text
from alia_ray.miniature.recipes import DEMO

ROOT = Path(__file__).parent.parent.parent


def test_every_key_has_a_meaning():
    assert [key.name for key in keys(Config) if not key.meaning] == []


def test_the_page_of_all_keys_is_what_the_command_writes():
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == as_markdown(), "run `alia-ray config --markdown > docs/config.md`"


def test_the_schema_that_ships_is_what_the_command_writes():
    shipped = SCHEMA.read_text(encoding="utf-8")
    assert shipped == schema_text(), "run `alia-ray config --schema > alia_ray/config/schema.json`"
    jsonschema.Draft202012Validator.check_schema(json.loads(shipped))


@pytest.mark.parametrize("path", [DEMO, *(Path(str(files(recipes) / f"{name}.yaml")) for name in recipes.names())])
def test_every_recipe_holds_by_the_schema_that_it_names(path):
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    assert (path.parent / first.removeprefix(f"{EDITOR} $schema=")).resolve() == SCHEMA.resolve()
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_a_recipe_that_is_written_elsewhere_names_the_schema_that_is_installed():
    assert recipes.text("cub").splitlines()[0] == f"{EDITOR} $schema={SCHEMA.as_uri()}"


@pytest.mark.parametrize(
    ("section", "given"),
    [
        ("edit", {"stpes": 3}),
        ("edit", {"strength": 2}),
        ("source", {"kind": "zip"}),
        ("source", {"kind": "csv", "path": "a.csv"}),
        ("train", {"select_by": "loss"}),
    ],
)
def test_what_a_run_would_refuse_an_editor_marks(section, given):
    tree = {"run": {"folder": "x"}, "source": {"kind": "miniature"}}
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid(tree)
    assert not validator.is_valid({**tree, section: given})


def test_one_key_says_default_meaning_kind_and_what_it_redoes():
    (key,) = found("edit.strength")
    said = as_text([key])
    assert said.startswith("edit.strength = 0.6\n    Img2Img: how much")
    assert said.endswith("a number, above 0, at most 1; redoes edit, train, evaluate")
    assert as_text(found("edit.batch_size")).endswith("redoes nothing")
    assert as_text(found("train.arms")).endswith("redoes nothing; makes what is missing")
    assert as_text(found("caption.model.name")).startswith("caption.model.name = Salesforce/")


def test_the_arms_are_listed_and_an_editor_marks_another():
    assert "original or cutmix or" in as_text(found("train.arms"))
    tree = {"run": {"folder": "x"}, "source": {"kind": "miniature"}}
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid({**tree, "train": {"arms": ["original", "alia"]}})
    assert not validator.is_valid({**tree, "train": {"arms": ["original", "alai"]}})


def test_a_section_and_a_kind_of_source_can_be_asked_for():
    assert {key.name.split(".")[0] for key in found("judge")} == {"judge"}
    assert {key.name.split(".")[1] for key in found("source.csv")} == {"csv"}
    assert len(found("source.path")) > 1
    assert {key.default for key in found("source.kind")} == {"required"}
    assert found(None) == list(keys(Config))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("strenght", "edit.strength"),
        ("eidt", "edit"),
        ("edit.stpes", "edit.steps"),
        ("judge.rule", "judge.confidence_rule"),
    ],
)
def test_an_unknown_key_is_told_what_was_meant(name, meant):
    with pytest.raises(ConfigError, match=f"did you mean {meant}\\?"):
        found(name)


def test_a_default_is_what_a_configuration_holds_that_says_nothing(tmp_path):
    (tmp_path / "run.yaml").write_text("run: {folder: x}\nsource: {kind: miniature}\n")
    settings = load_config(tmp_path / "run.yaml").model_dump(mode="json")
    for key in keys(Config):
        if key.default == "required" or (key.name.startswith("source.") and ".miniature." not in key.name):
            continue
        value = settings
        for part in key.written.split("."):
            value = value.get(part) if value else None
        if value is not None or key.default == "null":
            assert yaml.safe_load(key.default if value != {} else "{}") == value, key.name


def test_the_help_of_a_stage_lists_the_keys_of_its_sections():
    assert "strength=0.6" in help_of("edit")
    assert "confidence_rule=paper" in help_of("edit")
    assert "max_domains=9" in help_of("discover")
    assert "strength" not in help_of("caption")
    assert "source: kind, class_names={}, limit=null" in help_of("ingest")
    assert "source of kind csv: val_fraction=0.1, test_fraction=0.2, path=required" in help_of("ingest")
