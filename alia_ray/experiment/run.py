"""Arms × seeds × amounts over one run folder.

Every draw of the data goes through the pipeline's stages once; what arms share (captions, domains, edits, the
base classifier) is made once, since each lies under what it depends on. Run again after a kill, an experiment
repeats nothing that was finished.
"""

import pyarrow as pa

from alia_ray import pipeline
from alia_ray.checks.comparison import COMPARISON, arms_of, draws, measured_on
from alia_ray.checks.inputs import check_ingested
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, Experiment
from alia_ray.config.arms import BASE, Arm
from alia_ray.progress import say
from alia_ray.report.comparison import as_csv, as_markdown, seeds_as_csv
from alia_ray.reporting import run_report
from alia_ray.state import State
from alia_ray.statistics.comparing import Outcome, compare
from alia_ray.store.run_folder import PREDICTIONS
from alia_ray.tracked import complete_tensorboard


def run_experiment(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> None:
    """Every arm of every seed, their comparison, and the report. Raises ConfigError and StageError.

    `listing`: the source's, where it was listed before.
    """
    arms = arms_of(settings, listing)
    states = draws(settings, arms, listing)
    pipeline.begin(settings, states[0], cluster)
    _make_edits(states, arms, cluster)
    trainings = [(state, arm) for state in states for arm in arms]
    pipeline.train_all(trainings, cluster)
    pipeline.evaluate_all(trainings, cluster)
    write_comparison(settings, states, arms)
    run_report(states[0])
    for state in states:
        complete_tensorboard(state, arms)
    say(f"experiment: {states[0].folder.shown(COMPARISON)}, .md, .csv and experiment_seeds.csv")


def _make_edits(states: list[State], arms: list[Arm], cluster: Cluster) -> None:
    """Everything before the arms are trained, each stage for all draws before the one that needs it."""
    for state in states:
        pipeline.run_ingest(state, cluster)
        check_ingested(state.settings)
    if any(arm.edits == "discovered" for arm in arms):
        pipeline.read_and_train_bases(states, cluster)
    else:
        pipeline.train_bases(states, cluster)
    if any(arm.edits for arm in arms):
        # one draw after the other: what they share is edited for the first, and judged for the rest
        for state in states:
            for stage in (pipeline.run_judge, pipeline.run_edit):
                stage(state, cluster)


# -------------------------------------------------------------------- the comparison


def write_comparison(settings: Config, states: list[State], arms: list[Arm]) -> None:
    """Gather what the arms left: experiment.json, .md, .csv, and experiment_seeds.csv. Raises StageError."""
    chosen = settings.experiment or Experiment()
    outcomes = [_outcome(state, arm) for state in states for arm in arms]
    controls = {arm.control_of.name: arm.name for arm in arms if arm.control_of}
    compared = compare(outcomes, BASE.name, controls, chosen.fresh_draws)
    for arm in arms:
        compared[arm.name]["amount"] = arm.amount
    result = {
        "seeds": chosen.seeds,
        **measured_on(settings, states),
        "equal_steps": settings.train.equal_steps,
        "num_extra": settings.select.num_extra,
        "test_images": outcomes[0].predictions.num_rows,
        **({"trial": settings.trial} if settings.trial else {}),
        "arms": compared,
    }
    folder, text = states[0].results, as_markdown(result)
    folder.write_json(result, COMPARISON)
    folder.write_bytes(text.encode(), "experiment.md")
    folder.write_bytes(as_csv(result).encode(), "experiment.csv")
    folder.write_bytes(seeds_as_csv(result).encode(), "experiment_seeds.csv")
    for line in ("", *text.splitlines(), ""):
        say(line)


def _outcome(state: State, arm: Arm) -> Outcome:
    """What an arm's training and test left in the run folder."""
    history = state.history(arm)
    epochs = history["epochs"]
    last_quarter = [record["val_class_balanced_accuracy"] for record in epochs[-max(1, len(epochs) // 4) :]]
    originals = state.count_of("train")
    facts = {
        "added": history["train_images"] - originals,
        "added_for_each": history["train_images"] / originals - 1,
        "epochs": len(epochs),
        "steps": len(epochs) * -(-history["train_images"] // state.settings.train.batch_size),
        "best_epoch": history["best_epoch"],
        "last_loss": epochs[-1]["loss"],
        "val_last_quarter": [min(last_quarter), max(last_quarter)],
        "seconds": history["seconds"],
        "classifier": "/".join(state.arm_path(arm)),
    }
    predictions = state.arm_folder(arm).read_parquet(PREDICTIONS)
    return Outcome(arm.name, state.settings.seed, facts, state.measured(arm), predictions)
