"""Whether the models that a configuration names are there, whole, and of the kind that their keys ask for."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alia_ray.checks import checkpoints
from alia_ray.checks.model_files import Files, inspect
from alia_ray.config import Config, Model
from alia_ray.models.naming import architecture_of, is_made_up, is_random, is_simulated, miniatures, place_of
from alia_ray.models.simulated import simulation_of

RANDOM = {
    "caption.model.name": {"blip-large"},
    "edit.model.name": {"sd15"},
    "baselines.text_to_image.model.name": {"sd15"},
}
"""The architectures that `random:` knows; `judge.model.name` takes any that open_clip knows."""


@dataclass(frozen=True)
class _Asked:
    """A model that a stage needs: its key, and what is asked of its files."""

    key: str
    model: Model
    main: str  # the file by which the hub's cache knows it
    check: Callable[[Files], Iterator[str]]


def wrong_things(settings: Config, stages: Collection[str]) -> Iterator[str]:
    """What is wrong with the models that `stages` need."""
    asked = [*_speaking(settings, stages), *_editing(settings, stages), *_judging(settings, stages)]
    if not asked:
        return
    with ThreadPoolExecutor(len(asked)) as threads:  # each may wait for the hub
        for said in threads.map(_sentences, asked):
            yield from said


def _sentences(asked: _Asked) -> list[str]:
    key, model = asked.key, asked.model
    unknown = list(unknown_names(key, model))
    if unknown or is_made_up(model.name):
        return unknown
    found = inspect(place_of(model.name), model.revision, asked.main, asked.check)
    return [f"{key}: {model.name} {said}" for said in found]


def _speaking(settings: Config, stages: Collection[str]) -> Iterator[_Asked]:
    """The captioner and the LLM, which prompts of one's own make superfluous."""
    if settings.discover.prompts is not None:
        return
    if "caption" in stages:
        yield _Asked("caption.model.name", settings.caption.model, "config.json", checkpoints.captioner)
    if "discover" in stages and settings.llm.base_url is None:
        yield _Asked("llm.model.name", settings.llm.model, "config.json", checkpoints.llm)


def _editing(settings: Config, stages: Collection[str]) -> Iterator[_Asked]:
    if "edit" not in stages:
        return
    edit, main = settings.edit, "model_index.json"
    yield _Asked("edit.model.name", edit.model, main, partial(checkpoints.pipeline, method=edit.method))
    if edit.method == "controlnet" and not is_made_up(edit.model.name):  # which bring their own
        fits = partial(_controlnet, edited=edit.model)
        yield _Asked("edit.controlnet.name", edit.controlnet, "config.json", fits)
    if settings.needs_text_to_image:
        model = settings.baselines.text_to_image.model
        draws = partial(checkpoints.pipeline, method="text_to_image")
        yield _Asked("baselines.text_to_image.model.name", model, main, draws)


def _controlnet(files: Files, edited: Model) -> Iterator[str]:
    """A ControlNet, beside the checkpoint that it steers where that one is as it should be."""
    unets: list[dict[str, Any]] = [{}]

    def keep_unet(of_edited: Files) -> Iterator[str]:
        wrong = list(checkpoints.pipeline(of_edited, "controlnet"))
        unets.append({} if wrong else of_edited.read("unet/config.json"))
        yield from wrong

    inspect(place_of(edited.name), edited.revision, "model_index.json", keep_unet)
    yield from checkpoints.controlnet(files, unets[-1])


def _judging(settings: Config, stages: Collection[str]) -> Iterator[_Asked]:
    if not {"edit", "judge"} & set(stages):
        return
    judge = settings.judge
    yield _Asked("judge.model.name", judge.model, "open_clip_config.json", checkpoints.clip)
    if judge.safety_checker is not None:
        flags = checkpoints.safety_checker
        yield _Asked("judge.safety_checker.name", judge.safety_checker, "config.json", flags)


def unknown_names(key: str, model: Model) -> Iterator[str]:
    """A name that leads nowhere: no miniature model, no random architecture, no folder."""
    name = model.name
    if name.startswith("miniature:"):
        part = name.removeprefix("miniature:")
        if part not in miniatures():
            yield f"{key}: there is no miniature model {part!r}; there are {', '.join(miniatures())}"
    elif is_simulated(name):
        try:
            simulation_of(name)
        except ValueError as error:
            yield f"{key}: {error}"
    elif is_random(name):
        yield from _unknown_random(key, name)
    elif name.startswith((".", "/", "~")) and not Path(name).expanduser().exists():
        yield f"{key}: there is no folder {name}"
    elif key == "judge.model.name" and not name.startswith("hf-hub:") and not Path(name).is_dir():
        yield (
            f"{key}: {name!r} is no folder; give hf-hub:ORG/REPO, a folder that open_clip wrote, or "
            "random:ARCHITECTURE"
        )


def _unknown_random(key: str, name: str) -> Iterator[str]:
    architecture = architecture_of(name)
    if key == "llm.model.name":
        yield f"{key}: random weights say nothing; name a real LLM, or give discover.prompts"
    elif key == "judge.model.name":
        import open_clip  # not above: it imports torch, which takes seconds

        if architecture not in open_clip.list_models():
            yield f"{key}: open_clip has no architecture {architecture!r}; see open_clip.list_models()"
    elif architecture not in RANDOM.get(key, ()):
        known = ", ".join(RANDOM.get(key, ())) or "no architecture for it"
        yield f"{key}: random: knows only {known}, not {name!r}"
