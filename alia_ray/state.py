"""What a run folder holds under a configuration: where each stage's result lies, and what it says.

Reads only ids, labels and scores, never image bytes. Where an earlier stage is missing, the error names the
command that makes it.
"""

import posixpath
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray import config, tables
from alia_ray.arms import BASE, Arm
from alia_ray.config import Config
from alia_ray.errors import StageError
from alia_ray.run_folder import RunFolder, Table
from alia_ray.stages.caption import captions_table
from alia_ray.stages.edit import edits_table, wanted_ids
from alia_ray.stages.examples import Examples
from alia_ray.stages.ingest import images_table
from alia_ray.stages.verdicts import judged, select

_SCORES = ("image_id", "label", "semantic_text", "predicted_label", "confidence", "label_rank", "error")


@dataclass(frozen=True)
class State:
    """A configuration and its run folder."""

    settings: Config

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.settings.run.folder)

    # ---------------------------------------------------------------- images, captions, domains

    @property
    def images(self) -> Table:
        """The images table."""
        return images_table(self.settings)

    @cached_property
    def _image_rows(self) -> pa.Table:
        """The images' ids, splits and labels; read once, after `ingest`."""
        if not self.images.exists():
            raise StageError("there is no images table yet; run `alia-ray ingest` first")
        return self.images.read(["image_id", "split", "label"])

    def _of_split(self, split: str) -> pa.Table:
        return self._image_rows.filter(pc.equal(self._image_rows.column("split"), split))

    def ids_of(self, split: str) -> list[str]:
        """The image ids of a split, sorted. Raises StageError when it has none."""
        ids = self._of_split(split).column("image_id").to_pylist()
        if not ids:
            raise StageError(f"the source has no image in the split {split!r}, which this stage needs")
        return ids

    @cached_property
    def classes(self) -> list[str]:
        """The class names of the training images, sorted."""
        return sorted(set(self._of_split("train").column("label").to_pylist()))

    def captions(self) -> list[str]:
        """The captions of the training images, in the order of their ids; empty with `discover.prompts`."""
        if self.settings.discover.prompts is not None:
            return []
        rows = captions_table(self.settings).read()
        training = pa.array(self.ids_of("train"), pa.string())
        captions = rows.filter(pc.is_in(rows.column("image_id"), value_set=training)).column("caption").to_pylist()
        if not captions:
            raise StageError("there are no captions yet; run `alia-ray caption` first")
        return captions

    def domains_table(self) -> Table:
        """The domains table: its fingerprint covers the captions, the classes, the LLM and how it is asked."""
        llm = self.settings.llm
        captions = self.captions()
        fingerprint = config.fingerprint(
            self.settings.discover,
            captions,
            self.classes,
            [llm.model.name, llm.model.revision, llm.max_model_len] if captions else None,
        )
        return self.folder.table("domains", fingerprint)

    def domains(self) -> pa.Table:
        """The domains. Raises StageError before `discover`."""
        table = self.domains_table()
        if not table.exists():
            raise StageError("there are no domains yet; run `alia-ray discover` first")
        return table.read()

    def transcript(self) -> list[dict[str, Any]] | None:
        """What was said to the LLM and what it answered; None before `discover`."""
        return self.folder.read_json("domains", self.domains_table().fingerprint, "_transcript.json")

    def errors(self) -> pa.Table:
        """Every row that failed in any stage."""
        found = self.folder.fs.get_file_info(pafs.FileSelector(self.folder.file("errors"), allow_not_found=True))
        names = sorted(posixpath.basename(info.path) for info in found)
        return pa.concat_tables(
            [tables.ERRORS.empty_table(), *(self.folder.table("errors", name).read() for name in names)]
        )

    # ---------------------------------------------------------------- edits

    @property
    def edits(self) -> Table:
        """The edits table, as scored by the base classifier of this configuration."""
        return edits_table(self.settings, self.arm_fingerprint(BASE))

    def thresholds(self) -> dict[str, float]:
        """The base classifier's threshold of each class. Raises StageError before it is trained."""
        known = self.folder.read_json(*self.arm_path(BASE), "thresholds.json")
        if known is None:
            raise StageError("the base classifier is not trained yet; run `alia-ray train --base` first")
        return known

    def wanted_edits(self, *columns: str) -> pa.Table:
        """The edits that this configuration asks for, of those that are there, with verdicts as configured."""
        names = [name for name in dict.fromkeys(["edit_id", *_SCORES, *columns]) if name != "verdict"]
        rows = self.edits.read(names)
        wanted = pa.array(wanted_ids(self.settings, self.images, self.domains()), pa.string())
        rows = rows.filter(pc.is_in(rows.column("edit_id"), value_set=wanted))
        verdicts = judged(rows, self.thresholds(), self.settings.judge)
        return rows.append_column("verdict", pa.array(verdicts, pa.string()))

    def selected(self) -> list[str]:
        """The ids of the edits that are added to the training set. Raises StageError when there are none."""
        rows = self.wanted_edits()
        chosen = select(rows, rows.column("verdict").to_pylist(), self.settings.select, self.settings.run.seed)
        if not chosen:
            raise StageError(
                "no edit survived the filters; look at the verdicts in the report, or loosen judge.filters"
                if rows.num_rows
                else "there are no edits yet; run `alia-ray edit` first"
            )
        return chosen

    # ---------------------------------------------------------------- arms

    def examples(self, split: str) -> Examples:
        """The images of a split, for a trainer or an evaluator."""
        return Examples(self.images.uri, "image_id", tuple(self.ids_of(split)))

    def training_examples(self, arm: Arm) -> list[Examples]:
        """What an arm trains on."""
        originals = self.examples("train")
        if not arm.adds_edits:
            return [originals]
        return [originals, Examples(self.edits.uri, "edit_id", tuple(self.selected()))]

    def arm_fingerprint(self, arm: Arm) -> str:
        """Covers the training settings, the arm, the seed, and the ids of everything trained or validated on."""
        train = self.settings.train.model_dump(exclude={"arms", "workers", "cpus_per_worker", "max_failures"})
        ids = [examples.ids for examples in (*self.training_examples(arm), self.examples("val"))]
        digest = tables.content_id(*(example_id for part in ids for example_id in (*part, "|")))
        return config.fingerprint(train, arm.augment, self.settings.run.seed, digest)

    def arm_path(self, arm: Arm) -> tuple[str, ...]:
        """Where an arm's classifier lies in the run folder."""
        return ("arms", arm.name, f"seed-{self.settings.run.seed}", self.arm_fingerprint(arm))

    def arm_json(self, arm: Arm, name: str) -> Any:
        """A JSON file of an arm, or None."""
        return self.folder.read_json(*self.arm_path(arm), name)
