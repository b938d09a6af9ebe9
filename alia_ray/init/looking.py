"""One's own images -> the text of a configuration that runs on them, and what was found."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from alia_ray.checks import names, splits
from alia_ray.checks.inputs import STAGES, refuse
from alia_ray.checks.paths import lies_in
from alia_ray.config import Config, ConfigError, parse_config
from alia_ray.config.places import Place
from alia_ray.config.reading import read_yaml
from alia_ray.init import found, layouts, writing
from alia_ray.progress import number_of
from alia_ray.sources import list_images

_MANY = 1000  # images, of which a trial on a part is worth a word
_TRIAL = 200


@dataclass(frozen=True)
class Looked:
    """What came of a look."""

    text: str  # of the YAML file
    told: list[str]  # what was found, and what is to be seen to, a line each
    commands: list[str]  # what to run next


def look(folder: str, out: Path, miniature: bool) -> Looked:
    """A configuration that is to lie at `out`.

    Raises ConfigError where nothing is recognised, or for all that a run on these images would be refused for.
    """
    place = _place(folder)
    layout = layouts.recognise(place)
    run = {"folder": _run_folder(place, f"runs/{out.stem}")}
    bare = parse_config({"run": run, "source": layout.source}).source
    listing = list_images(bare)
    class_names = found.names_for(_labels(listing))
    where = place.given if bare.kind == "csv" else layout.source.get("path", place.given)  # it may lie deeper
    counted = [f"{where}: {layout.called}", *found.counted(bare, listing)]
    recipe = writing.recipe_for(bare.kind, miniature)
    about = [f"What `alia-ray init` found in {counted[0]}", *counted[1:], *_next(out)]
    text = writing.filled(recipe, run["folder"], {**layout.source, "class_names": class_names}, about)
    settings = parse_config(read_yaml(text))
    refuse([splits.wrong_things(settings, listing, STAGES), names.wrong_things(settings, listing)])
    told = [*counted, *found.doubts(settings, listing), *_to_see_to(settings, recipe, out)]
    return Looked(text, told, [*_next(out), *_trial(listing, out)])


def _run_folder(place: Place, name: str) -> str:
    """A run folder that does not lie among the images, where `init` runs in their folder."""
    if not lies_in(Place.of(name), place):
        return name
    return os.path.join(os.path.relpath(os.path.dirname(place.rstrip("/"))), name)


def missing(folder: str) -> Iterator[str]:
    """That there is nothing to look at. Raises ConfigError for a name that no folder has."""
    yield from layouts.missing(_place(folder))


def _place(folder: str) -> Place:
    """Where the images are; a folder that is called like a variable or a home is meant as it is."""
    if folder.startswith(("$", "~")) and os.path.lexists(folder):
        folder = os.path.join(".", folder)
    try:
        folder.encode()
        return Place.of(folder)
    except UnicodeEncodeError as error:
        raise ConfigError(f"the name {folder!r} is not UTF-8; rename it") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _labels(listing: pa.Table) -> list[str]:
    return [label for label in listing.column("label").unique().to_pylist() if label]


def _to_see_to(settings: Config, recipe: str, out: Path) -> list[str]:
    """What only the person knows, and where to write it."""
    told = []
    if named := len(settings.source.class_names):
        told.append(
            f"{number_of(named, 'labels')} cannot stand in a prompt as written: {out} gives names under "
            "source.class_names; say there what they show"
        )
    if recipe == "imagefolder":
        told.append(
            f"{out} does not know what your classes are: say it in discover.prefix, as "
            f"{settings.discover.prefix + ' bird'!r}, and in judge.positives, as 'a photo of a bird'"
        )
    return told


def _next(out: Path) -> list[str]:
    plan, run = (writing.command(name, str(out)) for name in ("plan", "run"))
    return [f"  {plan}   # what it would take", f"  {run}    # run it, or resume it"]


def _trial(listing: pa.Table, out: Path) -> list[str]:
    if listing.num_rows <= _MANY:
        return []
    fewest = listing.group_by(["split", "label"]).aggregate([]).num_rows
    run = writing.command("run", str(out))
    return [f"  {run} --set source.limit={max(_TRIAL, fewest)}   # a trial on a part of them first"]
