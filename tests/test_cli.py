import errno
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from importlib.abc import MetaPathFinder
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pytest
import typer
import yaml
from a_run import in_this_ray
from in_process import passes_here
from PIL import Image
from typer.testing import CliRunner

from alia_ray.__main__ import main
from alia_ray.cli import app
from alia_ray.cli.leaving import exit_codes
from alia_ray.cluster import joining
from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError, load_config
from alia_ray.errors import StageError
from alia_ray.images import encode
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.stages.ingest import images_table
from alia_ray.store.damage import LEASE
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
    "errors",
    "plan",
    "doctor",
    "demo",
    "export",
]
SMALL = [
    "source={kind: miniature, train: 24, val: 8, test: 16, bias: 0.75}",
    "discover.prompts=['a photo of a {} bird in a forest', 'a photo of a {} bird on a lake']",
    "edit.steps=2",
    "train.epochs=2",
    "train.image_size=32",
    "train.arms=[original, alia]",
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


@pytest.mark.parametrize(
    ("command", "key"), [("edit", "strength=0.6"), ("train", "epochs=100"), ("judge", "top_k=2")]
)
def test_the_help_of_a_stage_lists_its_keys_with_their_defaults(command, key):
    assert key in runner.invoke(app, [command, "--help"]).output


def test_config_answers_for_a_key_and_says_what_was_meant():
    assert "redoes edit, train, evaluate" in runner.invoke(app, ["config", "edit.strength"]).output
    result = runner.invoke(app, ["config", "edit.stpes"])
    assert result.exit_code == 2
    assert "did you mean edit.steps?" in result.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("run x.yaml --set edit.stre", "edit.strength="),
        ("run x.yaml --set source.k", "source.kind="),
        ("config edit.stre", "edit.strength"),
        ("export x.yaml out --arm alia_both_t", "alia_both_top_k"),
        ("init --recipe cu", "cub"),
    ],
)
def test_a_shell_is_offered_keys_arms_and_recipes(typed, offered, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", f"alia-ray {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    asked = {"_ALIA_RAY_COMPLETE": "complete_bash"}
    assert runner.invoke(app, [], prog_name="alia-ray", env=asked).output.split() == [offered]


@pytest.mark.parametrize("command", STAGES)
def test_every_command_has_help_that_says_what_it_does(command):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "--set" in result.output


def without_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ray is joined: there is a machine with four CPUs."""
    here = Cluster(cpus=4, gpus=0)
    for module in ("alia_ray.cli", "alia_ray.running"):
        monkeypatch.setattr(f"{module}.on_cluster", lambda *_, **__: nullcontext(here))
    monkeypatch.setattr(joining, "available", lambda *_, **__: here)


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
def test_a_bad_configuration_is_one_sentence_and_exit_code_2_before_a_stage_starts(
    tmp_path, override, named, monkeypatch
):
    without_a_cluster(monkeypatch)
    result = runner.invoke(app, ["run", write(tmp_path), "--set", override])
    assert result.exit_code == 2
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


@pytest.mark.parametrize("command", ["report", "run"])
def test_a_command_that_does_not_have_the_folder_moves_nothing_under_who_has_it(tmp_path, command, monkeypatch):
    without_a_cluster(monkeypatch)
    path = write(tmp_path, source={"kind": "imagefolder", "path": str(tmp_path / "moved")})
    row = {"image_id": "1", "image": encode(Image.new("RGB", (8, 8))), "label": "cat", "split": "train"}
    table = images_table(load_config(path))
    [bad, _] = [table.commit(pa.Table.from_pylist([{**row, "image_id": i}], schema=IMAGES)) for i in "12"]
    Path(bad).write_bytes(b"cut")
    table.folder.write_json({"id": "theirs", "command": "edit", "host": "node7", "pid": 4242}, LEASE)
    said = runner.invoke(app, [command, path]).stderr
    assert f"{bad} is damaged" in said
    assert "left to the command that works there" in said
    assert Path(bad).read_bytes() == b"cut"


def test_a_report_of_no_run_is_refused_and_leaves_nothing(tmp_path):
    result = runner.invoke(app, ["report", write(tmp_path)])
    assert result.exit_code == 1
    assert f"report: {tmp_path}/run holds no run yet" in result.stderr
    assert not (tmp_path / "run").exists()


def test_all_that_is_wrong_is_said_at_once_a_line_each_with_server_and_cluster(tmp_path):
    wrong = (
        *("edit.model.name=./nowhere", "source={kind: imagefolder, path: ./nowhere}"),
        *("llm.base_url=http://127.0.0.1:9/v1", "edit.workers=99", "train.workers=99", "train.batch_size=99"),
    )
    command = [sys.executable, "-m", "alia_ray", "run", write(tmp_path)]
    result = subprocess.run([*command, *(f"--set={each}" for each in wrong)], capture_output=True, text=True)
    assert result.returncode == 2
    said = ("edit.model.name: ", "source.path: ", "no LLM answers at ", "edit.workers: ", "train.workers: ")
    starting, *lines = result.stderr.splitlines()
    assert starting == "cluster: starting Ray here"
    assert len(lines) == len(said)
    assert all(line.startswith(f"error: {start}") for line, start in zip(lines, said, strict=True))
    assert not (tmp_path / "run").exists()


def test_a_missing_configuration_is_exit_code_2():
    assert runner.invoke(app, ["run", "nowhere.yaml"]).exit_code == 2


def test_the_demo_is_a_valid_recipe_with_every_editor():
    for method, overrides in EDITING.items():
        assert load_config(DEMO, overrides).edit.method == method


def left(error: BaseException, capsys) -> tuple[int, str]:
    """The exit code and what the person reads where a command ends with `error`."""
    with pytest.raises(typer.Exit) as caught, exit_codes():
        raise error
    return caught.value.exit_code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("edit.steps: must be positive"), 2, "error: edit.steps: must be positive\n"),
        (ConfigError("a: no\nb: no"), 2, "error: a: no\nerror: b: no\n"),
        (StageError("edit: no"), 1, "error: edit: no\n"),
        (
            ConnectionError("ray::f() (pid=1)\n  File x\nOSError: no such bucket"),
            1,
            "error: OSError: no such bucket\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted; run again to go on\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/run/metrics.json"),
            1,
            "error: [Errno 13] Permission denied: '/run/metrics.json'; give this user the right to do that, or "
            "name another folder\n",
        ),
        (ConfigError(f"a: {'x' * 10**7} is no split\nb: no"), 2, f"error: a: {'x' * 9989}…\nerror: b: no\n"),
    ],
)
def test_every_way_out_is_a_sentence_and_an_exit_code(error, code, said, capsys):
    assert left(error, capsys) == (code, said)


def test_a_full_disk_is_said_with_what_to_do(capsys):
    code, said = left(OSError(errno.ENOSPC, "Error writing bytes to file", "/small/part-1.parquet"), capsys)
    assert code == 1
    assert said.startswith("error: a disk is full: ")
    assert "/small/part-1.parquet" in said
    assert "free some space" in said
    assert said.count("\n") == 1


def test_what_nobody_foresaw_is_a_line_and_its_traceback_in_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said = left(KeyError("x"), capsys)
    [log] = tmp_path.rglob("*.log")
    assert code == 1
    assert said == f"error: KeyError: 'x'\nwhat led there is in {log}\n"
    assert "KeyError: 'x'" in log.read_text()


@pytest.mark.parametrize("module", ["alia_ray.cli", "alia_ray.store.damage"])
def test_a_command_that_is_interrupted_while_it_is_imported_says_so(monkeypatch, capsys, module):
    class Interrupt(MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == module:
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["alia-ray", "plan", "mine.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted; ")


def test_a_command_that_is_terminated_while_it_waits_for_ray_says_so_too(capsys):
    def wait_for_ray() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except SystemExit:
            sys.exit(1)  # what Ray makes of it

    with pytest.raises(typer.Exit) as left, exit_codes():
        wait_for_ray()
    assert left.value.exit_code == 143
    assert capsys.readouterr().err == "terminated; run again to go on\n"
    with pytest.raises(SystemExit), exit_codes():
        sys.exit(1)


def test_a_terminated_command_says_so_and_ends_with_143(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(typer.Exit) as caught, exit_codes():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert capsys.readouterr().err == "terminated; run again to go on\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("stage", ["caption", "discover", "train --base", "edit", "train", "evaluate"])
def test_a_stage_whose_images_are_not_there_says_so_before_ray_starts(tmp_path, stage, monkeypatch):
    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ray is started")

    monkeypatch.setattr("alia_ray.cli.on_cluster", started)
    monkeypatch.setattr(sys, "argv", ["alia-ray", *stage.split(), "mine.yaml", "--set", "edit.steps=9"])
    result = runner.invoke(app, [*stage.split(), write(tmp_path)])
    assert result.exit_code == 1
    first, here = result.stderr.splitlines()
    assert first.endswith("run `alia-ray ingest` first")
    assert here == "  here: alia-ray ingest mine.yaml --set edit.steps=9"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("called", "shown"), [("/bin/alia-ray", "alia-ray"), ("/x/alia_ray/__main__.py", "python -m alia_ray")]
)
def test_the_command_to_run_first_sets_what_the_sentence_says(monkeypatch, capsys, called, shown):
    monkeypatch.setattr(sys, "argv", [called, "export", "mine.yaml", "out", "--set", "edit.steps=9"])
    with pytest.raises(typer.Exit), exit_codes():
        raise StageError("no edits; run `alia-ray edit` first with --set 'train.arms=[original, alia]'")
    here = capsys.readouterr().err.splitlines()[-1]
    assert here == f"  here: {shown} edit mine.yaml --set edit.steps=9 --set 'train.arms=[original, alia]'"


def test_the_version_is_said():
    said = subprocess.run(
        [sys.executable, "-m", "alia_ray", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"alia-ray {version('alia-ray')}\n"


NOISE = ("Traceback", "pid=", "WARNING", "Warning", "core_worker", "***", "[repeated")


def of_a_small_run(tmp_path) -> list[str]:
    """The words of `alia-ray run` of a small world."""
    sets = [f"run.folder={tmp_path / 'run'}", *SMALL]
    return ["run", str(DEMO), *(word for item in sets for word in ("--set", item))]


@pytest.mark.slow
def test_a_run_tells_the_person_its_stages_and_nothing_else(ray_cluster, tmp_path):
    """What a Ray of its own might say beside is looked for in test_corpus_runs.py."""
    with in_this_ray(), passes_here():
        done = runner.invoke(app, of_a_small_run(tmp_path))
    said = done.stderr
    assert done.exit_code == 0, said
    assert done.stdout == ""
    assert not any(word in said for word in NOISE), said
    assert len([line for line in said.splitlines() if "  starting" not in line]) < 30
    for line in ("ingest: 0/48  starting", "ingest: 48 rows in", "train original, seed 0: 24 images, 2 epochs in"):
        assert line in said
    assert "discover: 'a photo of a {} bird in a forest'" in said.splitlines()  # by no captions
    assert re.search(r"^edit: \d+ of 48 edits survived the filters$", said, re.MULTILINE)
    page, accuracy, worst, edits, following = said.splitlines()[-5:]
    assert page == f"report: {tmp_path}/run/report.html"
    assert re.fullmatch(r"run: accuracy .* points, 95 % interval .*, 16 test images, one seed", accuracy)
    assert worst.startswith("run: worst group")
    assert re.fullmatch(r"run: \d+ of 48 edits of 24 images survived the filters", edits)
    assert following.startswith("run: next, `alia-ray ")
    [log] = (tmp_path / "run" / "logs").iterdir()
    assert "Ray's own logs, kept where this fails: /" in log.read_text()
    assert "epoch 2/2" in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal_number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_stopped_run_says_so_in_a_line(tmp_path, signal_number, code, said):
    command = [sys.executable, "-m", "alia_ray", *of_a_small_run(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("ingest: "):  # the first stage has begun
            break
    process.send_signal(signal_number)
    lines += process.stderr.readlines()
    assert process.wait(timeout=120) == code
    assert lines[-1] == f"{said}; run again to go on\n"
    assert not any(word in line for word in NOISE for line in lines), lines


def test_a_plan_is_printed_on_a_terminal_that_lacks_its_signs():
    code = "import typer; from alia_ray.cli import app; app.command('arrow')(lambda: typer.echo('a → b')); app()"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code, "arrow"], env=environment, capture_output=True, text=True)
    assert done.stdout == "a ? b\n", done.stderr
