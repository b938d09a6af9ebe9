"""What other nodes of a cluster lack, though this one has it: storage, models or the hub, trackers and their keys.

Asked of each node, by a task there, once Ray is joined: a pool or a training would find it out after hours.
"""

import os
from collections.abc import Iterator
from functools import partial

import pyarrow.fs as pafs
import ray

from alia_ray.checks import models, training
from alia_ray.checks.inputs import STAGES
from alia_ray.checks.paths import places
from alia_ray.cluster.visits import visit_all
from alia_ray.config import Config
from alia_ray.errors import first_line
from alia_ray.store.run_folder import RunFolder, filesystem, without_query


def wrong_things(settings: Config) -> Iterator[str]:
    """A sentence for each thing that a node lacks, beside the driver's own.

    One that is slow to answer is passed over, and those that come later are not asked.
    """
    if not ray.is_initialized():  # asking would start or join one
        return
    own = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != own]
    if not others:
        return
    for visit in visit_all(others, RunFolder(settings.run.folder), partial(lacking, settings)).values():
        if isinstance(visit, str):
            continue
        if visit.folder_error:
            yield f"run.folder: on node {visit.host} it is another place, or shut ({visit.folder_error}); share it"
        yield from (f"{sentence} (so it is on node {visit.host})" for sentence in visit.lacks)


def lacking(settings: Config) -> list[str]:
    """What is wrong where this is called, for whatever may run there."""
    return [
        *_not_there(settings),
        *models.wrong_things(settings, STAGES),
        *training.untracked(settings.train),
        *_no_tracking_server(settings),
    ]


def _not_there(settings: Config) -> Iterator[str]:
    for key, place in places(settings):
        if key == "run.folder" or "*" in place:
            continue
        fs, path = filesystem(place)
        try:
            is_there = fs.get_file_info(path).type != pafs.FileType.NotFound
        except OSError as error:
            yield f"{key}: {without_query(place)} cannot be reached ({first_line(error)}); let every node reach it"
            continue
        if not is_there:
            yield f"{key}: there is no {without_query(place)}; put it on storage that all nodes share"


def _no_tracking_server(settings: Config) -> Iterator[str]:
    """MLflow without a server writes into the working folder, which on a cluster is one of Ray's that goes."""
    if "mlflow" in settings.train.trackers and not os.environ.get("MLFLOW_TRACKING_URI"):
        yield "train.trackers: mlflow has no server to write to; set MLFLOW_TRACKING_URI"
