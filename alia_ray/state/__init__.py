"""What a run folder holds under a configuration: where each stage's result lies, and what it says.

Reads only ids, labels and scores, never image bytes. Where an earlier stage is missing, the error names the
command that makes it.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray import config
from alia_ray.config import Config, Judge, Train
from alia_ray.config.arms import ARMS, BASE, Arm, EditSet
from alia_ray.config.results import results_name
from alia_ray.edits.drawing import SCORES, Asked, gone_through, left_to_try, requests, selected, verdict
from alia_ray.edits.names import prompt_names
from alia_ray.edits.verdicts import Limit, judged
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.stages.answered import left_to_do, too_many_failed
from alia_ray.stages.caption import captions_table, wanted_captions
from alia_ray.stages.edit import asked_of, edits_table
from alia_ray.stages.ingest import images_table, names_labels, unfinished
from alia_ray.store import tables
from alia_ray.store.ledger import Ledger, ledger_of, quoted
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.training.examples import Examples
from alia_ray.training.results import read_history, read_metrics, read_thresholds

_SCORES = (
    *("image_id", "domain_id", "label", "semantic_text", "predicted_label"),
    *("confidence", "label_probability", "label_rank", "class_probabilities", "unsafe", "error", "image_bytes"),
)

_HOW = frozenset({"arms", "equal_steps", "seed", "workers", "cpus_per_worker", "max_failures", "trackers"})
"""Of `train`: what is trained and how fast, and what counts by itself; in no classifier's name."""


T = TypeVar("T")


def so_far(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None where its stage has not run: a report may be asked for at any time."""
    try:
        return read()
    except StageError:
        return None


@dataclass(frozen=True)
class State:
    """A configuration and its run folder; the source's `listing` too, where it was listed for this command."""

    settings: Config
    listing: pa.Table | None = field(default=None, repr=False, compare=False)
    whole: Config | None = None  # of an experiment, whose draws share their results

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.settings.run.folder)

    @property
    def ledger(self) -> Ledger:
        """What is asked of all rows of the run folder's tables."""
        return ledger_of(self.folder)

    @property
    def results(self) -> RunFolder:
        """Where the page and the metrics of this configuration lie, beside those of others."""
        name = results_name(self.whole or self.settings, is_experiment=self.whole is not None)
        return RunFolder(self.folder.uri("results", name))

    @property
    def arms(self) -> list[Arm]:
        """The arms to train."""
        return [ARMS[name] for name in self.settings.train.arms]

    # ---------------------------------------------------------------- images, captions, domains

    @property
    def images(self) -> Table:
        """The images table."""
        return images_table(self.settings)

    @cached_property
    def _image_rows(self) -> pa.Table:
        """The images' ids, splits and labels; read once, after `ingest`."""
        if left := unfinished(self.images):
            raise StageError(left)
        return self.images.read(["image_id", "split", "label"])

    def _labels(self, arm: Arm) -> list[str]:
        """Ids and labels of the images that an arm learns from, where its name covers them."""
        if not names_labels(self.images):
            return []
        splits = pa.array(["train", "val", *(["extra"] if arm.real else [])])
        rows = self._image_rows.filter(pc.is_in(self._image_rows.column("split"), value_set=splits))
        return [text for row in rows.to_pylist() for text in (row["image_id"], row["label"])]

    def _of_split(self, split: str) -> pa.Table:
        return self._image_rows.filter(pc.equal(self._image_rows.column("split"), split))

    def count_of(self, split: str) -> int:
        """How many images a split has. Raises StageError when it has none."""
        if not (count := self._of_split(split).num_rows):
            raise StageError(f"the source has no image in the split {split!r}, which this stage needs")
        return count

    def check_split(self, split: str) -> None:
        """Raise StageError where a split has no image."""
        self.count_of(split)

    def ids_of(self, split: str) -> list[str]:
        """The image ids of a split, sorted. Raises StageError when it has none."""
        self.count_of(split)
        return self._of_split(split).column("image_id").to_pylist()

    @cached_property
    def classes(self) -> list[str]:
        """The class names of the training images, sorted."""
        return sorted(self._of_split("train").column("label").unique().to_pylist())

    @cached_property
    def class_names(self) -> dict[str, str]:
        """What the classes are called in prompts: label -> name."""
        return prompt_names(self.classes, self.settings.source.class_names)

    def captions(self) -> list[str]:
        """The captions of the training images, in the order of their ids; empty with `discover.prompts`."""
        if self.settings.discover.prompts is not None:
            return []
        table, wanted, keys = captions_table(self.settings), self.count_of("train"), wanted_captions(self.images)
        rows = self.ledger.rows(table, ["caption"])
        captions = self.ledger.column(
            f"SELECT caption FROM {rows} SEMI JOIN ({keys}) ON image_id = key ORDER BY image_id"
        )
        left = left_to_do(keys, table, "caption", "image_id", retry_errors=False)
        if missing := self.ledger.number(f"SELECT count(*) FROM ({left})"):
            if missing == wanted:
                raise StageError("there are no captions yet; run `alia-ray caption` first")
            raise StageError(
                f"caption: {missing} of {wanted} training images are missing; run `alia-ray caption` first"
            )
        self._check_failed("caption", table, "image_id", keys)
        if not captions:
            raise StageError(
                f"caption: all {wanted} training images failed; run it again with run.retry_errors=true, or "
                "set discover.prompts"
            )
        return captions

    def _check_failed(self, stage: str, table: Table, key: str, wanted: str) -> None:
        """Raise StageError where so many rows of a stage failed that it was refused."""
        if failed := too_many_failed(stage, table, key, wanted, self.settings.run.max_error_rate):
            raise StageError(failed)

    def domains_table(self) -> Table:
        """The domains table: its fingerprint covers the captions, the classes, the LLM and how it is asked.

        A discovered prompt may name no class, so the names that a person gave count as well. So does the seed, by
        which captions are drawn and the LLM answers; that of the first release, 0, is in no name.
        """
        captions = self.captions()
        given = {
            label: name for label, name in self.class_names.items() if label in self.settings.source.class_names
        }
        asked = [given, self.settings.run.seed] if captions else []
        fingerprint = config.fingerprint(
            self.settings.discover,
            captions,
            self.classes,
            self.settings.llm.identity if captions else None,
            *filter(None, asked),
        )
        return self.folder.table("domains", fingerprint)

    def has_domains(self) -> bool:
        """Whether the domains were discovered, so that no language model is needed any more."""
        table = so_far(self.domains_table)  # none where not even captions are there
        return table is not None and bool(table.ids())

    def domains(self) -> pa.Table:
        """The domains. Raises StageError before `discover`."""
        rows = self.domains_table().read()
        if not rows.num_rows:
            raise StageError("there are no domains yet; run `alia-ray discover` first")
        return rows

    def transcript(self) -> list[dict[str, Any]] | None:
        """What was said to the LLM and what it answered; None before `discover`."""
        return self.folder.read_json("domains", self.domains_table().fingerprint, "_transcript.json")

    # ---------------------------------------------------------------- edits

    @property
    def edits(self) -> Table:
        """The edits table, as scored by the base classifier of this configuration."""
        return edits_table(self.settings, self.arm_fingerprint(BASE))

    def thresholds(self) -> dict[str, float]:
        """The base classifier's threshold of each class. Raises StageError before it is trained."""
        known = read_thresholds(self.arm_folder(BASE), self.classes)
        if known is None:
            raise StageError("the base classifier is not trained yet; run `alia-ray train --base` first")
        return known

    def edit_settings(self, edits: EditSet) -> Config:
        """The configuration under which a set of edits is made, with nothing left to be filled in.

        The filters are those of ALIA; what it is compared with takes the first edit of each image.
        """
        chosen = self.settings.text_to_image if edits == "text_to_image" else self.settings.edit
        judge = self.settings.judge
        changes: dict[str, Any] = {}
        if edits == "discovered":
            needed = "all" if self.settings.draws_from_all else self.settings.select.edits_per_image
            if self.settings.has_other_filters:
                changes |= {"keep_rejected": True, "drop_prompt_below": None}  # which would filter for all of them
        else:
            needed = self.settings.select.edits_per_image
            judge = judge.model_copy(update={"filters": []})
        changes["edits_per_image"] = chosen.edits_per_image or needed
        return self.settings.model_copy(update={"edit": chosen.model_copy(update=changes), "judge": judge})

    @property
    def edit_sets(self) -> list[EditSet]:
        """The sets of edits that the arms add; the discovered ones where none adds any."""
        return list(dict.fromkeys(arm.edits for arm in self.arms if arm.edits)) or ["discovered"]

    def limit_of(self, edits: EditSet) -> Limit:
        """How many of a set of edits are added, in all or of each class."""
        return next((self._limit(arm) for arm in self.arms if arm.edits == edits), None)

    def prompts_of(self, edits: EditSet) -> pa.Table:
        """The prompts of a set of edits, as a domains table. Raises StageError before `discover`."""
        if edits == "discovered":
            return self.domains()
        prompts = list(dict.fromkeys(self.settings.baselines.user_prompts))
        given = domain_rows(prompts, [], self.settings.discover.prefix, 0)
        return pa.Table.from_pylist(given, schema=tables.DOMAINS)

    def asked(self, edits: EditSet) -> Asked:
        """A set of edits, as its arms ask for it. Raises StageError before prompts and thresholds are there."""
        return replace(self.asked_at_all(edits), limit=self.limit_of(edits))

    def asked_at_all(self, edits: EditSet) -> Asked:
        """The same, however many of them are added."""
        settings, prompts = self.edit_settings(edits), self.prompts_of(edits)
        return asked_of(edits, settings, self.images, prompts, self.edits, self.thresholds())

    def wanted(self, edits: EditSet) -> str:
        """SQL of the ids (`edit_id`) of every edit of a set, made or not."""
        return f"SELECT edit_id FROM {requests(self.ledger, self.asked_at_all(edits))}"

    def needed(self, edits: EditSet) -> str:
        """SQL of the ids (`edit_id`) of those that are tried until each image has its survivors.

        As far as is known: what was tried beyond that, for another seed or by a stricter filter, is not there.
        """
        return f"SELECT edit_id FROM {gone_through(self.ledger, self.asked(edits))} WHERE is_needed"

    def scored(self, edits: EditSet, *columns: str) -> pa.Table:
        """The edits of a set that this configuration needs, of those that are there: scores and `columns`.

        No verdict: filters give that. What was tried beyond that, for another seed or by a stricter filter, has no
        say: every number depends on the configuration alone. Sorted by id.
        """
        names = [name for name in dict.fromkeys(["edit_id", *_SCORES, *columns]) if name != "verdict"]
        rows = self.edits.read(names)
        asked = self.ledger.ask(self.needed(edits)).column(0)
        return rows.filter(pc.is_in(rows.column("edit_id"), value_set=asked.combine_chunks()))

    def wanted_edits(self, *columns: str) -> pa.Table:
        """The discovered edits that this configuration asks for, of those that are there, with verdicts."""
        rows = self.scored("discovered", *columns)
        verdicts = judged(rows, self.thresholds(), self.settings.judge)
        return rows.append_column("verdict", pa.array(verdicts, pa.string()))

    def selected(self, arm: Arm = ARMS["alia"], needs_pictures: bool = True) -> list[str]:
        """The ids of the edits that an arm adds to the training set; none where none survived its filter.

        Raises StageError when there are no edits to select from.
        """
        return self._chosen(arm, needs_pictures).column("edit_id").to_pylist()

    def _chosen(self, arm: Arm, needs_pictures: bool = True) -> pa.Table:
        """`edit_id` and `label` of what an arm adds, sorted by id."""
        limit = self._limit(arm)  # of a control that is what another arm adds
        ledger, rows = self.ledger, self._scores(arm)
        if not ledger.number(f"SELECT count(*) FROM {rows}"):
            raise StageError(f"there are no edits for the arm {arm.name} yet; run `alia-ray edit` first")
        self._check_edited(arm.edits)
        judged_rows = verdict(ledger, self.judge_of(arm), self.thresholds(), f"SELECT * FROM {rows}")
        kept = f"SELECT * FROM ({judged_rows}) WHERE verdict = 'kept'"
        chosen = selected(ledger, kept, self._per_image(arm), limit)
        found = ledger.ask(
            f"SELECT edit_id, label, image_bytes IS NULL AS is_bare FROM {rows} SEMI JOIN ({chosen}) "
            "USING (edit_id) ORDER BY edit_id"
        )
        if needs_pictures and pc.any(found.column("is_bare")).as_py():
            raise StageError(
                f"some edits of the arm {arm.name} were rejected by other filters, and their pictures not kept; "
                "run `alia-ray edit` again"
            )
        return found.select(["edit_id", "label"])

    def _scores(self, arm: Arm) -> str:
        """What an arm draws from, as a relation: the scores of the edits of its set, with their draw."""
        within = gone_through(self.ledger, self.asked(arm.edits))
        between = ["class_probabilities"] if self.judge_of(arm).confidence_rule == "within_domain" else []
        names = [*SCORES, *between, "image_id", "image_bytes"]
        rows = self.ledger.rows(self.edits, names)
        return self.ledger.keep(
            "scores of an arm",
            f"SELECT edit_id, draw, {', '.join(map(quoted, names))} FROM {rows} "
            f"JOIN (SELECT edit_id, draw FROM {within} WHERE is_needed) USING (edit_id) ORDER BY edit_id",
        )

    def _check_edited(self, edits: EditSet) -> None:
        """Raise StageError where `edit` would still try something of a set of edits, or was refused."""
        if edits in self._edited:
            return
        left = left_to_try(gone_through(self.ledger, self.asked(edits)))
        if todo := self.ledger.number(f"SELECT count(DISTINCT image_id) FROM ({left})"):
            raise StageError(
                f"edit has not come to its end: there is more to try of {todo} of "
                f"{self.count_of('train')} training images; run `alia-ray edit` first"
            )
        needed = f"SELECT edit_id AS key FROM ({self.needed(edits)})"
        self._check_failed("edit", self.edits, "edit_id", needed)
        self._edited.add(edits)

    @cached_property
    def _edited(self) -> set[EditSet]:
        """The sets of edits that are known to be whole."""
        return set()

    def judge_of(self, arm: Arm) -> Judge:
        """The filters of an arm."""
        if arm.variant is None:
            return self.settings.judge
        changes = {"filters": list(arm.variant.filters), "confidence_rule": arm.variant.rule}
        return self.settings.judge.model_copy(update=changes)

    def _per_image(self, arm: Arm) -> int | None:
        """How many edits of one image an arm may add; None: all."""
        configured = self.settings.select.edits_per_image
        if configured == "all" or arm.amount is None:
            return None if configured == "all" else configured
        return max(configured, math.ceil(arm.amount))

    def _limit(self, arm: Arm) -> Limit:
        """How many edits an arm may add, in all or of each class."""
        configured = self.settings.select
        if arm.control_of is not None:
            return Counter(self._chosen(arm.control_of).column("label").to_pylist())
        if arm.amount is not None:
            return round(arm.amount * self.count_of("train"))
        if configured.num_extra == "extra":
            return Counter(self._of_split("extra").column("label").to_pylist())
        if configured.num_extra == "all":
            return None
        if configured.class_balanced:
            return dict.fromkeys(self.classes, configured.num_extra // len(self.classes))
        return configured.num_extra

    # ---------------------------------------------------------------- arms

    def examples(self, split: Literal["train", "val", "extra"]) -> Examples:
        """The images of a split that training may see."""
        return Examples(self.images.uri, "image_id", tuple(self.ids_of(split)))

    def test_examples(self, arm: Arm) -> Examples:
        """The test images, for an arm whose checkpoint is chosen; StageError before that.

        The only way to them: every other reader asks for `train`, `val` or `extra` by name.
        """
        if self.history(arm) is None:
            raise StageError(f"the arm {arm.name} is not trained yet; run `alia-ray train` first")
        return Examples(self.images.uri, "image_id", tuple(self.ids_of("test")))

    def training_examples(self, arm: Arm) -> list[Examples]:
        """What an arm trains on: the originals, and what it adds, if anything."""
        parts = [self.examples("train")]
        if arm.edits is not None:
            parts.append(Examples(self.edits.uri, "edit_id", tuple(self.selected(arm))))
        if arm.real:
            parts.append(self.examples("extra"))
        return [part for part in parts if part.ids]

    def training_settings(self, arm: Arm) -> Train:
        """How an arm is trained: as configured, or with as many steps as the original."""
        train = self.settings.train
        if not train.equal_steps:
            return train
        share = self.count_of("train") / sum(len(part.ids) for part in self.training_examples(arm))
        return train.model_copy(update={"epochs": max(1, round(train.epochs * share))})

    def arm_fingerprint(self, arm: Arm) -> str:
        """Covers the training settings, the seed, and the ids and labels of everything trained or validated on.

        Arms that come to the same, such as a filter that drops nothing and none, have the same classifier.
        """
        unused = frozenset() if arm.augment == "color_jitter" else {"color_jitter"}
        train = config.plain(self.training_settings(arm), without=_HOW | unused)
        ids = [examples.ids for examples in (*self.training_examples(arm), self.examples("val"))]
        seen = [example_id for part in ids for example_id in (*part, "|")] + self._labels(arm)
        return config.fingerprint(train, arm.augment, self.settings.seed, tables.content_id(*seen))

    def arm_path(self, arm: Arm) -> tuple[str, ...]:
        """Where an arm's classifier lies in the run folder."""
        return ("classifiers", self.arm_fingerprint(arm))

    def arm_folder(self, arm: Arm) -> RunFolder:
        """The same as a folder."""
        return RunFolder(self.folder.uri(*self.arm_path(arm)))

    def history(self, arm: Arm) -> dict[str, Any] | None:
        """What an arm's training left last; None where it has not ended, or its classifier is damaged."""
        return read_history(self.arm_folder(arm))

    def measured(self, arm: Arm) -> dict[str, Any] | None:
        """An arm's test metrics; None where it has none of the test images, labels and groups as they are now."""
        rows = self.images.read(["image_id", "label", "group", "split"])
        test = rows.filter(pc.equal(rows.column("split"), "test")).drop_columns("split")
        return read_metrics(self.arm_folder(arm), test.rename_columns(["id", "label", "group"]))
