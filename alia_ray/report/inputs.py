"""What a report is made from, gathered by the pipeline."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from alia_ray.config import Judge
from alia_ray.store import tables
from alia_ray.store.run_folder import Table


@dataclass(frozen=True)
class ReportInputs:
    """Everything beside the images and the judge may be missing: a report can be asked for at any time."""

    images: Table
    judge: Judge
    captions: Table | None = None
    domains: Table | None = None
    edits: Table | None = None
    wanted: str | None = None  # SQL of the ids (`edit_id`) of the edits that it needs; None: all in the table
    selected: pa.StringArray = field(default_factory=lambda: pa.array([], pa.string()))  # ids of those added
    metrics: dict[str, Any] = field(default_factory=dict)  # what metrics.json holds: "arms" and "stages"
    predictions: dict[str, pa.Table] = field(default_factory=dict)  # arm -> what `evaluate` says of each image
    thresholds: dict[str, float] = field(default_factory=dict)  # class -> confidence threshold
    transcript: list[dict[str, Any]] | None = None  # the steps of discovery, as `Discovery.transcript`
    errors: pa.Table = field(default_factory=tables.ERRORS.empty_table)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # arm -> a record of each epoch
    prefix: str = "a photo of a {}"  # discover.prefix: which words of a prompt its domain adds
    experiment: dict[str, Any] | None = None  # what experiment.json holds
    made_with: dict[str, list[str]] = field(
        default_factory=dict
    )  # table -> a line for each way its rows were made
    trial: str | None = None  # that only a part of the images was taken, a sentence
    seed: int = 0  # of the samples shown
    keeps_rejected: bool = True  # whether the pictures of rejected edits are this configuration's
    missing: list[str] = field(default_factory=list)  # what the run folder lacks, a sentence each
    about: dict[str, Any] = field(default_factory=dict)  # where the page comes from, as `results.about` says it
    config_yaml: str = ""
