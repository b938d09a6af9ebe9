"""Whether the images, by their splits, labels and groups, are what the configuration needs.

All is read off a listing (schema LISTING), but `unreadable`, which looks at a few files. What cannot work is
refused; what can, but may be a mistake, `alia-ray plan` says.
"""

from collections import Counter
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Config
from alia_ray.config.arms import ARMS
from alia_ray.errors import shortened
from alia_ray.progress import number_of
from alia_ray.sources import no_label, read_images

FEW = 5  # images of a class that train, val or test has at least, or `plan` says so
_SAMPLE = 20  # files that are looked at
_FILES = ("csv", "cub", "iwildcam", "waterbirds")
"""The kinds of source that list files by names from a table, which may lead nowhere."""
_NEEDED = {
    "train": {"caption", "discover", "train_base", "judge", "edit", "train"},
    "val": {"train_base", "train"},
    "test": {"evaluate"},
}
"""The stages that need each split."""
_MAKE = {
    "train": "give it some",
    "val": "give it some, or set source.val_fraction, which holds some of train out",
    "test": "give it some, or rename val to test (source.val_fraction then holds a new val out of train), or name "
    "neither and set source.test_fraction as well",
}


def wrong_things(settings: Config, listing: pa.Table, stages: Collection[str]) -> Iterator[str]:
    """What the images do not allow of `stages`."""
    unlabelled = _is_empty(listing, "label")
    yield from _without_label(settings, listing.filter(unlabelled), listing.num_rows)
    classes = _first_of_each_class(listing.filter(pc.invert(unlabelled)))
    if listing.num_rows and not classes:
        return  # all else follows from that
    yield from _without_split(settings, listing, classes, stages)
    if len(classes.get("train", {})) == 1:
        [only] = classes["train"]
        yield f"source: train has one class, {only!r}, and a classifier needs two; give a second one"
    yield from _classes_without_training(settings, classes)
    yield from _too_few(settings, listing.filter(pc.invert(unlabelled)), len(classes.get("train", {})))
    yield from _without_groups(settings, listing)
    if "extra" not in classes:
        yield from _without_extra(settings)


def _without_split(
    settings: Config, listing: pa.Table, classes: dict[str, dict[str, str]], stages: Collection[str]
) -> Iterator[str]:
    """Splits that are needed and have no image: nobody gave them any, or no class has one to be held out."""
    lacking = [split for split in _NEEDED if split not in classes and not _NEEDED[split].isdisjoint(stages)]
    small = _too_small(_count(listing))
    held_out = ()
    if small and small.keys() == classes["train"].keys():
        held_out = [split for split in lacking if _is_held_out(settings, classes, split)]
    if held_out:
        yield f"source: no image is left for {' and '.join(held_out)}: {_add_some(small)}"
    for split in lacking:
        if split not in held_out:
            yield f"source: no image with a label is in the split {split!r}, which a run needs; {_MAKE[split]}"


def _is_held_out(settings: Config, splits: Collection[str], split: str) -> bool:
    """Whether a split that is not there is one that the source holds out of train."""
    return getattr(settings.source, f"{split}_fraction", 0) > 0 and (split == "val" or "val" not in splits)


def _too_small(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    """The classes of train that have fewer images than there are splits, and how many."""
    classes = sorted({label for split, label in counts if split == "train"})
    of_class = {label: sum(counts[split, label] for split in _NEEDED) for label in classes}
    return {label: count for label, count in of_class.items() if count < len(_NEEDED)}


def _add_some(small: dict[str, int]) -> str:
    few = [f"{label!r} has {number_of(count, 'images')}" for label, count in small.items()]
    return (
        f"{shortened(few, 'more classes too few')}, and a class needs {len(_NEEDED)} at least, one each for "
        f"{', '.join(_NEEDED)}; add some, or leave the class out"
    )


def _is_empty(listing: pa.Table, column: str) -> pa.ChunkedArray:
    """Which rows have nothing in a column; a CSV may give the empty string for it."""
    return pc.equal(pc.fill_null(listing.column(column), ""), "")


def _first_of_each_class(listing: pa.Table) -> dict[str, dict[str, str]]:
    """split -> class -> the first of its images."""
    found: dict[str, dict[str, str]] = {}
    for row in listing.group_by(["split", "label"]).aggregate([("origin", "min")]).to_pylist():
        found.setdefault(row["split"], {})[row["label"]] = row["origin_min"]
    return found


def _without_label(settings: Config, unlabelled: pa.Table, images: int) -> Iterator[str]:
    """`ingest` makes errors of these, and fails if they are too many; here they are known before."""
    if unlabelled.num_rows > settings.run.max_error_rate * images:
        first = unlabelled.column("origin")[0].as_py()
        yield (
            f"source: {unlabelled.num_rows} of {images} images have no label, such as {first!r} "
            f"({no_label(settings.source)}); label them, or leave them out"
        )


def _classes_without_training(settings: Config, classes: dict[str, dict[str, str]]) -> Iterator[str]:
    """Classes of another split that no classifier would know."""
    known = classes.get("train", {})
    read = ("val", "test", "extra") if _adds_extra(settings) else ("val", "test")
    for split in read if known else ():
        unknown = {name: example for name, example in classes.get(split, {}).items() if name not in known}
        if unknown:
            examples = [f"{name!r} ({unknown[name]})" for name in sorted(unknown)]
            yield (
                f"source: {split} has images of what is no class in train: {shortened(examples)}; put some of "
                "their images into train, or leave them out"
            )


def _adds_extra(settings: Config) -> bool:
    """Whether an arm trains on the split `extra`."""
    compares_all = settings.experiment is not None and settings.experiment.arms is None
    return compares_all or any(ARMS[name].real for name in settings.named_arms)


def _too_few(settings: Config, listing: pa.Table, classes: int) -> Iterator[str]:
    """What the configuration shares out among training images or classes, of which there are not so many."""
    images = pc.sum(pc.equal(listing.column("split"), "train")).as_py() or 0
    if 0 < images < settings.train.workers:
        yield f"train.workers: {images} training images for {settings.train.workers} workers; lower it"
    added = settings.select.num_extra
    if settings.select.class_balanced and isinstance(added, int) and added < classes:
        yield f"select.num_extra: {added} edits for {classes} classes give none to each; raise it"


def _without_groups(settings: Config, listing: pa.Table) -> Iterator[str]:
    column = getattr(settings.source, "group_column", None)
    test = listing.filter(pc.equal(listing.column("split"), "test"))
    if column is not None and test.num_rows and _ungrouped(test) == test.num_rows:
        yield (
            f"source.group_column: no image of test has a group in {column!r}; fill it in, or leave the key out, "
            "and classes are the groups"
        )


def _ungrouped(listing: pa.Table) -> int:
    """How many images belong to no group."""
    return pc.sum(_is_empty(listing, "group")).as_py() or 0


def _without_extra(settings: Config) -> Iterator[str]:
    """What needs the split `extra`, which the source does not have."""
    for arm in settings.named_arms:
        if ARMS[arm].real:
            yield f"train.arms: {arm} needs images in the split 'extra', and the source has none"
    if settings.select.num_extra == "extra":
        yield (
            "select.num_extra: 'extra' counts the images of the split 'extra', and the source has none; give a "
            "number, or all"
        )


def unreadable(settings: Config, listing: pa.Table) -> Iterator[str]:
    """Files that a table names and that are not there, as when its root is another folder. A few are looked at."""
    if settings.source.kind not in _FILES:
        return
    count = min(_SAMPLE, listing.num_rows)
    sample = listing.take([place * listing.num_rows // count for place in range(count)])
    failed = [found for found in read_images(settings.source, sample) if isinstance(found, OSError)]
    if len(failed) > max(0.5, settings.run.max_error_rate) * count:
        key = "root" if settings.source.kind == "csv" else "path"
        yield (
            f"source.{key}: {len(failed)} of {count} files that were looked for cannot be read ({failed[0]}); "
            "name the folder that the files' names start from"
        )


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """What a person may want to know of the images before a run, and is not refused."""
    counts = _count(listing)
    classes = sorted({label for split, label in counts if split == "train"})
    if small := _too_small(counts):
        yield _add_some(small)
    others = [name for name in classes if name not in small]
    for split in _NEEDED:
        lacking = [repr(name) for name in others if not counts[split, name]]
        few = [f"{name!r} ({counts[split, name]})" for name in others if 0 < counts[split, name] < FEW]
        if lacking:
            yield f"{split} has no image of {shortened(lacking, 'more classes')}"
        if few:
            yield f"{split} has few images of {shortened(few, 'more classes')}"
    ungrouped = _ungrouped(listing.filter(pc.equal(listing.column("split"), "test")))
    if ungrouped:
        yield f"{ungrouped} images of test have no group: they count in the accuracy, and in no group's"


def _count(listing: pa.Table) -> Counter[tuple[str, str]]:
    """(split, label) -> how many images."""
    rows = listing.group_by(["split", "label"]).aggregate([("origin", "count")]).to_pylist()
    return Counter({(row["split"], row["label"]): row["origin_count"] for row in rows if row["label"]})
