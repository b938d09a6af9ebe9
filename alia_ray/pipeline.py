"""The stages in their order. Each brings the run folder one stage further and may be run again at no cost.

ingest ─► caption ─► discover ─┐
   └────► train the base ──────┴─► judge, edit ─► train ─► evaluate ─► report
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa

from alia_ray.arms import ARMS, BASE, Arm
from alia_ray.cluster import Cluster
from alia_ray.config import Config, as_yaml
from alia_ray.errors import StageError
from alia_ray.plan import check_fits
from alia_ray.progress import say
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.page import build_report
from alia_ray.run_folder import Table
from alia_ray.stages.caption import caption, captions_table
from alia_ray.stages.discover import run_discover
from alia_ray.stages.edit import edit, wanted_ids
from alia_ray.stages.evaluate import evaluate_classifier, score_training_set
from alia_ray.stages.ingest import ingest
from alia_ray.stages.judge import judge
from alia_ray.stages.train import train_classifier
from alia_ray.state import State


def run_all(settings: Config, cluster: Cluster) -> None:
    """Every stage, from the source to the report. Raises ConfigError or StageError."""
    check_fits(settings, cluster)
    state = State(settings)
    state.folder.write_bytes(as_yaml(settings).encode(), "config.yaml")
    for stage in STAGES.values():
        stage(state, cluster)


def run_ingest(state: State, cluster: Cluster) -> None:
    """source -> images"""
    with _timed(state, "ingest", lambda: _table_counts(state, "ingest", state.images)):
        ingest(state.settings, cluster)


def run_caption(state: State, cluster: Cluster) -> None:
    """images -> captions; nothing to do when the prompts are given"""
    if state.settings.discover.prompts is not None:
        say("caption: not needed, discover.prompts is set")
        return
    state.ids_of("train")
    table = captions_table(state.settings)
    with _timed(state, "caption", lambda: _table_counts(state, "caption", table)):
        caption(state.settings, state.images, cluster)


def run_discovery(state: State, cluster: Cluster) -> None:
    """captions -> domains"""
    table = state.domains_table()
    with _timed(state, "discover", lambda: (len(table.ids()), 0)):
        if not table.exists():
            discovery = run_discover(state.captions(), state.classes, state.settings)
            state.folder.write_json(discovery.transcript, "domains", table.fingerprint, "_transcript.json")
            table.commit(pa.Table.from_pylist(discovery.domains, schema=table.schema))
    for domain in table.read().to_pylist():
        say(f"discover: {domain['prompt']!r}, in {domain['support']} captions")


def run_train_base(state: State, cluster: Cluster) -> None:
    """images -> the classifier that judges edits (it is the arm `original`) and its class thresholds"""
    with _timed(state, "train_base", lambda: (len(state.ids_of("train")), 0)):
        folder = _train_arm(state, BASE, cluster)
        if state.arm_json(BASE, "thresholds.json") is None:
            thresholds = score_training_set(folder, state.examples("train"), cluster)
            state.folder.write_json(thresholds, *state.arm_path(BASE), "thresholds.json")


def run_judge(state: State, cluster: Cluster) -> None:
    """edits that are scored otherwise -> the same edits, scored as configured; edits nothing"""
    thresholds, base = state.thresholds(), state.folder.uri(*state.arm_path(BASE))
    with _timed(state, "judge", lambda: _table_counts(state, "judge", state.edits)):
        wanted = wanted_ids(state.settings, state.images, state.domains())
        judge(state.settings, wanted, state.edits, base, thresholds, cluster)


def run_edit(state: State, cluster: Cluster) -> None:
    """images × domains -> edits, judged"""
    thresholds, base = state.thresholds(), state.folder.uri(*state.arm_path(BASE))
    with _timed(state, "edit", lambda: _table_counts(state, "edit", state.edits)):
        edit(state.settings, state.images, state.domains(), state.edits, base, thresholds, cluster)


def run_train(state: State, cluster: Cluster) -> None:
    """images and selected edits -> one classifier for each arm"""
    arms = [ARMS[name] for name in state.settings.train.arms]
    with _timed(state, "train", lambda: (sum(_training_rows(state, arm) for arm in arms), 0)):
        for arm in arms:
            _train_arm(state, arm, cluster)


def run_evaluate(state: State, cluster: Cluster) -> None:
    """classifiers -> test metrics; the only stage that reads the test split"""
    arms = [ARMS[name] for name in state.settings.train.arms]
    with _timed(state, "evaluate", lambda: (len(state.ids_of("test")) * len(arms), 0)):
        for arm in arms:
            _evaluate_arm(state, arm, cluster)


def run_report(state: State, cluster: Cluster | None = None) -> None:
    """the run folder -> report.html and metrics.json"""
    metrics = write_metrics(state)
    page = build_report(state.folder, _report_inputs(state, metrics))
    state.folder.write_bytes(page.encode(), "report.html")
    say(f"report: {state.folder.file('report.html')}")


STAGES: dict[str, Callable[[State, Cluster], None]] = {
    "ingest": run_ingest,
    "caption": run_caption,
    "discover": run_discovery,
    "train_base": run_train_base,
    "judge": run_judge,
    "edit": run_edit,
    "train": run_train,
    "evaluate": run_evaluate,
    "report": run_report,
}
"""In the order in which a run takes them."""


# -------------------------------------------------------------------- arms


def _train_arm(state: State, arm: Arm, cluster: Cluster) -> str:
    """Train an arm if it is not trained yet; returns the classifier's folder."""
    path = state.arm_path(arm)
    out = state.folder.uri(*path)
    train_classifier(
        train=state.training_examples(arm),
        val=[state.examples("val")],
        classes=state.classes,
        config=state.settings.train,
        augment=arm.augment,
        seed=state.settings.run.seed,
        out=out,
        name=f"{arm.name}-{path[-1]}",
        cluster=cluster,
    )
    return out


def _evaluate_arm(state: State, arm: Arm, cluster: Cluster) -> None:
    path = state.arm_path(arm)
    if state.folder.read_json(*path, "metrics.json") is None:
        folder = state.folder.uri(*path)
        metrics = evaluate_classifier(folder, state.examples("test"), state.classes, cluster)
        state.folder.write_json(metrics, *path, "metrics.json")
    metrics = state.folder.read_json(*path, "metrics.json")
    say(
        f"evaluate: {arm.name}: accuracy {metrics['accuracy']:.3f}, "
        f"worst group {metrics['worst_group_accuracy']:.3f}"
    )


def _training_rows(state: State, arm: Arm) -> int:
    return sum(len(examples.ids) for examples in state.training_examples(arm))


# -------------------------------------------------------------------- bookkeeping


@contextmanager
def _timed(state: State, stage: str, counts: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """Add a stage's seconds to those of earlier tries, failed ones too, and keep its (rows, errors)."""
    stats = state.folder.read_json("stages", f"{stage}.json") or {"rows": 0, "errors": 0, "seconds": 0.0}
    started = time.perf_counter()
    try:
        yield
        stats["rows"], stats["errors"] = counts()
    finally:
        stats["seconds"] = round(stats["seconds"] + time.perf_counter() - started, 3)
        state.folder.write_json(stats, "stages", f"{stage}.json")


def _table_counts(state: State, stage: str, table: Table) -> tuple[int, int]:
    return len(table.ids()), len(table.errors(stage).ids())


def write_metrics(state: State) -> dict[str, Any]:
    """Gather metrics.json from what the stages and arms left: {"arms": {...}, "stages": {...}}."""
    stages = {name: state.folder.read_json("stages", f"{name}.json") for name in STAGES}
    metrics = {
        "arms": _of_arms(state, "metrics.json"),
        "stages": {name: stats for name, stats in stages.items() if stats is not None},
    }
    state.folder.write_json(metrics, "metrics.json")
    return metrics


def _of_arms(state: State, name: str) -> dict[str, Any]:
    """A JSON file of every arm that has it."""
    arms = state.settings.train.arms
    found = {arm: _so_far(lambda arm=arm: state.arm_json(ARMS[arm], name)) for arm in arms}
    return {arm: value for arm, value in found.items() if value is not None}


T = TypeVar("T")


def _so_far(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None where its stage has not run: a report may be asked for at any time."""
    try:
        return read()
    except StageError:
        return None


def _report_inputs(state: State, metrics: dict[str, Any]) -> ReportInputs:
    settings = state.settings
    edits = _so_far(state.wanted_edits)
    history = {arm: record["epochs"] for arm, record in _of_arms(state, "history.json").items()}
    return ReportInputs(
        images=state.images,
        judge=settings.judge,
        captions=captions_table(settings),
        domains=_so_far(state.domains_table),
        edits=_so_far(lambda: state.edits),
        wanted=None if edits is None else edits.column("edit_id").to_pylist(),
        selected=_so_far(state.selected) or [],
        metrics=metrics,
        thresholds=_so_far(state.thresholds) or {},
        transcript=_so_far(state.transcript),
        errors=state.errors(),
        history=history,
        prefix=settings.discover.prefix,
        seed=settings.run.seed,
        config_yaml=as_yaml(settings),
    )
