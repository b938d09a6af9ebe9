"""What a run folder holds under a configuration: where each stage's result lies, and what it says.

Reads only ids, labels and scores, never image bytes. Where an earlier stage is missing, the error names the
command that makes it. In three steps: what is there before edits (`there.py`), which edits are drawn (`drawn.py`),
and, here, what is trained on them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from alia_ray import config
from alia_ray.config import Train
from alia_ray.config.arms import Arm
from alia_ray.errors import StageError
from alia_ray.state.drawn import Drawn
from alia_ray.state.there import AT_ONCE, so_far
from alia_ray.store import tables
from alia_ray.store.run_folder import RunFolder
from alia_ray.training.examples import Examples
from alia_ray.training.results import read_history, read_metrics

__all__ = ["State", "so_far"]

_HOW = frozenset({"arms", "equal_steps", "seed", "workers", "cpus_per_worker", "max_failures", "trackers"})
"""Of `train`: what is trained and how fast, and what counts by itself; in no classifier's name."""


@dataclass(frozen=True)
class State(Drawn):
    """All of it."""

    def examples(self, split: Literal["train", "val", "extra"]) -> Examples:
        """The images of a split that training may see."""
        return Examples(self.images.uri, "image_id", self.id_column(split))

    def test_examples(self, arm: Arm) -> Examples:
        """The test images, for an arm whose checkpoint is chosen; StageError before that.

        The only way to them: every other reader asks for `train`, `val` or `extra` by name.
        """
        if self.history(arm) is None:
            raise StageError(f"the arm {arm.name} is not trained yet; run `alia-ray train` first")
        return Examples(self.images.uri, "image_id", self.id_column("test"))

    def training_examples(self, arm: Arm) -> list[Examples]:
        """What an arm trains on: the originals, and what it adds, if anything."""
        parts = [self.examples("train")]
        if arm.edits is not None:
            parts.append(Examples(self.edits.uri, "edit_id", self.selected_column(arm)))
        if arm.real:
            parts.append(self.examples("extra"))
        return [part for part in parts if len(part.ids)]

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
        # without edits of the images alone, which are read once
        seen = "" if arm.edits is None else self.ledger.now_of(self.images, self.edits)
        if arm in self._named and self._named[arm][0] == seen:
            return self._named[arm][1]
        unused = frozenset() if arm.augment == "color_jitter" else {"color_jitter"}
        train = config.plain(self.training_settings(arm), without=_HOW | unused)
        rows = tables.content_id_of(self._seen_by(arm))
        name = config.fingerprint(train, arm.augment, self.settings.seed, rows)
        self._named[arm] = (seen, name)
        return name

    @cached_property
    def _named(self) -> dict[Arm, tuple[str, str]]:
        """What arms are called, each with what was there when its name was found."""
        return {}

    def _seen_by(self, arm: Arm) -> Iterator[str | pa.Array]:
        """The ids, and where names cover them the labels, of everything that an arm is trained or validated on."""
        for examples in (*self.training_examples(arm), self.examples("val")):
            for start in range(0, len(examples.ids), AT_ONCE):
                yield examples.ids.slice(start, AT_ONCE)
            yield "|"
        yield from self._labels(arm)

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
        rows = self.ledger.rows(self.images, ["label", "group", "split"])
        test = f"SELECT image_id AS id, label, \"group\" FROM {rows} WHERE split = 'test' ORDER BY id"
        return read_metrics(self.arm_folder(arm), self.ledger.ask(test))
