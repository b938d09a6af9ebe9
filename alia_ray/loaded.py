"""A run from Python: what its folder holds, as Arrow tables and PIL images; and how to run one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from PIL import Image

from alia_ray.checks.comparison import first_draw
from alia_ray.config import Config, ConfigError, load_config, parse_config
from alia_ray.config.arms import ARMS, Arm
from alia_ray.config.filters import ConfidenceRule, Filter, Variant
from alia_ray.config.keys import did_you_mean
from alia_ray.config.places import Place
from alia_ray.config.reading import read_yaml
from alia_ray.edits.verdicts import judged
from alia_ray.errors import StageError, one_line, shortened
from alia_ray.images import decode_rgb
from alia_ray.plain_text import plain_line
from alia_ray.report.pictures import read_images
from alia_ray.results import CONFIG, errors_of
from alia_ray.stages.caption import captions_table
from alia_ray.stages.ingest import unfinished
from alia_ray.state import State, so_far
from alia_ray.store.damage import only_looking, only_reading
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import CAPTIONS, EDITS, IMAGES

Overrides = Sequence[str] | Mapping[str, Any]
"""["edit.steps=20"], as after `--set`, or {"edit.steps": 20}."""

_METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy")  # of the small page


def load(run: "str | PathLike[str] | Config | LoadedRun", overrides: Overrides = ()) -> "LoadedRun":
    """What a run left, whole or half done. Nothing is read before it is asked for, and nothing is ever written.

    run: a run folder, as a path or URI, for what its page is of; its results/NAME, for what another configuration
    gave; or a configuration or the path of its YAML file. A folder is read where it lies.
    Raises ConfigError for a folder without a configuration, and for a configuration that is wrong.
    """
    return LoadedRun(settings_of(run, overrides))


def run(
    config: "str | PathLike[str] | Mapping[str, Any] | Config | LoadedRun", overrides: Overrides = ()
) -> "LoadedRun":
    """Run every stage, from the source to the report, as `alia-ray run`; again, to resume. Returns what there is.

    config: a YAML file, the same as plain data, or what was loaded, whose run then goes on.
    A Ray that is initialised already is used and left as it is. An interrupt loses what was under way and no more.
    Raises ConfigError and StageError; what led to another error is in the log that its note names.
    """
    from alia_ray.pipeline import run_all
    from alia_ray.running import on_cluster, ready

    settings = settings_of(config, overrides)
    with only_reading():  # until the run folder is held
        listing = ready(settings)
        with on_cluster(settings.run, "run", writes=True) as cluster:
            run_all(settings, cluster, listing)
    return LoadedRun(settings)


def settings_of(given: Any, overrides: Overrides = ()) -> Config:
    """The configuration that is meant by any of what `load` and `run` take. Raises ConfigError."""
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in overrides.items()]
    if isinstance(given, LoadedRun):
        given = given.settings
    if isinstance(given, Config):
        return parse_config(given.model_dump(mode="json"), overrides) if overrides else given
    if isinstance(given, Mapping):
        return parse_config(dict(given), overrides)
    text = str(given)
    if text.endswith((".yaml", ".yml")) and "://" not in text and not Path(text).is_dir():
        return load_config(text, list(overrides))
    return _settings_in(text, overrides)


def _settings_in(folder: str, overrides: Overrides) -> Config:
    """The configuration of a run folder's page, or of RUN/results/NAME; `run.folder` is where it lies now."""
    try:
        place = RunFolder(Place.of(folder))
        tree = read_yaml(place.read_bytes(CONFIG).decode())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{plain_line(folder)} is no run folder: it holds no {CONFIG}; give the folder of a run, as "
            "run.folder names it, or a configuration"
        ) from error
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{CONFIG} of {plain_line(folder)} cannot be read: {one_line(error)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("run"), dict):
        raise ConfigError(f"{CONFIG} of {plain_line(folder)} is not that of a run")
    if place.parent.name == "results":
        place = place.parent.parent
    return parse_config({**tree, "run": {**tree["run"], "folder": place.path}}, overrides)


class LoadedRun:
    """A run folder as a configuration sees it: tables as `pyarrow.Table`, pictures as `PIL.Image`.

    Every table is read when it is asked for, anew each time, without the encoded pictures unless `columns` names
    them. What a run has not reached yet raises StageError, which names the command that makes it.
    """

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        """The configuration."""

    @property
    def folder(self) -> str:
        """Where the run lies."""
        return RunFolder(self.settings.run.folder).shown()

    # ---------------------------------------------------------------- tables

    def images(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The images of all splits: image_id, width, height, label, split, group, origin, content."""
        with self._state() as state:
            rows = state.images.read(_known(columns, IMAGES))
            if not rows.num_rows:
                raise StageError(unfinished(state.images) or "the source has no image")
            return rows

    def captions(self) -> pa.Table:
        """image_id and caption of the training images; none where `discover.prompts` is set."""
        with self._state() as state:
            if state.settings.discover.prompts is not None:
                return CAPTIONS.empty_table()
            training = state.id_column("train")
            rows = captions_table(state.settings).read()
            rows = rows.filter(pc.is_in(rows.column("image_id"), value_set=training))
            if not rows.num_rows:
                raise StageError("there are no captions yet; run `alia-ray caption` first")
            return rows

    def domains(self) -> pa.Table:
        """domain_id, prompt, support and captions_read of each domain that was discovered or given."""
        with self._state() as state:
            return state.domains()

    def edits(
        self,
        arm: str = "alia",
        *,
        filters: Iterable[Filter] | None = None,
        rule: ConfidenceRule | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """The edits that an arm draws from, those that failed too, each with its scores and its `verdict`.

        arm: of `alia`, and of any arm that is named after a filter, those are the discovered ones.
        filters, rule: verdicts as if `judge.filters` and `judge.confidence_rule` were these; nothing is computed
        but the verdicts. Where the run stopped at an image's first survivors, other filters see only those tries.
        columns: which to give; of a million edits `parameters` and `class_probabilities` take the most memory.
        """
        with self._state() as state:
            wanted, chosen = _known(columns, EDITS), _arm(state, arm, filters, rule)
            rows = state.scored(chosen.edits, *wanted)
            if not rows.num_rows:
                raise StageError(f"there are no edits for the arm {arm} yet; run `alia-ray edit` first")
            verdicts = judged(rows, state.thresholds(), state.judge_of(chosen))
            return rows.append_column("verdict", pa.array(verdicts, pa.string())).select(wanted)

    def selected(
        self, arm: str = "alia", *, filters: Iterable[Filter] | None = None, rule: ConfidenceRule | None = None
    ) -> list[str]:
        """The ids of the edits that an arm adds to the training images; of other filters as in `edits`."""
        with self._state() as state:
            return state.selected(_arm(state, arm, filters, rule), needs_pictures=False)

    def errors(self) -> pa.Table:
        """stage, key, reason and kind of every row that failed in any stage."""
        with self._state() as state:
            return errors_of(state)

    # ---------------------------------------------------------------- numbers

    @property
    def classes(self) -> list[str]:
        """The class names, sorted, which is the order of `class_probabilities`."""
        with self._state() as state:
            return state.classes

    @property
    def thresholds(self) -> dict[str, float]:
        """class -> the base classifier's mean probability for it over the training images of the class."""
        with self._state() as state:
            return state.thresholds()

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """arm -> its metrics on the test images, of those that are measured: "accuracy", "per_class", …"""
        with self._state() as state:
            measured = {arm.name: so_far(lambda arm=arm: state.measured(arm)) for arm in state.arms}
            found = {name: values for name, values in measured.items() if values is not None}
            if not found:
                raise StageError("no arm is measured yet; run `alia-ray evaluate` first")
            return found

    # ---------------------------------------------------------------- pictures

    def picture(self, id: str) -> Image.Image:
        """The picture of an image or an edit, RGB. Raises LookupError where there is none."""
        [picture] = self.pictures([id]).values()
        return picture

    def pictures(self, ids: Iterable[Any]) -> dict[str, Image.Image]:
        """The pictures of images and edits by id, in the order that is asked for; a column of a table does.

        Raises LookupError where one has none: an edit that failed, or was rejected without `edit.keep_rejected`,
        of which the column image_bytes is null.
        """
        wanted = list(dict.fromkeys(map(str, ids)))
        with self._state() as state:
            found = read_images(state.images, wanted)
            left = [each for each in wanted if each not in found]
            if left and (edits := so_far(lambda: state.edits)) is not None:
                found |= read_images(edits, left)
            if missing := [each for each in wanted if each not in found]:
                raise LookupError(f"there is no picture of {plain_line(shortened(missing))} in {self.folder}")
            return {each: decode_rgb(found[each]) for each in wanted}

    # ---------------------------------------------------------------- looks

    def __repr__(self) -> str:
        return f"alia_ray.load({self.folder!r})"

    def _repr_html_(self) -> str:
        """What there is, as a small table: of a run under way too."""
        counts = {"images": self.images, "captions": self.captions, "domains": self.domains, "edits": self.edits}
        keys = {"images": ["image_id"], "edits": ["edit_id", "verdict"]}
        rows = []
        for name, read in counts.items():
            table = so_far(lambda read=read, name=name: read(columns=keys[name]) if name in keys else read())
            number = "none yet" if table is None else f"{table.num_rows:,}"
            if table is not None and name == "edits":
                number += f", {pc.sum(pc.equal(table.column('verdict'), 'kept')).as_py():,} kept"
            rows.append((name, number))
        for arm, values in (so_far(lambda: self.metrics) or {}).items():
            rows.append((arm, ", ".join(f"{key.replace('_', ' ')} {values[key]:.3f}" for key in _METRICS)))
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
        return f"<table><caption>{escape(plain_line(self.folder))}</caption>{cells}</table>"

    @contextmanager
    def _state(self) -> Iterator[State]:
        """The run's state; what is damaged in its folder stays where it is."""
        with only_looking():
            yield self._of_configuration

    @cached_property
    def _of_configuration(self) -> State:
        return first_draw(self.settings)


def _known(columns: Sequence[str] | None, schema: pa.Schema) -> list[str]:
    """The columns to give: those that were named, or all but the pictures. Raises ConfigError."""
    if columns is None:
        return [name for name in schema.names if name != "image"]
    if unknown := [name for name in columns if name not in schema.names]:
        raise ConfigError(f"columns: there is no {shortened(unknown)}; there are {', '.join(schema.names)}")
    return list(columns)


def _arm(state: State, name: str, filters: Iterable[Filter] | None, rule: ConfidenceRule | None) -> Arm:
    """An arm that adds edits, by other filters if any are given. Raises ConfigError."""
    having = [arm.name for arm in ARMS.values() if arm.edits is not None]
    if name not in having:
        meant = did_you_mean(name, having) if name not in ARMS else ""
        raise ConfigError(
            f"arm: {plain_line(str(name))} adds no edits{meant}; those that do are {', '.join(having)}"
        )
    arm = ARMS[name]
    if filters is None and rule is None:
        return arm
    judge = state.judge_of(arm)
    chosen = judge.filters if filters is None else [filters] if isinstance(filters, str) else list(filters)
    rule = judge.confidence_rule if rule is None else rule
    if unknown := [str(each) for each in chosen if each not in get_args(Filter)]:
        raise ConfigError(f"filters: there is no {shortened(unknown)}; there are {', '.join(get_args(Filter))}")
    if rule not in get_args(ConfidenceRule):
        raise ConfigError(f"rule: there is no {rule}; there are {', '.join(get_args(ConfidenceRule))}")
    return replace(arm, variant=Variant(tuple(chosen), rule))
