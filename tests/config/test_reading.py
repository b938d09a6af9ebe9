import pytest
import yaml

from alia_ray.config import ConfigError, load_config
from alia_ray.config.reading import read_yaml


def test_parts_may_be_named_and_used_again():
    assert read_yaml("a: &one {x: 1}\nb: *one\nc: {<<: *one, y: 2}") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }
    assert read_yaml("") is None


def laughs(levels: int) -> str:
    """A text in which each line names the one before nine times."""
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (laughs(20), "holds more than"),
        ("a: &a [*a]", "holds more than"),
        ("[" * 100_000, "nested too deeply"),
        ("a: 2026-99-99", "month must be"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)
def test_a_text_that_would_grow_without_bounds_is_broken_yaml(text, says):
    with pytest.raises(yaml.YAMLError, match=says):
        read_yaml(text)


def test_such_a_configuration_and_such_an_override_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "run.yaml").write_text(laughs(20))
    with pytest.raises(ConfigError, match="is not valid YAML: it holds more than"):
        load_config(tmp_path / "run.yaml")
    (tmp_path / "run.yaml").write_text("run: {folder: x}\nsource: {kind: miniature}\n")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        load_config(tmp_path / "run.yaml", [f"discover.prompts={'[' * 100_000}"])


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[" * 100_000), ("a.yaml", laughs(20)), ("a.csv", "x" * 20_000_000)]
)
def test_a_file_of_names_is_bounded_too(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (tmp_path / "run.yaml").write_text(
        f"run: {{folder: x}}\nsource: {{kind: miniature, class_names: {tmp_path / name}}}\n"
    )
    with pytest.raises(ConfigError, match=r"source\.class_names: the file"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    "text", ["{api_key: sk-canary", "hf_token: sk-canary: y", "'sk-canary", "a: sk-canary\na: b"]
)
def test_what_is_broken_is_said_by_its_place_without_a_key_that_may_be_written_there(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(f"run: {{folder: x}}\n{text}\n")
    with pytest.raises(ConfigError, match=r"is not valid YAML: line \d+, column \d+: ") as said:
        load_config(path)
    assert "canary" not in str(said.value)
    path.write_text("run: {folder: x}\nsource: {kind: miniature}\n")
    with pytest.raises(ConfigError, match=r"^--set llm.options: .* not valid YAML: line \d, column \d+: ") as said:
        load_config(path, [f"llm.options={text}"])
    assert "canary" not in str(said.value)
