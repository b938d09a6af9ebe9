"""What an arm trains on, out of the run folder and into anyone's trainer: which images, and where they may go."""

import posixpath
from collections.abc import Sequence

import pyarrow.compute as pc
import pyarrow.fs as pafs

from alia_ray.checks import paths
from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError
from alia_ray.config.arms import ARMS, Arm
from alia_ray.config.places import Place
from alia_ray.config.train import unknown_arm
from alia_ray.errors import StageError
from alia_ray.export.parts import Export, Part, is_whole, parts_of, write_parts
from alia_ray.progress import say
from alia_ray.state import State
from alia_ray.store.rows import homes, stream
from alia_ray.store.run_folder import RunFolder, without_query
from alia_ray.store.tables import content_id
from alia_ray.training.examples import Examples, count

_ABOUT = "export.json"  # in OUT: what is exported there, and whether all of it is there


def plan_export(state: State, out: str, format: str, arm: str = "alia", added_only: bool = False) -> Export:
    """What is to be exported; nothing is written yet. Raises StageError, and ConfigError where OUT is taken."""
    if arm not in ARMS:
        raise ConfigError(f"--arm: {unknown_arm(arm)}")
    splits = _splits_of(state, arm, added_only)
    parts = tuple(part for split, examples in splits.items() for part in parts_of(split, examples))
    about = {
        "arm": arm,
        "seed": state.settings.seed,
        "format": format,
        "added_only": added_only,
        "classes": sorted(set(state.images.read(["label"]).column("label").to_pylist())),
        "images": {split: count(examples) for split, examples in splits.items()},
        "fingerprint": _fingerprint(parts),
        "described": _described(splits),
        "finished": False,
    }
    if state.settings.trial:
        about["trial"] = state.settings.trial
    export = Export(_folder(out, state.settings.run.address), format, parts, about)
    _check_free(export)
    return export


def _splits_of(state: State, name: str, added_only: bool) -> dict[str, list[Examples]]:
    """The images of each split, of an arm that is not configured as if it were: it may need edits of its own.

    Raises StageError, which says how to make what is missing.
    """
    arms = state.settings.train.arms
    if name in arms:
        return _splits(state, ARMS[name], added_only)
    train = state.settings.train.model_copy(update={"arms": [*arms, name]})
    try:
        return _splits(State(state.settings.model_copy(update={"train": train})), ARMS[name], added_only)
    except StageError as error:
        raise StageError(f"{error} with --set 'train.arms=[{', '.join(train.arms)}]'") from error


def _splits(state: State, arm: Arm, added_only: bool) -> dict[str, list[Examples]]:
    """The images of each split; what an arm adds is in `train`, real images of the split `extra` too."""
    train = state.training_examples(arm)
    added = train[1:]  # the originals come first
    if arm.edits and not added:
        raise StageError(f"export: no edit survived the filters of {arm.name}; loosen judge.filters")
    if added_only and not added:
        raise ConfigError(f"--added-only: the arm {arm.name} adds no image to the originals; leave it out")
    if added_only:
        return {"train": added}
    # State hands out the test split only once a checkpoint is chosen, so that nothing is chosen on it. A copy of
    # the user's own images chooses nothing, so its ids are read here, straight from the images table.
    rows = state.images.read(["image_id", "split"])
    ids = {
        split: rows.filter(pc.equal(rows.column("split"), split)).column("image_id").to_pylist()
        for split in ("val", "test")
    }
    held_out = {
        split: [Examples(state.images.uri, "image_id", tuple(found))] for split, found in ids.items() if found
    }
    return {"train": train, **held_out}


def _fingerprint(parts: Sequence[Part]) -> str:
    """Of which images lie in which part, and of the tables' own fingerprints, which are in their files' paths."""
    pieces = [
        (f"{part.split} {part.number}", *without_query(piece.table).split("/")[-3:], *piece.ids)
        for part in parts
        for piece in part.pieces
    ]
    return content_id(*(text for piece in pieces for text in piece))


def _described(splits: dict[str, list[Examples]]) -> str:
    """Of the labels and groups of what is exported, which are corrected where they lie."""
    found = []
    for examples in (examples for of_split in splits.values() for examples in of_split):
        table = examples.resolved().table
        for rows in stream(table, homes(table, examples.key, examples.ids), ["label", "group"]):
            found += [tuple(map(str, row.values())) for row in rows.to_pylist()]
    return content_id(*(text for row in sorted(set(found)) for text in row))


def _folder(out: str, address: str | None) -> RunFolder:
    """OUT, under a path that means the same in a worker's working directory."""
    try:
        place = Place.of(out)
    except ValueError as error:
        raise ConfigError(f"OUT: {error}") from error
    if wrong := list(paths.wrong_with("OUT", place, address)):
        raise ConfigError(wrong[0])
    return RunFolder(place)


def _check_free(export: Export) -> None:
    """Raise ConfigError where OUT holds something else than this export or a part of it."""
    out = export.out
    found = out.fs.get_file_info(out.file())
    if found.type == pafs.FileType.File:
        raise ConfigError(f"OUT: {out.path} is a file; name a folder")
    try:
        about = out.read_foreign_json(_ABOUT)
    except ValueError as error:
        raise ConfigError(
            f"OUT: {out.path} holds a damaged {_ABOUT}; name another folder, or delete it"
        ) from error
    if about is not None:
        if {**export.about, **about, "finished": False} != export.about:  # older ones say less
            raise ConfigError(
                f"OUT: {out.path} holds another export, or one of other edits, labels or settings (see its "
                f"{_ABOUT}); name another folder, or delete it"
            )
        return
    entries = out.fs.get_file_info(pafs.FileSelector(out.file(), allow_not_found=True))
    if any(not posixpath.basename(entry.path).startswith(".") for entry in entries):
        raise ConfigError(f"OUT: {out.path} holds something else; name a new or an empty folder")


def write_export(export: Export, cluster: Cluster) -> None:
    """Write what is not there yet of a planned export. Raises StageError."""
    if export.out.read_json(_ABOUT) != {**export.about, "finished": True} or not is_whole(export):
        export.out.write_json(export.about, _ABOUT)
        write_parts(export, cluster)
        export.out.write_json({**export.about, "finished": True}, _ABOUT)
    amounts = ", ".join(f"{amount} {split}" for split, amount in export.about["images"].items())
    say(f"export: {export.out.shown()}: {amounts} images")
    if "trial" in export.about:
        say(f"export: {export.about['trial']}")
