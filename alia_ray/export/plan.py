"""What an arm trains on, out of the run folder and into anyone's trainer: which images, and where they may go."""

import posixpath
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.fs as pafs

from alia_ray.checks import paths
from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError
from alia_ray.config.arms import ARMS, Arm
from alia_ray.config.places import Place
from alia_ray.config.train import unknown_arm
from alia_ray.errors import StageError
from alia_ray.export.parts import Chosen, Export, Part, is_whole, parts_of, write_parts
from alia_ray.progress import say
from alia_ray.state import State
from alia_ray.state.there import AT_ONCE
from alia_ray.store.ledger import Ledger, literal
from alia_ray.store.run_folder import RunFolder, without_query
from alia_ray.store.tables import content_id_of

_ABOUT = "export.json"  # in OUT: what is exported there, and whether all of it is there
_DESCRIBED = ("key", "label", "group")


def plan_export(state: State, out: str, format: str, arm: str = "alia", added_only: bool = False) -> Export:
    """What is to be exported; nothing is written yet. Raises StageError, and ConfigError where OUT is taken."""
    if arm not in ARMS:
        raise ConfigError(f"--arm: {unknown_arm(arm)}")
    splits = _splits_of(state, arm, added_only)
    parts = tuple(part for split, chosen in splits.items() for part in parts_of(split, chosen))
    about = {
        "arm": arm,
        "seed": state.settings.seed,
        "format": format,
        "added_only": added_only,
        "classes": _classes(state),
        "images": {split: sum(len(each.ids) for each in chosen) for split, chosen in splits.items()},
        "fingerprint": _fingerprint(parts),
        "described": _described(state.ledger, splits),
        "finished": False,
    }
    if state.settings.trial:
        about["trial"] = state.settings.trial
    export = Export(_folder(out, state.settings.run.address), format, parts, about)
    _check_free(export)
    return export


def _splits_of(state: State, name: str, added_only: bool) -> dict[str, list[Chosen]]:
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


def _splits(state: State, arm: Arm, added_only: bool) -> dict[str, list[Chosen]]:
    """The images of each split; what an arm adds is in `train`, real images of the split `extra` too."""
    there = {table.uri: table for table in (state.images, *([state.edits] if arm.edits else []))}
    train = [Chosen(there[examples.table], examples.column()) for examples in state.training_examples(arm)]
    added = train[1:]  # the originals come first
    if arm.edits and not added:
        raise StageError(f"export: no edit survived the filters of {arm.name}; loosen judge.filters")
    if added_only and not added:
        raise ConfigError(f"--added-only: the arm {arm.name} adds no image to the originals; leave it out")
    if added_only:
        return {"train": added}
    # State hands out the test split only once a checkpoint is chosen, so that nothing is chosen on it. A copy of
    # the user's own images chooses nothing, so its ids are read here, straight from the images table.
    held_out = {split: Chosen(state.images, _ids_of(state, split)) for split in ("val", "test")}
    return {"train": train, **{split: [chosen] for split, chosen in held_out.items() if len(chosen.ids)}}


def _ids_of(state: State, split: str) -> pa.StringArray:
    rows = state.ledger.rows(state.images, ["split"])
    query = f"SELECT image_id FROM {rows} WHERE split = {literal(split)} ORDER BY image_id"
    return state.ledger.ask(query).column(0).combine_chunks()


def _classes(state: State) -> list[str]:
    return sorted(state.ledger.column(f"SELECT DISTINCT label FROM {state.ledger.rows(state.images, ['label'])}"))


def _fingerprint(parts: Sequence[Part]) -> str:
    """Of which images lie in which part, and of the tables' own fingerprints, which are in their files' paths."""

    def texts() -> Iterator[str]:
        for part in parts:
            for piece in part.pieces:
                yield f"{part.split} {part.number}"
                yield from without_query(piece.table).split("/")[-3:]
                yield from piece.ids.to_pylist()

    return content_id_of(texts())


def _described(ledger: Ledger, splits: dict[str, list[Chosen]]) -> str:
    """Of the labels and groups of what is exported, which are corrected where they lie."""
    described = ledger.keep("described", pa.schema(dict.fromkeys(_DESCRIBED, pa.string())).empty_table())
    for chosen in (chosen for of_split in splits.values() for chosen in of_split):
        rows = chosen.relation(ledger, ["label", "group"])
        described = ledger.keep(
            "described", f'SELECT * FROM {described} UNION SELECT key, label, "group" FROM ({rows})'
        )

    def texts() -> Iterator[str]:
        for batch in ledger.batches(f'SELECT * FROM {described} ORDER BY key, label, "group"', AT_ONCE):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield from map(str, row)

    return content_id_of(texts())


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
