"""What rows were made with that no name says: a record beside a table's parts for each way its rows were made.

A name covers what was asked for. What came of that may also hang on the versions of libraries, the device, the
precision that it has, and the files that a model's name led to. A record is written before the first rows that
were made so, under a name from its content: whoever makes such rows may write it again, and it never changes.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from alia_ray.cluster.devices import logical_gpus, worker_device
from alia_ray.cluster.visits import installed
from alia_ray.config import Edit, Model, Section
from alia_ray.config.places import as_given
from alia_ray.models.digests import NOTHING, digest, model_version
from alia_ray.models.methods import models_of
from alia_ray.models.naming import is_on_hub, place_of
from alia_ray.progress import say
from alia_ray.store.run_folder import CLASSIFIER, TENSORS, RunFolder, Table
from alia_ray.store.tables import content_id
from alia_ray.store.writing import delete

if TYPE_CHECKING:
    import torch

Record = dict[str, str]
"""What was used -> how a person is told of it; and "stage"."""

_PREFIX = "_made_with-"  # of files that readers of a table pass over
_TORCH = ("torch", "torchvision", "pillow")
_LIBRARIES = {
    "ingest": ("pillow",),
    "caption": ("torch", "transformers", "pillow"),
    "edit": (*_TORCH, "diffusers", "transformers", "open_clip_torch"),
    "judge": (*_TORCH, "transformers", "open_clip_torch"),
    "train": _TORCH,
}
"""What can change a row of a stage."""
NO_FILES = ("imagenet", "none")  # of `train.weights`: no folder is meant
_WEIGHTS = (CLASSIFIER, TENSORS)  # the files that `train.weights` are


def record(stage: str, sections: Sequence[Section] = ()) -> Record:
    """What the process that asks makes rows of a stage with, the models of the stage's sections being loaded."""
    found = _software(stage)
    models = [model for section in sections for model in models_of(section).values()]
    if any(isinstance(section, Edit) and section.compile for section in sections):
        found["torch"] += ", compiled"
    if all(model.is_simulated for model in models):  # on no device: they need no torch, whose import takes memory
        for model in models:
            found |= _of_model(model, model.dtype)
        return found
    from alia_ray.models.loading import pick_dtype  # not above: it imports torch

    device = worker_device()
    found["device"] = _name_of(device)
    for model in models:
        dtype = str(pick_dtype(model.dtype, device)).removeprefix("torch.")
        found |= _of_model(model, dtype)
    return found


def record_of_discovery(llm: Model | None) -> Record:
    """What domains are discovered with; vLLM, where it loads a model for that, decides about device and dtype."""
    found = _software("discover")
    return found | {"vllm": installed("vllm"), **_of_model(llm, llm.dtype)} if llm else found


def record_of_training(weights: str, on_gpu: bool) -> Record:
    """What a classifier is trained with, from `train.weights`. on_gpu: whether each worker has one, if logical."""
    found = _software("train") | {"device": "GPUs" if on_gpu and not logical_gpus() else "CPUs"}
    if weights not in NO_FILES:
        files = digest(place_of(weights), _WEIGHTS)
        found["weights"] = f"{as_given(weights)} (files {files})"
    return found


def _software(stage: str) -> Record:
    packages = ("alia-ray", *_LIBRARIES.get(stage, ()))
    return {"stage": stage, **{package: installed(package) for package in packages}}


def _of_model(model: Model, dtype: str) -> Record:
    """The record of a model. Its key is what names cover: another key is another model, and no difference."""
    return {_asked(model): f"{as_given(model.name)} ({model_version(model)}, {dtype})"}


def _asked(model: Model) -> str:
    return ":".join([as_given(model.name), as_given(model.revision) or "", model.dtype])


def _name_of(device: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"


# -------------------------------------------------------------------- kept beside the parts


_kept: set[tuple[str, str]] = set()  # folder and name of what this process knows to be there, since it asks often


def keep(place: Table | RunFolder, made_with: Record) -> None:
    """Write a record beside the rows of a table, or in a classifier's folder. Raises FullDiskError."""
    folder, name = _folder(place), f"{_PREFIX}{content_id(*map(str, sorted(made_with.items())))[:12]}.json"
    if (folder.uri(), name) in _kept:
        return
    if not folder.has_file(name):
        folder.write_json(made_with, name)
    _kept.add((folder.uri(), name))


def records(place: Table | RunFolder) -> list[Record]:
    """The records that are kept there, in the order of their names; none of what older releases made."""
    folder = _folder(place)
    kept = (folder.read_json(name) for name in _files(folder))
    return [record for record in kept if record is not None]


def _files(folder: RunFolder) -> list[str]:
    """The names of the records in a folder."""
    found = folder.fs.get_file_info(pafs.FileSelector(folder.file(), allow_not_found=True))
    names = sorted(info.base_name for info in found)
    return [name for name in names if name.startswith(_PREFIX) and name.endswith(".json")]


def lines(places: Iterable[Table | RunFolder]) -> list[str]:
    """The records that are kept in some places, each as a line for a person."""
    found = {
        f"{kept['stage']}: {', '.join(value for key, value in kept.items() if key != 'stage')}"
        for place in places
        for kept in records(place)
    }
    return sorted(found)


def take_over(target: Table, older: Table) -> None:
    """Keep the records of a table whose rows go on in another one."""
    for made_with in records(older):
        keep(target, made_with)


def _folder(place: Table | RunFolder) -> RunFolder:
    return RunFolder(place.uri) if isinstance(place, Table) else place


# -------------------------------------------------------------------- told


_told: set[tuple[str, tuple[str, str]]] = set()  # what a run has heard of a table


def tell(table: Table, now: Sequence[Record], earlier: Sequence[Record], there: int) -> None:
    """Say, once in a process, where workers of a pass differ from each other or from how rows were made before.

    now: the records of the workers so far. earlier, there: of the table before, and how many rows that has.
    """
    ours = now[-1]
    before = difference(ours, earlier) if there else None
    said = before or difference(ours, now)
    if said is None or (table.uri, said) in _told:
        return
    _told.add((table.uri, said))  # the next pass over the table finds these rows as well
    theirs, mine = said
    if before:
        these = f"{'some of ' if ours in earlier else ''}the {table.name} that are there ({there})"
        say(f"{ours['stage']}: {these} were made with {theirs}; those to come with {mine}")
    else:
        say(f"{ours['stage']}: its workers differ: some have {theirs}, others {mine}")


def tell_of_other_files(what: str, place: Table | RunFolder, models: Iterable[Model], weights: str = "") -> None:
    """Say, once in a process, where what is there was made with other files than lie under a model's name now.

    weights: `train.weights`, of a classifier. Of a folder that is gone or cannot be reached nothing is said.
    """
    folders = {_asked(model): (model.name, None) for model in models} | {"weights": (weights, _WEIGHTS)}
    kept, there = records(place), _folder(place).uri()
    for key, (name, files) in folders.items():
        before = list(dict.fromkeys(record[key] for record in kept if " (files " in record.get(key, "")))
        if not before or is_on_hub(name):
            continue
        with suppress(OSError):
            now = digest(place_of(name), files)
            said = (" or ".join(before), now)
            if now != NOTHING and f" (files {now}" not in said[0] and (there, said) not in _told:
                _told.add((there, said))
                say(
                    f"{what}: made with {said[0]}, where other files lie now ({now}); what is there stays, and "
                    "another run.folder would make it anew"
                )


def keep_of_training(name: str, place: RunFolder, now: Record, goes_on: bool) -> None:
    """Keep the record of a training, and say where it goes on with something else than what it was begun with.

    Of one that begins anew nothing is left that an earlier record would be of, so those go.
    """
    if not goes_on:
        for file in _files(place):
            delete(place.fs, place.file(file))
            _kept.discard((place.uri(), file))
    elif said := difference(now, records(place)):
        say(f"train: {name}: begun with {said[0]}, goes on with {said[1]}")
    keep(place, now)


def difference(mine: Record, others: Iterable[Record]) -> tuple[str, str] | None:
    """What others have otherwise, and what they have it instead of. What only one of them has does not count."""
    theirs, ours = [], []
    for other in others:
        keys = [key for key, value in mine.items() if key != "stage" and other.get(key, value) != value]
        theirs += [" and ".join(other[key] for key in keys)] if keys else []
        ours += [mine[key] for key in keys]
    return (" or ".join(dict.fromkeys(theirs)), " and ".join(dict.fromkeys(ours))) if theirs else None
