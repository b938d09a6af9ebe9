"""The `alia-ray` command. Thin: it reads the configuration, refuses a bad one, and calls a stage.

Exit codes: 0 done; 1 a stage failed; 2 the configuration or the command line is wrong; 130 interrupted; 143
terminated. Nothing heavy is imported before a command runs, so `--help` answers at once.
"""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alia_ray.cli.config import config as config_command
from alia_ray.cli.errors import errors
from alia_ray.cli.init import init
from alia_ray.cli.leaving import exit_codes
from alia_ray.cli.miniature import miniature
from alia_ray.cli.options import ConfigPath, Overrides, Told, beginning_with, keys_of
from alia_ray.config import Config, Run, load_config
from alia_ray.config.arms import ARMS
from alia_ray.errors import DamagedError, StageError
from alia_ray.miniature.recipes import DEMO
from alia_ray.plain_text import plain_line
from alia_ray.progress import say
from alia_ray.running import load, on_cluster

if TYPE_CHECKING:
    import pyarrow as pa

    from alia_ray.state import State

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(init)
app.command("config")(config_command)
app.add_typer(miniature, name="miniature")


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
def run(config: ConfigPath, overrides: Overrides = None, told: Told = None) -> None:
    """Run every stage, from the source to the report. Run it again to resume."""
    with exit_codes():
        _run(*load(config, overrides))


@app.command()
def demo(overrides: Overrides = None, told: Told = None) -> None:
    """Run the whole method on the painted miniature world: no GPU, no downloads, in three to eight minutes."""
    with exit_codes():
        _run(*load(DEMO, overrides))


@app.command(epilog=keys_of("experiment"))
def experiment(config: ConfigPath, overrides: Overrides = None, told: Told = None) -> None:
    """Compare arms over seeds and amounts in one run folder: tables, intervals, plots. Run it again to resume."""
    with exit_codes():
        settings, listing = load(config, overrides)
        from alia_ray.experiment.run import run_experiment

        with on_cluster(settings.run, "experiment", writes=True) as cluster:
            run_experiment(settings, cluster, listing)


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None) -> None:
    """Say which pools would run where, how many rows each stage has, and what cannot be scheduled."""
    with exit_codes():
        settings, listing = load(config, overrides)
        from alia_ray.checks.plan import describe

        with on_cluster(settings.run, None) as cluster:
            described = describe(settings, cluster, listing)
        typer.echo(described)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", help="Also what this run needs.")] = None,
    overrides: Overrides = None,
) -> None:
    """Say what machine and cluster have, and all that stands in a run's way; exit code 2 where something does."""
    with exit_codes():
        settings = load_config(config, overrides) if config else None
        from alia_ray.checks.doctor import examine

        run = settings.run if settings else Run(folder=".")
        with on_cluster(run.without_gpus(), None):
            findings = list(examine(settings))
        for finding in findings:
            typer.echo(plain_line(str(finding)))
        if any(finding.ok is False for finding in findings):
            raise typer.Exit(2)


def _stage_command(name: str, stage: str, help: str) -> None:
    """Add the command `name`, which runs one stage of the pipeline."""

    def command(config: ConfigPath, overrides: Overrides = None, told: Told = None) -> None:
        with exit_codes():
            _run_stage(config, overrides, stage)

    app.command(name, help=help, epilog=keys_of(name))(command)


_stage_command("ingest", "ingest", "Read the source into the images table.")
_stage_command("caption", "caption", "Caption the training images with BLIP.")
_stage_command("discover", "discover", "Summarise the captions into domain prompts with the LLM.")
_stage_command(
    "edit", "edit", "Edit the training images under the prompts, and judge the edits; after `train --base`."
)
_stage_command("judge", "judge", "Score edits again that exist under other judge settings; edits nothing.")


@app.command(epilog=keys_of("train"))
def train(
    config: ConfigPath,
    overrides: Overrides = None,
    base: Annotated[
        bool, typer.Option(help="Only the base classifier, which judges the edits: before `edit`.")
    ] = False,
    told: Told = None,
) -> None:
    """Train the classifier of every arm."""
    with exit_codes():
        _run_stage(config, overrides, "train_base" if base else "train")


_stage_command("evaluate", "evaluate", "Measure every trained arm on the test split.")


@app.command()
def report(
    config: ConfigPath,
    overrides: Overrides = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where it says less than the page that is there.")
    ] = False,
    told: Told = None,
) -> None:
    """Write report.html and metrics.json from what the run folder holds; needs no cluster."""
    with exit_codes():
        settings = load_config(config, overrides)
        try:
            _report(settings, replace)
        except DamagedError:  # which was found at the pictures, when it had been counted before
            _report(settings, replace)


app.command()(errors)


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
        typer.Option(
            help="Whose training images: `alia`, `original`, `alia_confidence_paper`, `real_data`, …",
            autocompletion=beginning_with(ARMS),
        ),
    ] = "alia",
    added_only: Annotated[
        bool, typer.Option("--added-only", help="Only what the arm adds to the originals, such as the kept edits.")
    ] = False,
    told: Told = None,
) -> None:
    """Write what an arm trains on, and val and test, for any trainer: originals and kept edits, each with where it
    came from. Run it again to finish after a kill. See docs/export.md.
    """
    with exit_codes():
        settings = load_config(config, overrides)
        from alia_ray.export.plan import plan_export, write_export

        planned = plan_export(_state(settings), out, format, arm, added_only)
        with on_cluster(settings.run.without_gpus(), "export") as cluster:
            write_export(planned, cluster)


# -------------------------------------------------------------------- running


def _run(settings: Config, listing: "pa.Table | None") -> None:
    from alia_ray.pipeline import run_all

    with on_cluster(settings.run, "run", writes=True) as cluster:
        run_all(settings, cluster, listing)


def _report(settings: Config, replaces: bool) -> None:
    """Report what there is, and say what there is not."""
    from alia_ray.checks.comparison import first_draw
    from alia_ray.report.missing import missing_things
    from alia_ray.reporting import run_report
    from alia_ray.results import errors_of

    state = first_draw(settings)
    if not state.images.exists() and not errors_of(state).num_rows:
        raise StageError(f"report: {state.folder.shown()} holds no run yet; run `alia-ray run` first")
    missing = missing_things(state)
    for each in missing:
        say(f"report: not all is there: {each}")
    run_report(state, missing=missing, replaces=replaces)


def _run_stage(path: Path, overrides: list[str] | None, stage: str) -> None:
    from alia_ray.checks.inputs import check_inputs
    from alia_ray.pipeline import STAGES, check_can_begin, say_trial
    from alia_ray.store.lease import check_free
    from alia_ray.store.run_folder import RunFolder

    settings = load_config(path, overrides)
    listing = check_inputs(settings, [stage])
    say_trial(settings)
    try:
        check_can_begin(_state(settings), stage)  # a state of its own: others may work in the folder yet
    except StageError:
        check_free(RunFolder(settings.run.folder))  # who works there may be making what is missing
        raise
    state = _state(settings, listing)
    with on_cluster(settings.run, stage, writes=True) as cluster:
        STAGES[stage](state, cluster)


def _state(settings: Config, listing: "pa.Table | None" = None) -> "State":
    from alia_ray.state import State

    return State(settings, listing)
