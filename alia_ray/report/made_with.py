"""What the tables and classifiers of a run were made with, and whether the same files lie there now.

No name covers the content of a local folder: what is made from it stays when it changes, and the person is told.
"""

from collections.abc import Iterator

from alia_ray.config import Section
from alia_ray.models.methods import models_of
from alia_ray.stages.caption import captions_table
from alia_ray.stages.made_with import lines, records, tell_of_other_files
from alia_ray.state import State, so_far
from alia_ray.store.run_folder import RunFolder, Table

_PLAINLY = {
    "a CPU": "CPU",
    "CPUs": "CPU",
    "GPUs": "GPUs for training",
}  # it is not told their names


def lines_of(state: State) -> dict[str, list[str]]:
    """The rows of a run, by the names of tables -> a line for each way they were made."""
    found = {table.name: lines([table]) for table, _ in _tables(state)}
    found["classifiers"] = lines(_classifiers(state).values())
    return {name: told for name, told in found.items() if told}


def devices_of(state: State) -> list[str]:
    """The devices that made the rows and classifiers of a run, in plain words: "CPU", and the names of GPUs."""
    places = [*(table for table, _ in _tables(state)), *_classifiers(state).values()]
    found = {kept["device"] for place in places for kept in records(place) if "device" in kept}
    return sorted({_PLAINLY.get(device, device) for device in found})


def tell_of_changes(state: State) -> None:
    """Say, once in a process, what is there whose model's files have changed since; it is not made again."""
    for table, sections in _tables(state):
        models = [model for section in sections for model in models_of(section).values()]
        tell_of_other_files(table.name, table, models)
    for name, folder in _classifiers(state).items():
        tell_of_other_files(f"train: {name}, seed {state.settings.seed}", folder, (), state.settings.train.weights)


def _tables(state: State) -> Iterator[tuple[Table, tuple[Section, ...]]]:
    """The tables as far as the run has come, each with the sections whose models make its rows."""
    settings = state.settings
    for read, sections in (
        (lambda: state.images, ()),
        (lambda: captions_table(settings), (settings.caption,)),
        (state.domains_table, (settings.llm,)),
        (lambda: state.edits, (settings.edit, settings.text_to_image, settings.judge)),
    ):
        table = so_far(read)
        if table is not None:
            yield table, sections


def _classifiers(state: State) -> dict[str, RunFolder]:
    """The folders of the arms' classifiers, as far as the run has come."""
    found = {arm.name: so_far(lambda arm=arm: state.arm_folder(arm)) for arm in state.arms}
    return {name: folder for name, folder in found.items() if folder is not None}
