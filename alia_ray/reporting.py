"""report: the run folder -> metrics.json and report.html of one configuration."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from alia_ray import results
from alia_ray.checks.comparison import COMPARISON, comparison_of
from alia_ray.cluster.placement import Cluster
from alia_ray.config import as_yaml
from alia_ray.config.arms import BASE, Arm
from alia_ray.progress import say
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.made_with import lines_of, tell_of_changes
from alia_ray.report.numbers import numbers, shown
from alia_ray.report.page import build_report
from alia_ray.report.sections import acceptance, number_of
from alia_ray.stages.caption import captions_table
from alia_ray.state import State, so_far
from alia_ray.statistics.comparing import Outcome, compare
from alia_ray.store.run_folder import METRICS, PREDICTIONS
from alia_ray.tracked import tell_trackers

T = TypeVar("T")


def run_report(
    state: State, cluster: Cluster | None = None, missing: Sequence[str] = (), replaces: bool = False
) -> None:
    """the run folder -> report.html and metrics.json

    missing: what the page is to say that it lacks. replaces: it may be less than what is there. Raises StageError.
    """
    if not replaces:
        results.check_replaces(state, missing)
    inputs = _report_inputs(state, missing)
    of = shown(inputs)
    metrics = numbers(of, inputs)
    state.results.write_json(metrics, METRICS)
    state.results.write_bytes(inputs.config_yaml.encode(), results.CONFIG)
    state.results.write_bytes(build_report(state.folder, inputs, of).encode(), results.PAGE)
    if state.settings.trial:
        say(f"report: {state.settings.trial}")
    say(f"report: {results.publish(state, is_less=bool(missing) and not replaces)}")
    tell_trackers(state, metrics, inputs.experiment)


def _gathered(state: State, missing: Sequence[str]) -> dict[str, Any]:
    """What the stages and arms left of this configuration, whatever else the run folder holds."""
    stages = results.stages_of(state)
    return {
        "about": results.about(state, stages),
        "arms": arms_of(state),
        "stages": stages,
        "missing": list(missing),
    }


def arms_of(state: State) -> dict[str, dict[str, Any]]:
    """arm -> its metrics, its classifier's place and epoch and, once `original` is measured, how sure they are.

    That is "interval" and "difference".

    Those are as `statistics.comparing.compare` gives them, of a single seed.
    """
    arms, histories = _of_arms(state, state.measured), _of_arms(state, state.history)
    found = {
        arm.name: {
            **arms[arm.name],
            "classifier": "/".join(state.arm_path(arm)),
            "best_epoch": histories.get(arm.name, {}).get("best_epoch"),
        }
        for arm in state.arms
        if arm.name in arms
    }
    predicted = _predictions(state)
    outcomes = [
        Outcome(name, state.settings.seed, {"classifier": metrics["classifier"]}, metrics, predicted[name])
        for name, metrics in found.items()
        if name in predicted
    ]
    if any(outcome.arm == BASE.name for outcome in outcomes):
        for name, compared in compare(outcomes, BASE.name, {}, fresh_draws=False).items():
            found[name] |= {key: compared[key] for key in ("interval", "difference")}
    return found


def _predictions(state: State) -> dict[str, pa.Table]:
    return _of_arms(state, lambda arm: state.arm_folder(arm).read_parquet(PREDICTIONS))


def about_edits(state: State) -> dict[str, Any] | None:
    """How many of the discovered edits survived; None before there are any.

    {"attempts", "kept", "prompts": PROMPT -> {"attempts", "kept", "share"}}
    """
    judged = so_far(state.judged_edits)
    if judged is None:
        return None
    edits = state.ledger.ask(f"SELECT domain_id, verdict, count(*) AS count FROM ({judged}) GROUP BY ALL")
    if not edits.num_rows:
        return None
    prompts = {row["domain_id"]: row["prompt"] for row in state.domains().to_pylist()}
    tried = acceptance(edits, "domain_id", prompts)
    kept = sum(row["kept"] for row in tried)
    return {"attempts": number_of(edits), "kept": kept, "prompts": {row["name"]: row for row in tried}}


def _of_arms(state: State, read: Callable[[Arm], T | None]) -> dict[str, T]:
    """What `read` gives of every arm that has it."""
    found = {arm.name: so_far(lambda arm=arm: read(arm)) for arm in state.arms}
    return {name: value for name, value in found.items() if value is not None}


def _report_inputs(state: State, missing: Sequence[str]) -> ReportInputs:
    tell_of_changes(state)
    settings, metrics = state.settings, _gathered(state, missing)
    histories = _of_arms(state, state.history)
    history = {arm: record["epochs"] for arm, record in histories.items()}
    return ReportInputs(
        images=state.images,
        judge=settings.judge,
        captions=captions_table(settings),
        domains=so_far(state.domains_table),
        edits=so_far(lambda: state.edits),
        wanted=so_far(lambda: _wanted(state)),
        selected=_added(state),
        experiment=_experiment(state),
        metrics=metrics,
        predictions={name: table for name, table in _predictions(state).items() if name in metrics["arms"]},
        thresholds=so_far(state.thresholds) or {},
        transcript=so_far(state.transcript),
        errors=results.errors_of(state),
        history=history,
        prefix=settings.discover.prefix,
        made_with=lines_of(state),
        missing=list(missing),
        trial=settings.trial,
        seed=settings.run.seed,
        keeps_rejected=state.edit_settings("discovered").edit.keep_rejected,
        about=metrics["about"],
        config_yaml=as_yaml(state.whole or settings),
    )


def _wanted(state: State) -> str:
    """SQL of the ids of the discovered edits that are needed. Raises StageError before that is known."""
    needed = state.ledger.keep("report, needed", state.needed("discovered"))
    return f"SELECT edit_id FROM {needed}"


def _added(state: State) -> pa.StringArray:
    """The discovered edits that the arm of the headline trains on: the first one that adds any."""
    arm = next((arm for arm in state.arms if arm.edits == "discovered"), None)
    found = so_far(lambda: state.selected_column(arm)) if arm else None
    return pa.array([], pa.string()) if found is None else found


def _experiment(state: State) -> dict[str, Any] | None:
    """The comparison of an experiment, unless it is of another configuration, or of other images."""
    if state.whole is None:
        return None
    found, why = comparison_of(state.whole)
    if why is not None:
        say(f"report: leaves out {COMPARISON}: {why}; run `alia-ray experiment` again")
    return found
