"""What a configuration gave, beside that of others over the same run folder.

    RUN/results/NAME/config.yaml          NAME: of all that its results depend on (`config/results.py`)
                     stages/STAGE.json    how many rows there are, how many of them were made for it, when and how
                     metrics.json, report.html, experiment.*

What was written last lies in RUN itself as well, where people look for it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import yaml

from alia_ray.command import typed
from alia_ray.config import Config, as_yaml
from alia_ray.errors import FullDiskError, StageError, shortened
from alia_ray.progress import say
from alia_ray.report.made_with import devices_of
from alia_ray.stages.caption import captions_table, wanted_captions
from alia_ray.state import State, so_far
from alia_ray.store.run_folder import METRICS, RunFolder, Table
from alia_ray.store.writing import delete

CONFIG, PAGE = "config.yaml", "report.html"
EXPERIMENT = ("experiment.json", "experiment.md", "experiment.csv", "experiment_seeds.csv")
_NOTHING_YET = {"rows": 0, "made": 0, "errors": 0, "seconds": 0.0, "ended": None, "command": None}
_STAGES = ("ingest", "caption", "discover", "train_base", "judge", "edit", "train", "evaluate")
_SHARED = ("ingest", "caption", "edit")  # what draws on the same pictures find made by the first


def begin(state: State, settings: Config) -> None:
    """Keep the configuration beside what it will give, and say what it has otherwise than that of the page."""
    text = as_yaml(settings)
    state.results.write_bytes(text.encode(), CONFIG)
    if state.folder.has_file(METRICS):
        if differences := _differences(state.folder, text):
            where, found = state.folder.shown(), shortened(differences)
            say(f"run: the page in {where} is of other settings: {found}; it stays under results/")
    else:
        state.folder.write_bytes(text.encode(), CONFIG)


def _differences(folder: RunFolder, text: str) -> list[str]:
    """Which keys the configuration of the page has otherwise: "edit.steps: 8, now 50"."""
    try:
        before = dict(leaves(yaml.safe_load(folder.read_bytes(CONFIG))))
    except (FileNotFoundError, yaml.YAMLError):
        return []
    now = dict(leaves(yaml.safe_load(text)))
    return [
        f"{key}: {_short(before.get(key))}, now {_short(now.get(key))}"
        for key in {**before, **now}
        if before.get(key) != now.get(key) and key != "run.folder"
    ]


def leaves(tree: Any, *above: str) -> Iterator[tuple[str, Any]]:
    """The keys of a configuration, as `--set` takes them, with their values."""
    if not isinstance(tree, dict):
        yield ".".join(above), tree
        return
    for key, value in tree.items():
        yield from leaves(value, *above, str(key))


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


# -------------------------------------------------------------------- what the stages did


Done = Callable[[], tuple[int, int]]
"""How many rows there are of a stage, and how many of them were made since this was set up."""


def named(there: Callable[[], dict[str, int]]) -> Done:
    """`Done` of things with names, each of which stands for a number of rows. there: those that there are."""
    before = set(there())

    def done() -> tuple[int, int]:
        after = there()
        return sum(after.values()), sum(after[name] for name in after.keys() - before)

    return done


def rows_of(state: State, stage: str, ids: Callable[[], str]) -> Done:
    """`Done` of rows. ids: SQL of the ids (`image_id`) of those that there are."""
    ledger = state.ledger
    before = ledger.keep(f"{stage}, before", ids())

    def done() -> tuple[int, int]:
        now = ids()
        new = f"SELECT count(*) FROM ({now}) ANTI JOIN {before} USING (image_id)"
        return ledger.number(f"SELECT count(*) FROM ({now})"), ledger.number(new)

    return done


@contextmanager
def accounting(state: State, stage: str, done: Done, failed: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Keep what a stage has made for this configuration, and in which time.

    failed: how many rows could not be made. The time of a try that made nothing does not count, so a run that
    finds everything, and one that fails over and over, change no number. Raises StageError where the disk is full,
    which names no stage.
    """
    started = time.perf_counter()
    try:
        yield
    except FullDiskError as error:
        raise StageError(f"{stage}: {error}") from error
    except BaseException:
        with suppress(StageError, OSError):  # what has happened matters more
            _account(state, stage, done(), failed(), time.perf_counter() - started, is_over=False)
        raise
    _account(state, stage, done(), failed(), time.perf_counter() - started, is_over=True)


def _account(state: State, stage: str, done: tuple[int, int], errors: int, seconds: float, is_over: bool) -> None:
    stats = _stats(state, stage)
    rows, made = done
    is_first = is_over and stats["ended"] is None
    if made or is_first:
        stats["made"] += made
        stats["seconds"] = round(stats["seconds"] + seconds, 3)
        stats["ended"] = datetime.now(UTC).isoformat(timespec="seconds") if is_over else None
        stats["command"] = typed()
    if stats["rows"] != rows or stats["errors"] != errors or made or is_first:
        state.results.write_json({**stats, "rows": rows, "errors": errors}, *_file(state, stage))


def made_before(state: State, stage: str) -> int:
    """How many rows of a stage earlier commands have made for this configuration."""
    return _stats(state, stage)["made"]


def _stats(state: State, stage: str) -> dict[str, Any]:
    return {**_NOTHING_YET, **(state.results.read_json(*_file(state, stage), keys=_NOTHING_YET) or {})}


def _file(state: State, stage: str) -> tuple[str, str]:
    return "stages", f"{stage}.json" if state.whole is None else f"{stage}@{state.settings.seed}.json"


def stages_of(state: State) -> dict[str, dict[str, Any]]:
    """stage -> {"rows", "made", "reused", "errors", "seconds", "ended", "command"}, over an experiment's draws.

    Of the rows those are made that were made for this configuration; the others were there from before. Rows that
    draws share, since they have the same pictures, count once.
    """
    folder = state.results
    listed = folder.fs.get_file_info(pafs.FileSelector(folder.file("stages"), allow_not_found=True))
    names = sorted(info.base_name for info in listed if info.base_name.endswith(".json"))
    found = {}
    for stage in _STAGES:
        of_stage = [name for name in names if name.removesuffix(".json").split("@")[0] == stage]
        kept = [folder.read_json("stages", name, keys=_NOTHING_YET) for name in of_stage]
        if kept := [stats for stats in kept if stats is not None]:
            last = max(kept, key=lambda stats: stats["ended"] or "")
            of_all = max if stage in _SHARED and not _has_fresh_draws(state) else sum
            sums = {key: of_all(stats[key] for stats in kept) for key in ("rows", "errors")}
            sums["made"] = sum(stats["made"] for stats in kept)
            sums["reused"] = max(sums["rows"] - sums["made"], 0)
            sums["seconds"] = round(sum(stats["seconds"] for stats in kept), 3)
            found[stage] = {**sums, "ended": last["ended"], "command": last["command"]}
    return found


def _has_fresh_draws(state: State) -> bool:
    """Whether each draw of an experiment has pictures of its own."""
    return state.whole is not None and state.whole.experiment is not None and state.whole.experiment.fresh_draws


def about(state: State, stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a page says of where it comes from.

    {"configuration", "version", "date", "command", "devices", "trial"}; trial: that it is of a part of the images,
    a sentence; null where it is not.
    Date and command are of what was made last, and not of the page, so that a page written again is the same.
    """
    last = max(stages.values(), key=lambda stats: stats["ended"] or "", default=_NOTHING_YET)
    return {
        "configuration": state.results.name,
        "version": version("alia-ray"),
        "date": last["ended"],
        "command": last["command"],
        "devices": devices_of(state),
        "trial": state.settings.trial,
    }


# -------------------------------------------------------------------- the page


def check_replaces(state: State, missing: list[str]) -> None:
    """Raise StageError where the page of this configuration is whole, and would be replaced by less."""
    if missing and is_whole(state.results):
        raise StageError(
            f"report: {state.results.shown(PAGE)} is whole, and now not all is there: {missing[0]}; make it again "
            "as this says, or give --replace for a page of what is left"
        )


def is_whole(folder: RunFolder) -> bool:
    """Whether a folder holds metrics to which nothing was missing; older releases did not say."""
    metrics = folder.read_json(METRICS)
    return metrics is not None and not metrics.get("missing")


def publish(state: State, is_less: bool) -> str:
    """Put the page, and what it is of, where people look for it, and say where it is.

    is_less: something is missing, so that a whole page of other settings stays where it is.
    """
    folder, results = state.folder, state.results
    if is_less and is_whole(folder):
        say(f"report: {folder.shown(PAGE)} stays as it is: it is of other settings, and whole")
        return results.shown(PAGE)
    for name in (CONFIG, *EXPERIMENT, METRICS, PAGE):
        if results.has_file(name):
            folder.write_bytes(results.read_bytes(name), name)
        elif name in EXPERIMENT and folder.has_file(name):  # of the page before this one
            delete(folder.fs, folder.file(name))
    return folder.shown(PAGE)


# -------------------------------------------------------------------- what failed


def errors_of(state: State) -> pa.Table:
    """Every row that failed in any stage under this configuration, and not what failed under another one."""
    found = [state.images.errors("ingest").read()]
    if so_far(lambda: state.count_of("train")) is not None:
        found.append(
            _failed_of(state, captions_table(state.settings).errors("caption"), wanted_captions(state.images))
        )
    needed = [so_far(lambda each=each: state.needed(each)) for each in state.edit_sets]
    if edits := " UNION ALL ".join(f"SELECT edit_id AS key FROM ({query})" for query in needed if query):
        found += [_failed_of(state, state.edits.errors(stage), edits) for stage in ("edit", "judge")]
    return pa.concat_tables(found)


def _failed_of(state: State, errors: Table, keys: str) -> pa.Table:
    """The errors of some rows, ordered by key. keys: SQL of those (`key`)."""
    kept = state.ledger.keep("errors", errors.read())
    found = state.ledger.ask(f"SELECT * FROM {kept} SEMI JOIN ({keys}) USING (key) ORDER BY key")
    return found.select(errors.schema.names).cast(errors.schema)
