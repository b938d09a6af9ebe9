"""How much of the disk a run takes, and whether that is free where its folder lies.

An estimate, by parts: the pictures as the source has them, the edits by their pixels, and what trainings keep.
What is there already is taken off. It may be wrong by half, since pictures differ: a run is refused where not even
half of it is free, and told where not all is.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.checks.comparison import arms_of
from alia_ray.cluster.memory import train_needs
from alia_ray.cluster.placement import GB, Cluster, trainings_at_once
from alia_ray.config import Config, ConfigError
from alia_ray.config.arms import ARMS, EditSet
from alia_ray.models.sizes import CLASSIFIERS, LARGE_CLASSIFIER
from alia_ray.sources import read_images
from alia_ray.sources.listing import count_of
from alia_ray.state import State, so_far
from alia_ray.store.run_folder import HISTORY, RunFolder, Table

BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.35, "webp": 0.3}
"""Encoded bytes per RGB pixel of a photograph, roughly."""
_SURELY = 0.5  # of the estimate
_SAMPLE = 20  # pictures whose bytes are looked at
_STATES = 3  # of a training at once: the last, the best, and the one that is being written
_STATE_BYTES, _WEIGHT_BYTES = 8, 4  # of each parameter: with its momentum, without


def wrong_things(settings: Config, cluster: Cluster, listing: pa.Table) -> Iterator[str]:
    """A sentence where so little is free that the run cannot come to its end."""
    free, needed = free_bytes(RunFolder(settings.run.folder)), parts(settings, cluster, listing)
    if free is not None and _SURELY * sum(needed.values()) > free:
        yield f"run.folder: {_short(needed, free)}; {_ADVICE}"


def doubtful_things(settings: Config, cluster: Cluster, listing: pa.Table) -> Iterator[str]:
    """A sentence where the disk may become full."""
    free, needed = free_bytes(RunFolder(settings.run.folder)), parts(settings, cluster, listing)
    if free is not None and _SURELY * sum(needed.values()) <= free < sum(needed.values()):
        yield f"run.folder: the disk may become full: {_short(needed, free)}; {_ADVICE}"


_ADVICE = (
    "free some there, name a folder on a larger disk, or make it less by edit.format=webp, a smaller edit.size, "
    "select.num_extra, or fewer train.arms"
)


def _short(needed: dict[str, float], free: int) -> str:
    return f"the run takes about {said(needed)}, and {free / GB:.2f} GB are free on its disk"


def said(needed: dict[str, float]) -> str:
    """What a run takes, with its parts."""
    of_parts = ", ".join(f"{name} {size / GB:.2f}" for name, size in needed.items())
    return f"{sum(needed.values()) / GB:.2f} GB ({of_parts})"


def free_bytes(folder: RunFolder) -> int | None:
    """What is free on the disk of a folder, there or not; None of an object store, which has no end."""
    if folder.fs.type_name != "local":
        return None
    path = Path(folder.file())
    return shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists())).free


def parts(settings: Config, cluster: Cluster, listing: pa.Table) -> dict[str, float]:
    """What -> how many bytes more a run will take for it at its peak."""
    state = State(settings)
    edits = so_far(lambda: state.edits)
    there = {"images": _bytes_of(state.images), "edits": _bytes_of(edits) if edits else 0}
    needed = {
        "images": _of_images(settings, listing, there["images"]),
        "edits": kept_edits(settings, listing) * settings.edit.size**2 * BYTES_PER_PIXEL[settings.edit.format],
        "trainings": _of_trainings(settings, cluster, listing),
    }
    return {name: max(0.0, size - there.get(name, 0)) for name, size in needed.items()}


def _bytes_of(table: Table) -> int:
    found = table.folder.fs.get_file_info(pafs.FileSelector(table.path, allow_not_found=True))
    return sum(info.size or 0 for info in found)


def _of_images(settings: Config, listing: pa.Table, there: int) -> float:
    """By the size of some pictures; as much as is there where the source is not listed or cannot be read."""
    if "version" not in listing.column_names:  # of what was ingested
        return there
    count = min(_SAMPLE, listing.num_rows)
    sample = listing.take([place * listing.num_rows // count for place in range(count)])
    try:
        sizes = [len(found) for found in read_images(settings.source, sample) if isinstance(found, bytes)]
    except (ConfigError, OSError):
        return there
    return sum(sizes) / len(sizes) * listing.num_rows if sizes else there


def most_edits(settings: Config, train: int) -> int:
    """How many edits are tried at most of `train` training images."""
    return train * sum(_prompts(settings).values())


def kept_edits(settings: Config, listing: pa.Table) -> int:
    """How many edits are kept as pictures, if images find the survivors that are looked for."""
    train = count_of(listing, "train")
    kept, added = 0, settings.select.num_extra
    for edits, prompts in _prompts(settings).items():
        sought = State(settings).edit_settings(edits).edit.edits_per_image
        each = prompts if sought == "all" else min(prompts, sought)
        is_limited = isinstance(added, int) and sought != "all"
        kept += min(train * each, added) if is_limited else train * each
    return kept


def _prompts(settings: Config) -> dict[EditSet, int]:
    """The sets of edits that the arms add -> how many prompts each has, at most."""
    discover = settings.discover
    discovered = len(discover.prompts) if discover.prompts else discover.max_domains
    sets = {ARMS[name].edits for name in settings.named_arms} - {None} or {"discovered"}
    return {edits: discovered if edits == "discovered" else len(settings.baselines.user_prompts) for edits in sets}


def _of_trainings(settings: Config, cluster: Cluster, listing: pa.Table) -> float:
    """A classifier for each that is left, and the checkpoints of those that run side by side.

    As many are left as the run folder has fewer than are asked for, of whatever configuration.
    """
    trainings = len(settings.train.arms)
    if settings.experiment is not None:
        trainings = len(arms_of(settings, listing)) * len(settings.experiment.seeds)
    folder = RunFolder(settings.run.folder)
    found = folder.fs.get_file_info(pafs.FileSelector(folder.file("classifiers"), allow_not_found=True))
    trainings -= min(trainings, sum(folder.has_file("classifiers", info.base_name, HISTORY) for info in found))
    images = count_of(listing, "train") + count_of(listing, "val")
    at_once = trainings_at_once(settings.train, cluster, train_needs(settings.train, images, cluster))
    size = CLASSIFIERS.get(settings.train.architecture, LARGE_CLASSIFIER)
    return size * (trainings * _WEIGHT_BYTES + min(at_once, trainings) * _STATES * _STATE_BYTES)
