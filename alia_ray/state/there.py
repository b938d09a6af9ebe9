"""What a run folder holds before there are edits: images, captions and domains, and where they lie."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray import config
from alia_ray.config import Config
from alia_ray.config.arms import ARMS, Arm
from alia_ray.config.identity import Long
from alia_ray.config.results import results_name
from alia_ray.edits.names import prompt_names
from alia_ray.errors import StageError
from alia_ray.stages.answered import left_to_do, too_many_failed
from alia_ray.stages.caption import captions_table, wanted_captions
from alia_ray.stages.ingest import images_table, names_labels, unfinished
from alia_ray.store.ledger import Ledger, ledger_of
from alia_ray.store.run_folder import RunFolder, Table

T = TypeVar("T")
AT_ONCE = 10_000  # rows as Python's objects


def so_far(read: Callable[[], T]) -> T | None:
    """What `read` gives, or None where its stage has not run: a report may be asked for at any time."""
    try:
        return read()
    except StageError:
        return None


@dataclass(frozen=True)
class There:
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
        rows = self.ledger.rows(self.images, [])
        return self.ledger.ask(f"SELECT image_id, split, label FROM {rows} ORDER BY image_id")

    def _labels(self, arm: Arm) -> Iterator[pa.Array]:
        """Ids and labels in turn of the images that an arm learns from, where its name covers them."""
        if not names_labels(self.images):
            return
        splits = pa.array(["train", "val", *(["extra"] if arm.real else [])])
        rows = self._image_rows.filter(pc.is_in(self._image_rows.column("split"), value_set=splits))
        for batch in rows.to_batches(max_chunksize=AT_ONCE):
            in_turn = np.arange(2 * len(batch)).reshape(2, -1).T.ravel()
            yield pa.concat_arrays([batch.column("image_id"), batch.column("label")]).take(pa.array(in_turn))

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
        return self.id_column(split).to_pylist()

    def id_column(self, split: str) -> pa.StringArray:
        """The same as a column, for splits of any size."""
        self.count_of(split)
        return self._of_split(split).column("image_id").combine_chunks()

    @cached_property
    def classes(self) -> list[str]:
        """The class names of the training images, sorted."""
        return sorted(self._of_split("train").column("label").unique().to_pylist())

    @cached_property
    def class_names(self) -> dict[str, str]:
        """What the classes are called in prompts: label -> name."""
        return prompt_names(self.classes, self.settings.source.class_names)

    def captions(self) -> pa.ChunkedArray:
        """The captions of the training images, in the order of their ids; empty with `discover.prompts`."""
        if self.settings.discover.prompts is not None:
            return pa.chunked_array([], pa.string())
        table, wanted, keys = captions_table(self.settings), self.count_of("train"), wanted_captions(self.images)
        rows = self.ledger.rows(table, ["caption"])
        captions = self.ledger.ask(
            f"SELECT caption FROM {rows} SEMI JOIN ({keys}) ON image_id = key ORDER BY image_id"
        ).column("caption")
        left = left_to_do(keys, table, "caption", "image_id", retry_errors=False)
        if missing := self.ledger.number(f"SELECT count(*) FROM ({left})"):
            if missing == wanted:
                raise StageError("there are no captions yet; run `alia-ray caption` first")
            raise StageError(
                f"caption: {missing} of {wanted} training images are missing; run `alia-ray caption` first"
            )
        self._check_failed("caption", table, "image_id", keys)
        if not len(captions):
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
        seen = self.ledger.now_of(captions_table(self.settings), self.images)
        if seen not in self._domains_named:
            self._domains_named.clear()
            self._domains_named[seen] = self._name_of_domains()
        return self.folder.table("domains", self._domains_named[seen])

    @cached_property
    def _domains_named(self) -> dict[str, str]:
        """What the domains are called, by the captions and images that there are."""
        return {}

    def _name_of_domains(self) -> str:
        captions = self.captions()
        given = {
            label: name for label, name in self.class_names.items() if label in self.settings.source.class_names
        }
        asked = [given, self.settings.run.seed] if len(captions) else []
        batches = pa.table({"caption": captions}).to_batches(max_chunksize=AT_ONCE)
        return config.fingerprint(
            self.settings.discover,
            Long(batch.column("caption").to_pylist() for batch in batches),
            self.classes,
            self.settings.llm.identity if len(captions) else None,
            *filter(None, asked),
        )

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
