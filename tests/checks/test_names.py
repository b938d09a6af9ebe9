import re

import pyarrow as pa
import pytest

from alia_ray.checks.inputs import check_inputs
from alia_ray.checks.names import describe, doubtful_things, wrong_things
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, ConfigError, parse_config
from alia_ray.pipeline import run_all
from alia_ray.sources.listing import LISTING


def settings(path="photos", **class_names: str) -> Config:
    source = {"kind": "imagefolder", "path": str(path), "class_names": class_names}
    return parse_config({"run": {"folder": "x"}, "source": source})


def listed(*labels: str | None, split: str = "train") -> pa.Table:
    rows = [
        {"origin": str(place), "label": label, "split": split, "group": label}
        for place, label in enumerate(labels)
    ]
    return pa.Table.from_pylist(rows, schema=LISTING)


def test_two_labels_of_one_name_are_refused_with_the_line_to_write():
    [said] = wrong_things(settings(), listed("707_320", "707.320x", "707 320", "zebra"))
    assert "'707 320', '707_320' are all called '707 320'" in said
    assert said.endswith("source.class_names: {707 320: …, '707_320': …}")


def test_the_line_to_write_is_yaml_that_is_read():
    import yaml

    [said] = wrong_things(settings(), listed("a: b", "a:_b"))
    assert yaml.safe_load(said.partition("source.class_names: ")[2]) == {"a: b": "…", "a:_b": "…"}


@pytest.mark.parametrize(("label", "says"), [("___", "nothing that can stand"), ("a {}", r"holds \{\}")])
def test_a_label_that_gives_no_name_is_refused_until_it_has_one(label, says):
    [said] = wrong_things(settings(), listed(label, "zebra"))
    assert re.search(says, said)
    assert not list(wrong_things(settings(**{label: "ape"}), listed(label, "zebra")))


def test_given_names_part_what_the_labels_do_not_and_may_collide_themselves():
    assert not list(wrong_things(settings(a_b="first"), listed("a_b", "a b")))
    [said] = wrong_things(settings(a="ape", b="ape"), listed("a", "b"))
    assert "'a', 'b' are all called 'ape'" in said


def test_a_key_that_is_no_label_is_refused_with_the_one_that_was_meant():
    [said] = wrong_things(settings(tabyy="cat"), listed("tabby", "siamese"))
    assert said == "source.class_names: 'tabyy' is no label of the source; did you mean 'tabby'?"
    [said] = wrong_things(settings(**{"7": "cat"}), listed("007", "siamese"))
    assert "did you mean '007'? YAML reads it as a number, so put it in quotes" in said


def test_a_list_of_more_classes_than_there_are_does_where_it_names_them_all():
    assert not list(wrong_things(settings(a="ape", b="bear", c="cow"), listed("a", "b")))


def test_many_mistakes_are_said_in_a_few_lines():
    said = list(wrong_things(settings(), listed(*(f"{i}{space}{i}" for i in range(30) for space in "_ "))))
    assert len(said) == 6
    assert "25 more" in said[-1]


def test_only_classes_that_are_trained_have_to_be_told_apart():
    assert not list(wrong_things(settings(), listed("a_b", "a b", None, split="test")))


def test_a_plan_lists_the_first_names_and_every_doubtful_one():
    listing = listed(*(f"kind_{letter}e" for letter in "abcdefghijklmnopqrstuvwxyz"), "zz\x1b", "zzz")
    lines = describe(settings(), listing)
    assert lines[0].startswith("names     28 classes")
    assert lines[1].endswith("  kind_ae → kind ae")
    assert lines[20].endswith("  kind_te → kind te")
    assert lines[21:] == [
        "          ? 'zz\\x1b' → zz  (has no vowel)",
        "          ? zzz → zzz  (has no vowel)",
        "            … and 6 more",
    ]


def test_names_that_mean_something_are_not_said_to_be_doubtful():
    assert not list(doubtful_things(settings(), listed("tabby", "737-200")))


def test_a_run_says_in_one_line_that_names_are_doubtful(tmp_path, monkeypatch, capsys):
    for label in ("7", "n01440764", "zebra"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for place in range(3):
            (tmp_path / "photos" / label / f"{place}.jpg").touch()
    source = {"kind": "imagefolder", "path": str(tmp_path / "photos")}
    config = parse_config({"run": {"folder": str(tmp_path / "run")}, "source": source})
    monkeypatch.setattr("alia_ray.pipeline.STAGES", {})
    run_all(config, Cluster(cpus=8, gpus=8))
    [line] = [line for line in capsys.readouterr().err.splitlines() if "names:" in line]
    assert "2 of 3 classes" in line


def test_a_source_with_names_that_collide_is_refused_before_ray_starts(tmp_path):
    for label in ("a_b", "a b"):
        (tmp_path / label).mkdir()
        for place in range(3):
            (tmp_path / label / f"{place}.jpg").touch()
    with pytest.raises(ConfigError, match="are all called 'a b'"):
        check_inputs(settings(tmp_path))


def test_labels_that_differ_in_case_are_said_apart_from_names_that_mean_nothing():
    said = list(doubtful_things(settings(), listed("Tabby", "tabby", "grey seal", "n01440764")))
    assert said[0].startswith("names: the labels 'Tabby', 'tabby' differ in case or punctuation only")
    assert said[1].startswith(
        "names: 1 of 4 classes have names that may mean nothing to a model, such as 'n01440764'"
    )
