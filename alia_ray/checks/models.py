"""Whether the models that a configuration names can be there."""

from collections.abc import Collection, Iterator
from pathlib import Path

from alia_ray.config import Config, Model
from alia_ray.config.arms import ARMS

WEIGHTS = Path(__file__).parent.parent / "miniature" / "weights"
RANDOM = {
    "caption.model.name": {"blip-large"},
    "edit.model.name": {"sd15"},
    "baselines.text_to_image.model.name": {"sd15"},
}
"""The architectures that `random:` knows; `judge.model.name` takes any that open_clip knows."""


def wrong_things(settings: Config, stages: Collection[str]) -> Iterator[str]:
    """What is wrong with the names of the models that the configuration needs."""
    models = _models(settings)
    llm = models.get("llm.model.name")
    if llm is not None and llm.name.startswith("random:"):
        del models["llm.model.name"]
        yield "llm.model.name: random weights say nothing; name a real LLM, or give discover.prompts"
    for key, model in models.items():
        yield from unknown_names(key, model)
    yield from _wrong_clip(settings.judge.model)


def _models(settings: Config) -> dict[str, Model]:
    """The models that the configuration needs, by the keys of their names."""
    models = {
        "caption.model.name": settings.caption.model,
        "edit.model.name": settings.edit.model,
        "judge.model.name": settings.judge.model,
    }
    if any(ARMS[name].edits == "text_to_image" for name in settings.named_arms):
        models["baselines.text_to_image.model.name"] = settings.baselines.text_to_image.model
    if settings.edit.method == "controlnet" and not settings.edit.model.name.startswith("random:"):
        models["edit.controlnet.name"] = settings.edit.controlnet  # random weights bring their own
    if settings.judge.safety_checker is not None:
        models["judge.safety_checker.name"] = settings.judge.safety_checker
    if settings.discover.prompts is None and settings.llm.base_url is None:
        models["llm.model.name"] = settings.llm.model
    return models


def unknown_names(key: str, model: Model) -> Iterator[str]:
    """A name that leads nowhere: no miniature model, no random architecture, no folder."""
    if model.name.startswith("miniature:"):
        part = model.name.removeprefix("miniature:")
        known = sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())
        if part not in known:
            yield f"{key}: there is no miniature model {part!r}; there are {', '.join(known)}"
    elif model.name.startswith("random:") and key in RANDOM:
        if model.name.removeprefix("random:") not in RANDOM[key]:
            yield f"{key}: random: knows only {', '.join(RANDOM[key])}, not {model.name!r}"
    elif model.name.startswith((".", "/", "~")) and not Path(model.name).expanduser().is_dir():
        yield f"{key}: there is no folder {model.name}"


def _wrong_clip(model: Model) -> Iterator[str]:
    known = ("hf-hub:", "miniature:", "random:")
    if not model.name.startswith(known) and not Path(model.name).expanduser().is_dir():
        yield (
            f"judge.model.name: {model.name!r} is no folder; give hf-hub:ORG/REPO, a folder that open_clip wrote, "
            "or random:ARCHITECTURE"
        )
