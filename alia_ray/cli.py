"""The `alia-ray` command. Thin: it reads the configuration, refuses a bad one, and calls a stage.

Exit codes: 0 done; 1 a stage failed; 2 the configuration or the command line is wrong; 130 interrupted; 143
terminated. Nothing heavy is imported before a command runs, so `--help` answers at once.
"""

import errno
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alia_ray.config import Config, ConfigError, Run, load_config
from alia_ray.errors import FULL, DamagedError, StageError
from alia_ray.miniature.recipes import DEMO
from alia_ray.plain_text import plain_line
from alia_ray.progress import note, say

if TYPE_CHECKING:
    import pyarrow as pa

    from alia_ray.cluster.placement import Cluster
    from alia_ray.state import State

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
miniature = typer.Typer(no_args_is_help=True, help="The painted world and its small models.")
app.add_typer(miniature, name="miniature")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to run; see jobs/recipes/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Override a key of the YAML; may be repeated."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"alia-ray {version('alia-ray')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and leave.")
    ] = False,
) -> None:
    """ALIA: caption, discover domains, edit, filter and train, on Ray. Start with `alia-ray demo`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding than UTF-8 lacks some signs


@app.command()
def run(config: ConfigPath, overrides: Overrides = None) -> None:
    """Run every stage, from the source to the report. Run it again to resume."""
    with _exit_codes():
        _run(*_load(config, overrides))


@app.command()
def demo(overrides: Overrides = None) -> None:
    """Run the whole method on the painted miniature world: no GPU, no downloads, about ten minutes."""
    with _exit_codes():
        _run(*_load(DEMO, overrides))


@app.command()
def experiment(config: ConfigPath, overrides: Overrides = None) -> None:
    """Compare arms over seeds and amounts in one run folder: tables, intervals, plots. Run it again to resume."""
    with _exit_codes():
        settings, listing = _load(config, overrides)
        from alia_ray.experiment.run import run_experiment

        with _cluster(settings.run, "experiment", writes=True) as cluster:
            run_experiment(settings, cluster, listing)


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Say which pools would run where, how many rows each stage has, and what cannot be scheduled."""
    with _exit_codes():
        settings, listing = _load(config, overrides)
        from alia_ray.checks.plan import describe

        with _cluster(settings.run, None) as cluster:
            described = describe(settings, cluster, listing)
        typer.echo(described)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", help="Also what this run needs.")] = None,
    overrides: Overrides = None,
) -> None:
    """Say what machine and cluster have, and all that stands in a run's way; exit code 2 where something does."""
    with _exit_codes():
        settings = load_config(config, overrides) if config else None
        from alia_ray.checks.doctor import examine

        run = settings.run if settings else Run(folder=".")
        with _cluster(_without_gpus(run), None):
            findings = list(examine(settings))
        for finding in findings:
            typer.echo(plain_line(str(finding)))
        if any(finding.ok is False for finding in findings):
            raise typer.Exit(2)


def _stage_command(name: str, stage: str, help: str) -> None:
    """Add the command `name`, which runs one stage of the pipeline."""

    def command(config: ConfigPath, overrides: Overrides = None) -> None:
        with _exit_codes():
            _run_stage(config, overrides, stage)

    app.command(name, help=help)(command)


_stage_command("ingest", "ingest", "Read the source into the images table.")
_stage_command("caption", "caption", "Caption the training images with BLIP.")
_stage_command("discover", "discover", "Summarise the captions into domain prompts with the LLM.")
_stage_command("edit", "edit", "Edit the training images under the prompts, and judge the edits.")
_stage_command("judge", "judge", "Score edits again that exist under other judge settings; edits nothing.")


@app.command()
def train(
    config: ConfigPath,
    overrides: Overrides = None,
    base: Annotated[bool, typer.Option(help="Only the base classifier, which judges the edits.")] = False,
) -> None:
    """Train the classifier of every arm."""
    with _exit_codes():
        _run_stage(config, overrides, "train_base" if base else "train")


_stage_command("evaluate", "evaluate", "Measure every trained arm on the test split.")


@app.command()
def report(config: ConfigPath, overrides: Overrides = None) -> None:
    """Write report.html and metrics.json from what the run folder holds; needs no cluster."""
    with _exit_codes():
        settings = load_config(config, overrides)
        try:
            _report(settings)
        except DamagedError:  # which was found at the pictures, when it had been counted before
            _report(settings)


@app.command()
def export(
    config: ConfigPath,
    out: Annotated[str, typer.Argument(metavar="OUT", help="A new folder, or a URI such as s3://BUCKET/FOLDER.")],
    overrides: Overrides = None,
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet"],
        typer.Option(
            help="imagefolder: SPLIT/CLASS/ID.jpg; webdataset: tar shards; parquet: the pictures in a column."
        ),
    ] = "imagefolder",
    arm: Annotated[
        str,
        typer.Option(help="Whose training images: `alia`, `original`, `alia_confidence_paper`, `real_data`, …"),
    ] = "alia",
    added_only: Annotated[
        bool, typer.Option("--added-only", help="Only what the arm adds to the originals, such as the kept edits.")
    ] = False,
) -> None:
    """Write what an arm trains on, and val and test, for any trainer: originals and kept edits, each with where it
    came from. Run it again to finish after a kill. See docs/export.md.
    """
    with _exit_codes():
        settings = load_config(config, overrides)
        from alia_ray.export.plan import plan_export, write_export

        planned = plan_export(_state(settings), out, format, arm, added_only)
        with _cluster(_without_gpus(settings.run), "export") as cluster:
            write_export(planned, cluster)


@miniature.command("train")
def miniature_train(
    part: Annotated[
        str,
        typer.Argument(
            help="vae, instruct_pix2pix, img2img, controlnet, captioner, clip, classifier, llm, or all"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("build/miniature"),
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps; none: as many as the shipped weights had.")
    ] = None,
) -> None:
    """Train the small models again, as the shipped ones were (see docs/miniature.md)."""
    with _exit_codes():
        from alia_ray.miniature.train import train_part

        train_part(part, out, steps)


@miniature.command("check")
def miniature_check(
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    images: Annotated[int, typer.Option(help="How many pictures each figure is measured on.")] = 400,
) -> None:
    """Measure the small models: captions, edits, CLIP; prints each figure beside its bar."""
    with _exit_codes():
        from alia_ray.miniature.check import check

        if not check(out, images):
            raise typer.Exit(1)


# -------------------------------------------------------------------- running


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turn every way out but success into one sentence and an exit code."""
    from alia_ray.store.damage import only_reading

    global _is_terminated
    _is_terminated = False
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with only_reading():  # until the run folder is held
            yield
    except typer.Exit:
        raise
    except (ConfigError, StageError, OSError) as error:
        _say_error(error)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
    except KeyboardInterrupt as error:
        say("interrupted; run again to go on")
        raise typer.Exit(130) from error
    except SystemExit as error:
        if not _is_terminated:
            raise
        say("terminated; run again to go on")
        raise typer.Exit(143) from error
    except Exception as error:
        from alia_ray.log import noted

        _say_error(noted(error))
        raise typer.Exit(1) from error
    finally:
        signal.signal(signal.SIGTERM, before)


_LONGEST_LINE = 10_000  # characters: five reasons, each with an example, and what to do have room
_is_terminated = False  # the exception does not say: where Ray waits, it makes another SystemExit of ours


def _stop(number: int, frame: object) -> None:
    global _is_terminated
    _is_terminated = True
    sys.exit(number)


def _say_error(error: Exception) -> None:
    """Say what has happened: of a configuration a line for each thing to change, else one, and under it what a log
    says, indented, so that none of that can be taken for a line of ours.
    """
    is_of_configuration = isinstance(error, ConfigError)
    said = str(error) if is_of_configuration else _sentence(error)
    lines = said.replace("\n", "\nerror: " if is_of_configuration else "\n  ").split("\n")
    for line in (f"error: {lines[0]}", *lines[1:], *getattr(error, "__notes__", [])):
        say(plain_line(line, _LONGEST_LINE))


def _sentence(error: Exception) -> str:
    """What has happened and, where the error does not say so, what to do."""
    if isinstance(error, StageError):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    said = lines[-1 if "ray::" in lines[0] else 0]  # what a worker raised ends with it
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {said}"
    if error.errno in FULL or "No space left on device" in said:
        return f"a disk is full: {said}; free some space, or give a folder on a larger one, and run again to go on"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"{said}; give this user the right to do that, or name another folder"
    return said


@contextmanager
def _cluster(run: Run, command: str | None, *, writes: bool = False) -> Iterator["Cluster"]:
    """Ray, joined quietly: what only the log is told lies in the run folder, under the command's name if any.

    A command that writes there has the folder to itself.
    """
    import ray

    from alia_ray.cluster.joining import joined
    from alia_ray.log import quiet
    from alia_ray.store.lease import held
    from alia_ray.store.run_folder import RunFolder

    folder = RunFolder(run.folder) if command else None
    alone = held(folder, command) if writes else nullcontext()
    with quiet(folder, command or "plan"), alone, joined(run) as cluster:
        if writes:
            folder.sweep()
        signal.signal(signal.SIGTERM, _stop)  # Ray has put one of its own there, which prints a stack
        about = ray.get_runtime_context()
        note(f"Ray's own logs: {about.get_temp_dir()}/{about.get_session_name()}/logs")
        yield cluster


def _without_gpus(run: Run) -> Run:
    """For what computes nothing: no GPU is waited for."""
    return run.model_copy(update={"gpus": None, "accelerator": "cpu"})


def _load(path: Path, overrides: list[str] | None) -> tuple[Config, "pa.Table | None"]:
    """A configuration that can run, and the source's listing where it was read for that.

    Raises one ConfigError with all that is wrong, with the cluster too: Ray is joined for what that would say.
    """
    from alia_ray.checks.inputs import look_at_inputs, refuse

    settings = load_config(path, overrides)
    listing, wrong = look_at_inputs(settings)
    if wrong:
        refuse([wrong, _wrong_with_the_cluster(settings, listing)])
    return settings, listing


def _wrong_with_the_cluster(settings: Config, listing: "pa.Table | None") -> Iterator[str]:
    """What the cluster would be refused for; no GPU is taken, and those that are still to come are not counted."""
    from alia_ray.checks.plan import misfits
    from alia_ray.cluster.joining import available

    with _cluster(_without_gpus(settings.run), None):
        if settings.run.gpus is None:
            yield from misfits(settings, available(settings.run.accelerator, try_gpus=False), listing)


def _run(settings: Config, listing: "pa.Table | None") -> None:
    from alia_ray.pipeline import run_all

    with _cluster(settings.run, "run", writes=True) as cluster:
        run_all(settings, cluster, listing)


def _report(settings: Config) -> None:
    """Report what there is, and say what there is not."""
    from alia_ray.checks.comparison import first_draw
    from alia_ray.pipeline import run_report
    from alia_ray.report.missing import missing_things

    state = first_draw(settings)
    if not state.images.exists() and not state.errors().num_rows:
        raise StageError(f"report: {state.folder.shown()} holds no run yet; run `alia-ray run` first")
    missing = missing_things(state)
    for each in missing:
        say(f"report: not all is there: {each}")
    run_report(state, missing=missing)


def _run_stage(path: Path, overrides: list[str] | None, stage: str) -> None:
    from alia_ray.checks.inputs import check_inputs
    from alia_ray.pipeline import STAGES

    settings = load_config(path, overrides)
    listing = check_inputs(settings, [stage])
    state = _state(settings, listing)
    with _cluster(settings.run, stage, writes=True) as cluster:
        STAGES[stage](state, cluster)


def _state(settings: Config, listing: "pa.Table | None" = None) -> "State":
    from alia_ray.state import State

    return State(settings, listing)


if __name__ == "__main__":
    app()
