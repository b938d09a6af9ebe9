"""Answers of the language model in the run folder, until the domains that they lead to are there.

To read a million captions takes minutes, which a kill must not lose: what was answered is not asked again.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import pyarrow.fs as pafs

from alia_ray.llm.client import Answer
from alia_ray.llm.prompts import Message
from alia_ray.store.run_folder import ANSWERS, RunFolder
from alia_ray.store.tables import content_id


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of one discovery, each in a file that is named by what was asked."""

    run: RunFolder
    fingerprint: str  # of its domains, which covers the model and how it is asked

    def of(self, asked: list[Message], schema: dict[str, Any]) -> Answer | None:
        """What was answered before, if anything. A damaged file is put aside."""
        name = _name(asked, schema)
        if name not in self._names:
            return None
        said = self.run.read_json(ANSWERS, self.fingerprint, name, keys=[field.name for field in fields(Answer)])
        return said and Answer(**said)

    def keep(self, asked: list[Message], schema: dict[str, Any], answer: Answer) -> None:
        """Keep an answer."""
        self.run.write_json(asdict(answer), ANSWERS, self.fingerprint, _name(asked, schema))

    def delete(self) -> None:
        """Delete all of them."""
        with suppress(FileNotFoundError):
            self.run.fs.delete_dir(self.run.file(ANSWERS, self.fingerprint))

    @cached_property
    def _names(self) -> set[str]:
        folder = pafs.FileSelector(self.run.file(ANSWERS, self.fingerprint), allow_not_found=True)
        return {info.base_name for info in self.run.fs.get_file_info(folder)}


def _name(asked: list[Message], schema: dict[str, Any]) -> str:
    return f"{content_id(json.dumps([asked, schema]))}.json"
