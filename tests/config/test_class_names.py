import json

import pytest

from alia_ray.config import ConfigError, as_yaml, load_config, parse_config


def names(tmp_path, given) -> dict[str, str]:
    source = {"kind": "imagefolder", "path": str(tmp_path), "class_names": given}
    return parse_config({"run": {"folder": "x"}, "source": source}).source.class_names


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "imagefolder", "path": "p"},
        {"kind": "csv", "path": "p", "root": "r"},
        {"kind": "parquet", "path": "p"},
        {"kind": "miniature"},
        {"kind": "cub", "path": "p"},
        {"kind": "iwildcam", "path": "p", "lists": "l"},
        {"kind": "waterbirds", "path": "p"},
        {"kind": "huggingface", "name": "n"},
        {"kind": "webdataset", "path": "p"},
    ],
    ids=lambda source: source["kind"],
)
def test_every_kind_of_source_takes_names(source):
    tree = {"run": {"folder": "x"}, "source": source | {"class_names": {"a": "an ape"}}}
    assert parse_config(tree).source.class_names == {"a": "an ape"}
    assert hash(parse_config(tree).source) == hash(
        parse_config(tree).source
    )  # readers keep what they opened by it
    assert parse_config({"run": {"folder": "x"}, "source": source}).source.class_names == {}


def test_numbers_of_yaml_are_labels_and_blanks_are_one(tmp_path):
    assert names(tmp_path, {7: "cat", "n01": "  sea\n lion ", 8: 747}) == {
        "7": "cat",
        "n01": "sea lion",
        "8": "747",
    }


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.yaml", "7: cat\nn02: sea lion, seal\n"),
        ("names.json", json.dumps({"7": "cat", "n02": "sea lion, seal"})),
        ("names.csv", '7,cat\nn02,"sea lion, seal"\n'),
        ("with_header.csv", '\ufefflabel,name\r\n7,cat\r\n\r\nn02,"sea lion, seal"\r\n'),
        ("names.tsv", "7\tcat\nn02\tsea lion, seal\n"),
        ("semicolons.csv", "label;name\n7;cat\nn02;sea lion, seal\n"),
        ("names.txt", "7 cat\nn02 sea lion, seal\n"),
    ],
)
def test_a_file_holds_the_names(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert names(tmp_path, str(tmp_path / file)) == {"7": "cat", "n02": "sea lion, seal"}


def test_the_configuration_of_a_run_holds_the_names_and_not_the_file(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("7 cat\n")
    path = tmp_path / "run.yaml"
    path.write_text(f"run: {{folder: x}}\nsource: {{kind: imagefolder, path: p, class_names: {file}}}\n")
    written = as_yaml(load_config(path))
    file.unlink()
    path.write_text(written)
    assert load_config(path).source.class_names == {"7": "cat"}


def test_a_name_is_set_on_the_command_line(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("run: {folder: x}\nsource: {kind: imagefolder, path: p}\n")
    assert load_config(path, ["source.class_names.7=cat"]).source.class_names == {"7": "cat"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({True: "agreement"}, "unquoted yes, no, on or off"),
        ({"a": True}, "put it in quotes"),
        ({"a": None}, "'a' has no name"),
        ({"a": "  "}, "'a' has no name"),
        ({"a": ["b"]}, "'a' has no name"),
        ({"a": "a {} b"}, r"holds \{\}"),
        (["a"], "give a mapping of labels to names"),
        ("nowhere.csv", r"cannot read the file nowhere\.csv"),
        ("s3://bucket/names.csv", "must lie on this machine"),
    ],
)
def test_what_is_no_name_is_refused(tmp_path, given, says):
    with pytest.raises(ConfigError, match=rf"^source\.class_names: .*{says}"):
        names(tmp_path, given)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("a.csv", "a,b,c\n", "line 1 of .* must be a label and its name"),
        ("a.txt", "a b\nc\n", "line 2 of .* must be a label and its name"),
        ("a.tsv", "a\tb\na\tc\n", "names the label 'a' twice"),
        ("a.json", "{", "cannot be parsed"),
        ("a.yaml", "a: [", "cannot be parsed"),
        ("a.yaml", "a: b\na: c\n", "'a' is there twice"),
        ("a.json", '["a"]', "give a mapping"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_refused(tmp_path, file, text, says):
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match=says):
        names(tmp_path, str(tmp_path / file))
