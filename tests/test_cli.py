import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from alia_ray.cli import app
from alia_ray.config import load_config
from alia_ray.images import encode
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.stages.ingest import images_table
from alia_ray.store.tables import IMAGES

runner = CliRunner()
STAGES = [
    "run",
    "ingest",
    "caption",
    "discover",
    "edit",
    "judge",
    "train",
    "evaluate",
    "report",
    "plan",
    "doctor",
    "demo",
    "export",
]


def write(tmp_path, **sections) -> str:
    """The demo, whose models are at hand, with other sections."""
    tree = {**yaml.safe_load(Path(DEMO).read_text()), "run": {"folder": str(tmp_path / "run")}, **sections}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    return str(tmp_path / "run.yaml")


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from alia_ray.cli import app; "
        "print(CliRunner().invoke(app, ['--help']).output); "
        "print('HEAVY', sorted({'torch', 'ray', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in output
    assert all(name in output for name in STAGES)


@pytest.mark.parametrize("command", STAGES)
def test_every_command_has_help_that_says_what_it_does(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "--set" in result.output


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("edit.stpes=3", "edit.stpes"),
        ("source.bias=7", "source.bias"),
        ("caption.model.name=miniature:nothing", "caption.model.name"),
        ("edit.model.name=./nowhere", "edit.model.name"),
        ("source={kind: imagefolder, path: ./nowhere}", "source.path"),
    ],
)
def test_a_bad_configuration_is_one_sentence_and_exit_code_2_before_ray_starts(tmp_path, override, named):
    command = [sys.executable, "-m", "alia_ray.cli", "run", write(tmp_path), "--set", override]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert named in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_needs_only_the_run_folder_asks_for_neither_source_nor_models(tmp_path):
    away = {
        "source": {"kind": "imagefolder", "path": str(tmp_path / "moved")},
        "edit": {"model": {"name": "./gone"}},
    }
    path = write(tmp_path, **away)
    row = {"image_id": "1", "image": encode(Image.new("RGB", (8, 8))), "label": "cat", "split": "train"}
    images_table(load_config(path)).commit(pa.Table.from_pylist([row], schema=IMAGES))
    result = runner.invoke(app, ["report", path])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "report.html").exists()


def test_every_sentence_of_a_refusal_is_a_line_that_says_error(tmp_path):
    wrong = ["--set", "edit.model.name=./nowhere", "--set", "source={kind: imagefolder, path: ./nowhere}"]
    result = runner.invoke(app, ["plan", str(DEMO), *wrong])
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["edit.model.name", "source.path"]


def test_a_missing_configuration_is_exit_code_2():
    assert runner.invoke(app, ["run", "nowhere.yaml"]).exit_code == 2


def test_the_demo_is_a_valid_recipe_with_every_editor():
    for method, overrides in EDITING.items():
        assert load_config(DEMO, overrides).edit.method == method
