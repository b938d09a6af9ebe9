"""Which edits a configuration asks for, needs and adds: by queries of the ledger, never by reading a picture."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Config, Judge
from alia_ray.config.arms import ARMS, BASE, Arm, EditSet
from alia_ray.edits.drawing import Asked, gone_through, left_to_try, requests, scores_of, selected, verdict
from alia_ray.edits.verdicts import Limit
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.stages.edit import asked_of, edits_table
from alia_ray.state.there import There
from alia_ray.store import tables
from alia_ray.store.ledger import quoted
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.training.results import read_thresholds

_SCORES = (
    *("image_id", "domain_id", "label", "semantic_text", "predicted_label"),
    *("confidence", "label_probability", "label_rank", "class_probabilities", "unsafe", "error", "image_bytes"),
)


@dataclass(frozen=True)
class Drawn(There):
    """The same with its edits, which are scored by the base classifier."""

    def arm_fingerprint(self, arm: Arm) -> str:
        """The name of an arm's classifier."""
        raise NotImplementedError

    def arm_folder(self, arm: Arm) -> RunFolder:
        """Where it lies."""
        raise NotImplementedError

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

    def judged_edits(self, *columns: str) -> str:
        """The discovered edits that this configuration needs, of those that are there, with their verdicts.

        SQL of edit_id, image_id, what filters go by, and `columns`. What was tried beyond that has no say.
        """
        judge, ledger = self.settings.judge, self.ledger
        names = dict.fromkeys(["edit_id", "image_id", *scores_of(judge), *columns])
        needed = ledger.keep("needed, judged", self.needed("discovered"))
        rows = f"SELECT {', '.join(map(quoted, names))} FROM {ledger.rows(self.edits, list(names))}"
        return verdict(ledger, judge, self.thresholds(), f"{rows} SEMI JOIN {needed} USING (edit_id)")

    def selected(self, arm: Arm = ARMS["alia"], needs_pictures: bool = True) -> list[str]:
        """The ids of the edits that an arm adds to the training set, sorted; none where none survived its filter.

        Raises StageError when there are no edits to select from.
        """
        return self.selected_column(arm, needs_pictures).to_pylist()

    def selected_column(self, arm: Arm, needs_pictures: bool = True) -> pa.StringArray:
        """The same as a column, for any number of them."""
        return self._chosen(arm, needs_pictures).column("edit_id").combine_chunks()

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
        names = [*scores_of(self.judge_of(arm)), "image_id", "image_bytes"]
        rows = self.ledger.rows(self.edits, names)
        query = (
            f"SELECT edit_id, draw, {', '.join(map(quoted, names))} FROM {rows} "
            f"JOIN (SELECT edit_id, draw FROM {within} WHERE is_needed) USING (edit_id) ORDER BY edit_id"
        )
        seen = f"{query}; {self.ledger.token_of(within)}; {self.ledger.state_of(self.edits)}"
        return self.ledger.keep_once("scores of an arm", seen, lambda: (query, {}))

    def _check_edited(self, edits: EditSet) -> None:
        """Raise StageError where `edit` would still try something of a set of edits, or was refused."""
        if edits in self._edited:
            return
        left = left_to_try(gone_through(self.ledger, self.asked(edits)))
        if todo := self.ledger.number(f"SELECT count(*) FROM (SELECT DISTINCT image_id FROM ({left}))"):
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
            return _counted(self._chosen(arm.control_of).column("label"))
        if arm.amount is not None:
            return round(arm.amount * self.count_of("train"))
        if configured.num_extra == "extra":
            return _counted(self._of_split("extra").column("label"))
        if configured.num_extra == "all":
            return None
        if configured.class_balanced:
            return dict.fromkeys(self.classes, configured.num_extra // len(self.classes))
        return configured.num_extra


def _counted(labels: pa.ChunkedArray) -> dict[str, int]:
    """How often each label occurs."""
    return {row["values"]: row["counts"] for row in labels.value_counts().to_pylist()}
