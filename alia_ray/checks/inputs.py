"""What can be refused before Ray starts: inputs and models that are not there."""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from alia_ray.config import Config, ConfigError, Model, Train
from alia_ray.config.arms import ARMS
from alia_ray.sources import list_images
from alia_ray.store.run_folder import CLASSIFIER, RunFolder

WEIGHTS = Path(__file__).parent.parent / "miniature" / "weights"
RANDOM = {
    "caption.model.name": {"blip-large"},
    "edit.model.name": {"sd15"},
    "baselines.text_to_image.model.name": {"sd15"},
}
"""The architectures that `random:` knows; `judge.model.name` takes any that open_clip knows."""
COMMON_CLASSIFIERS = {
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
}


def check_inputs(settings: Config) -> None:
    """Raise ConfigError for a source that cannot be listed, or a model that cannot be there."""
    models = {
        "caption.model.name": settings.caption.model,
        "edit.model.name": settings.edit.model,
        "judge.model.name": settings.judge.model,
    }
    if any(ARMS[name].edits == "text_to_image" for name in _arms(settings)):
        models["baselines.text_to_image.model.name"] = settings.baselines.text_to_image.model
    if settings.edit.method == "controlnet" and not settings.edit.model.name.startswith("random:"):
        models["edit.controlnet.name"] = settings.edit.controlnet  # random weights bring their own
    if settings.judge.safety_checker is not None:
        models["judge.safety_checker.name"] = settings.judge.safety_checker
    if settings.discover.prompts is None and settings.llm.base_url is None:
        models["llm.model.name"] = settings.llm.model
        if settings.llm.model.name.startswith("random:"):
            raise ConfigError(
                "llm.model.name: random weights say nothing; name a real LLM, or give discover.prompts"
            )
    for key, model in models.items():
        _check_model(key, model)
    _check_clip(settings.judge.model)
    _check_classifier(settings.train.architecture)
    _check_weights(settings.train)
    _check_trackers(settings.train.trackers)
    _check_extra(settings, set(list_images(settings.source).column("split").to_pylist()))


def _arms(settings: Config) -> list[str]:
    """The arms that a configuration names, for a run or an experiment."""
    chosen = settings.experiment
    return [*settings.train.arms, *((chosen.arms or []) + chosen.amount_arms if chosen else [])]


def _check_trackers(trackers: list[str]) -> None:
    for tracker in trackers:
        if find_spec(tracker) is None:
            raise ConfigError(f"train.trackers: {tracker} is not installed; install it, or leave it out")


def _check_extra(settings: Config, splits: set[str]) -> None:
    """Refuse what needs the split `extra` where the source has none."""
    if "extra" in splits:
        return
    for arm in _arms(settings):
        if ARMS[arm].real:
            raise ConfigError(f"train.arms: {arm} needs images in the split 'extra', and the source has none")
    if settings.select.num_extra == "extra":
        raise ConfigError(
            "select.num_extra: 'extra' counts the images of the split 'extra', and the source has none; give a "
            "number, or all"
        )


def _check_clip(model: Model) -> None:
    known = ("hf-hub:", "miniature:", "random:")
    if not model.name.startswith(known) and not Path(model.name).expanduser().is_dir():
        raise ConfigError(
            f"judge.model.name: {model.name!r} is no folder; give hf-hub:ORG/REPO, a folder that open_clip wrote, "
            "or random:ARCHITECTURE"
        )


def _check_classifier(architecture: str) -> None:
    if architecture in COMMON_CLASSIFIERS:
        return
    from alia_ray.models.classifier import ARCHITECTURES  # not above: torch takes seconds to import

    if architecture not in ARCHITECTURES:
        near = get_close_matches(architecture, ARCHITECTURES)
        hint = f"did you mean {' or '.join(near)}?" if near else "see torchvision.models.list_models()"
        raise ConfigError(f"train.architecture: torchvision has no classifier {architecture!r}; {hint}")


def _check_weights(train: Train) -> None:
    """Refuse a classifier to start from that is not there, or of another architecture."""
    if train.weights in ("imagenet", "none"):
        return
    folder = train.weights
    if folder.startswith("miniature:"):
        _check_model("train.weights", Model(name=folder))
        folder = str(WEIGHTS / folder.removeprefix("miniature:"))
    description = RunFolder(folder).read_json(CLASSIFIER)
    if description is None:
        raise ConfigError(
            f"train.weights: there is no {CLASSIFIER} in {train.weights}; give imagenet, none, or the folder of a "
            "classifier that alia-ray trained"
        )
    if description["architecture"] != train.architecture:
        raise ConfigError(
            f"train.weights: {train.weights} holds a {description['architecture']}; set train.architecture to it, "
            "or train.weights to imagenet or none"
        )


def _check_model(key: str, model: Model) -> None:
    if model.name.startswith("miniature:"):
        part = model.name.removeprefix("miniature:")
        known = sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())
        if part not in known:
            raise ConfigError(f"{key}: there is no miniature model {part!r}; there are {', '.join(known)}")
    elif model.name.startswith("random:") and key in RANDOM:
        if model.name.removeprefix("random:") not in RANDOM[key]:
            raise ConfigError(f"{key}: random: knows only {', '.join(RANDOM[key])}, not {model.name!r}")
    elif model.name.startswith((".", "/", "~")) and not Path(model.name).expanduser().is_dir():
        raise ConfigError(f"{key}: there is no folder {model.name}")
