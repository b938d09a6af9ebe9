"""The stages in their order. Each brings the run folder one stage further and may be run again at no cost.

ingest ─► caption ─► discover ─┐
   └────► train the base ──────┴─► judge, edit ─► train ─► evaluate ─► report
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any, TypeVar

import pyarrow as pa

from alia_ray import results
from alia_ray.checks.inputs import check_ingested, doubtful_things, listing_of
from alia_ray.checks.plan import check_fits
from alia_ray.checks.texts import long_domains
from alia_ray.closing import closing_lines
from alia_ray.cluster.placement import Cluster
from alia_ray.cluster.sharing import Share, share
from alia_ray.config import Config, Model
from alia_ray.config.arms import BASE, Arm
from alia_ray.editing import run_edit, run_judge
from alia_ray.errors import StageError
from alia_ray.meanwhile import meanwhile
from alia_ray.models.revisions import pinned
from alia_ray.progress import Progress, inform, number_of, say
from alia_ray.report.made_with import tell_of_changes
from alia_ray.reporting import run_report
from alia_ray.results import accounting, named, rows_of
from alia_ray.stages import made_with
from alia_ray.stages.caption import caption, captions_table, wanted_captions
from alia_ray.stages.discover import forget_answers, run_discover
from alia_ray.stages.ingest import ingest
from alia_ray.state import State
from alia_ray.store.patience import still_unseen
from alia_ray.store.run_folder import HISTORY, METRICS, PREDICTIONS, RunFolder
from alia_ray.training.evaluation import THRESHOLDS, evaluate_classifier, score_training_set
from alia_ray.training.examples import Examples
from alia_ray.training.lanes import Training, is_begun, train_classifiers
from alia_ray.training.results import read_thresholds
from alia_ray.training.trackers import training_name


def run_all(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> None:
    """Every stage, from the source to the report. Raises ConfigError or StageError.

    `listing`: the source's, where it was listed before.
    """
    state = State(settings, listing)
    begin(settings, state, cluster)
    for name, stage in STAGES.items():
        if name == "caption":
            read_and_train_bases([state], cluster)
        elif name not in ("discover", "train_base"):  # which are done with it
            stage(state, cluster)
        if name == "ingest":
            check_ingested(settings)
    for line in closing_lines(state):
        say(line)


def begin(settings: Config, state: State, cluster: Cluster) -> None:
    """What comes before the first stage of `settings`, of which `state` may be one draw of several."""
    images = listing_of(settings, state.listing)
    check_fits(state.settings, cluster, images)
    say_trial(settings)
    for doubt in doubtful_things(settings, images):
        say(doubt)
    tell_of_changes(replace(state))  # one of its own, which remembers nothing of the images before `ingest`
    results.begin(state, settings)


def say_trial(settings: Config) -> None:
    """Say so where only a part of the images is taken."""
    if settings.trial:
        say(settings.trial)


def run_ingest(state: State, cluster: Cluster) -> None:
    """source -> images"""
    errors = state.images.errors("ingest")
    done = rows_of(state, "ingest", lambda: f"SELECT image_id FROM {state.ledger.rows(state.images, [])}")
    with accounting(state, "ingest", done, lambda: len(errors.ids())):
        ingest(state.settings, cluster, state.listing)


def run_caption(state: State, cluster: Cluster) -> None:
    """images -> captions; nothing to do when the prompts are given"""
    if state.settings.discover.prompts is not None:
        inform("caption: not needed, discover.prompts is set")
        return
    state.check_split("train")
    ledger, table = state.ledger, captions_table(state.settings)

    def captioned() -> str:
        wanted = wanted_captions(state.images)
        return f"SELECT image_id FROM {ledger.rows(table, [])} SEMI JOIN ({wanted}) ON image_id = key"

    def failed() -> int:
        keys = ledger.given(pa.table({"key": pa.array(sorted(table.errors("caption").ids()), pa.string())}))
        return ledger.number(
            f"SELECT count(*) FROM {keys} SEMI JOIN ({wanted_captions(state.images)}) USING (key)"
        )

    with accounting(state, "caption", rows_of(state, "caption", captioned), failed):
        caption(state.settings, state.images, cluster)


def run_discovery(state: State, cluster: Cluster) -> None:
    """captions -> domains"""
    discover_all([state])


def discover_all(states: Sequence[State]) -> None:
    """captions -> domains, for draws of one configuration; one language model serves them all."""
    read_none = states[0].settings.discover.prompts is not None
    first, different = states[0], {}
    for state in states:
        different.setdefault(state.domains_table().fingerprint, state)
    missing = [state for state in different.values() if not state.domains_table().ids()]
    with accounting(first, "discover", named(lambda: _each(first.domains_table().ids()))):
        if missing:
            captions = {state.domains_table().fingerprint: state.captions() for state in missing}
            said = [*first.classes, *first.class_names.values()]
            for state, found in zip(missing, run_discover(captions, said, first.settings), strict=True):
                table = state.domains_table()
                made_with.keep(table, made_with.record_of_discovery(_llm(state.settings)))
                state.folder.write_json(found.transcript, "domains", table.fingerprint, "_transcript.json")
                table.commit(pa.Table.from_pylist(found.domains, schema=table.schema))
    for fingerprint, state in different.items():
        forget_answers(state.settings, fingerprint)
        domains = state.domains().to_pylist()
        if state not in missing:
            inform(f"discover: {number_of(len(domains), 'domains')} of before")
        for domain in domains:
            heard = "" if read_none else f", in {number_of(domain['support'], 'captions')}"
            inform(f"discover: {domain['prompt']!r}{heard}")
        for doubt in long_domains(state.settings, [row["prompt"] for row in domains], state.class_names.values()):
            say(doubt)


def _llm(settings: Config) -> Model | None:
    """The language model that is loaded for the domains, if any."""
    is_ours = settings.discover.prompts is None and settings.llm.base_url is None
    return pinned(settings.llm).model if is_ours else None


def run_train_base(state: State, cluster: Cluster) -> None:
    """images -> the classifier that judges edits (it is the arm `original`) and its class thresholds"""
    train_bases([state], cluster)


def read_and_train_bases(states: Sequence[State], cluster: Cluster) -> None:
    """images -> domains, and the base classifiers: meanwhile where the cluster has room for both, else after that.

    For draws of one configuration. Raises what the first of the two fails of, which ends the other.
    """
    if (shared := _share(states, cluster)) is None:
        _read(states, cluster)
        train_bases(states, cluster)
        return
    inform("train: the base classifier is trained while the captions are made and read")
    with meanwhile(lambda stop: train_bases(states, cluster, shared, stop)):
        _read(states, shared.rest)


def _read(states: Sequence[State], cluster: Cluster) -> None:
    for state in states:
        run_caption(state, cluster)
    discover_all(states)


def _share(states: Sequence[State], cluster: Cluster) -> Share | None:
    """What captions and base classifiers get side by side; None where one of them is there, or has no room."""
    if states[0].settings.discover.prompts is not None:
        return None
    # Here the images are read, by the ledger, which is no second thread's: a base asks of a state nothing else.
    todo = _different([(state, BASE) for state in states], State.history)
    images = max((len(state.examples(split).ids) for state, _ in todo for split in ("train", "val")), default=0)
    return share(states[0].settings, cluster, len(todo), images) if todo else None


def train_bases(
    states: Sequence[State], cluster: Cluster, shared: Share | None = None, stop: Event | None = None
) -> None:
    """images -> base classifiers, for draws of one configuration, side by side where the cluster has room.

    shared, stop: what they get of it beside another stage, and what that sets where they are to end.
    """
    images = {_place(state, BASE): state.count_of("train") for state in states}

    def trained() -> dict[str, int]:
        places = [_place(state, BASE) for state in states if _knows_thresholds(state)]
        return {place: images[place] for place in places}

    with accounting(states[0], "train_base", named(trained)):
        train_arms([(state, BASE) for state in states], cluster, shared.trainings if shared else None, stop)
        for state in states:
            if not _knows_thresholds(state):
                folder, rows = state.arm_folder(BASE), number_of(images[_place(state, BASE)], "images")
                inform(f"train: the class thresholds of the base classifier, over {rows}")
                thresholds = score_training_set(
                    folder.uri(), state.examples("train"), shared.trainers if shared else cluster
                )
                folder.write_json(thresholds, THRESHOLDS)


def _knows_thresholds(state: State) -> bool:
    return read_thresholds(state.arm_folder(BASE), state.classes) is not None


def run_train(state: State, cluster: Cluster) -> None:
    """images and selected edits -> one classifier for each arm"""
    for arm in state.arms:
        if arm.edits and not len(state.selected_column(arm)):
            raise StageError(
                f"train: no edit survived the filters of {arm.name}; look at the verdicts in the report, or "
                "loosen judge.filters"
            )
    train_all([(state, arm) for arm in state.arms], cluster)


def run_evaluate(state: State, cluster: Cluster) -> None:
    """classifiers -> test metrics; the only stage that reads the test split"""
    tell_of_changes(state)
    evaluate_all([(state, arm) for arm in state.arms], cluster)


_EVALUATIONS_AT_ONCE = 4  # each is cheap, and spread over the cluster's tasks itself

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


def check_can_begin(state: State, stage: str) -> None:
    """Raise StageError, which names the command to run first, where what a stage reads is not there yet."""
    is_without_captions = stage == "caption" and state.settings.discover.prompts is not None
    if stage == "ingest" or is_without_captions:
        return
    state.check_split("train")
    if stage == "discover":
        state.captions()
    elif stage in ("judge", "edit"):
        state.thresholds()
        for edits in state.edit_sets:
            state.prompts_of(edits)
    elif stage == "train":
        for arm in state.arms:
            state.training_examples(arm)
    elif stage == "evaluate":
        for arm in state.arms:
            state.test_examples(arm)


# -------------------------------------------------------------------- arms


Trained = Sequence[tuple[State, Arm]]


def train_all(arms: Trained, cluster: Cluster) -> None:
    """Train what is not trained yet, and keep what came of it. What `train_base` has made counts there."""
    bases = {_place(state, BASE) for state, _ in arms if _knows_thresholds(state)}
    images = {_place(state, arm): _training_rows(state, arm) for state, arm in arms}

    def trained() -> dict[str, int]:
        places = {_place(*pair) for pair in arms if pair[0].history(pair[1]) is not None}
        return {place: images[place] for place in places - bases}

    with accounting(arms[0][0], "train", named(trained)):
        train_arms(arms, cluster)


def evaluate_all(arms: Trained, cluster: Cluster) -> None:
    """Measure what is not measured yet, and keep what came of it."""

    def measured() -> dict[str, int]:
        return {
            _place(state, arm): state.count_of("test") for state, arm in arms if state.measured(arm) is not None
        }

    with accounting(arms[0][0], "evaluate", named(measured)):
        evaluate_arms(arms, cluster)


def _place(state: State, arm: Arm) -> str:
    return "/".join(state.arm_path(arm))


def train_arms(arms: Trained, cluster: Cluster, at_once: int | None = None, stop: Event | None = None) -> None:
    """Train what is not trained yet, as `train_classifiers` does."""
    trainings = [_training(state, arm) for state, arm in _different(arms, State.history)]
    if not trainings:
        there = len({_place(*pair) for pair in arms})
        inform(f"train: {number_of(there, 'classifiers')} {'is' if there == 1 else 'are'} there from before")
    for training in trainings:
        record = made_with.record_of_training(training.settings.weights, on_gpu=bool(cluster.gpus))
        made_with.keep_of_training(training.name, RunFolder(training.out), record, goes_on=is_begun(training.out))
    for state, arm in arms:
        if (weights := state.settings.train.weights) not in made_with.NO_FILES:
            made_with.tell_of_other_files(f"train: {_name(state, arm)}", state.arm_folder(arm), (), weights)
    train_classifiers(trainings, cluster, at_once, stop)
    outs = [each.out for each in trainings]
    if unseen := still_unseen(lambda: [out for out in outs if not RunFolder(out).has_file(HISTORY)]):
        raise StageError(
            f"train: {len(unseen)} of {len(outs)} classifiers that were trained are not to be seen from here, "
            f"such as {unseen[0]}; is the run folder the same on every node? Run it again"
        )


def _training(state: State, arm: Arm) -> Training:
    return Training(
        name=_name(state, arm),
        out=state.arm_folder(arm).uri(),
        train=tuple(state.training_examples(arm)),
        val=(state.examples("val"),),
        classes=tuple(state.classes),
        settings=state.training_settings(arm),
        augment=arm.augment,
        seed=state.settings.seed,
        logs=state.results.uri(),
    )


def _name(state: State, arm: Arm) -> str:
    return training_name(arm.name, state.settings.seed)


def evaluate_arms(arms: Trained, cluster: Cluster) -> None:
    """Measure what is not measured yet on the test split."""
    before = {_place(*pair) for pair in arms if State.measured(*pair) is not None}
    todo = _different(arms, State.measured)
    if todo:
        counted = Progress("evaluate", len(todo), unit="classifiers", at_first="starting")
        with counted as progress, ThreadPoolExecutor(_EVALUATIONS_AT_ONCE) as pool:
            asked = [(state.arm_folder(arm), state.test_examples(arm), state.classes) for state, arm in todo]
            for _ in pool.map(lambda each: _evaluate(*each, cluster), asked):  # a state is no thread's to ask
                progress.advance(1)
    for state, arm in arms:
        metrics = state.measured(arm)
        say(
            f"evaluate: {_name(state, arm)}: accuracy {metrics['accuracy']:.3f}, "
            f"worst group {metrics['worst_group_accuracy']:.3f}"
            f"{', as measured before' if _place(state, arm) in before else ''}"
        )


def _evaluate(folder: RunFolder, test: Examples, classes: list[str], cluster: Cluster) -> None:
    metrics, predictions = evaluate_classifier(folder.uri(), test, classes, cluster)
    folder.write_json(metrics, METRICS)
    folder.write_parquet(predictions, PREDICTIONS)


T = TypeVar("T")


def _different(arms: Sequence[tuple[State, Arm]], left: Callable[[State, Arm], Any]) -> list[tuple[State, Arm]]:
    """The arms whose classifier has nothing `left` yet; of those that share a classifier the first one."""
    different: dict[tuple[str, ...], tuple[State, Arm]] = {}
    for state, arm in arms:
        different.setdefault(state.arm_path(arm), (state, arm))
    return [pair for pair in different.values() if left(*pair) is None]


def _training_rows(state: State, arm: Arm) -> int:
    return sum(len(examples.ids) for examples in state.training_examples(arm))


def _each(ids: Iterable[str]) -> dict[str, int]:
    return dict.fromkeys(ids, 1)
