"""Whether the classifiers can be built and their trainings be tracked: architecture, first weights, trackers."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from importlib.util import find_spec

from alia_ray.checks.models import WEIGHTS, unknown_names
from alia_ray.config import Model, Train
from alia_ray.store.run_folder import CLASSIFIER, RunFolder

COMMON_CLASSIFIERS = {
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
}


def wrong_things(train: Train, stages: Collection[str]) -> Iterator[str]:
    """What of the section `train` is not there, if one of `stages` trains."""
    if not {"train_base", "train"} & set(stages):
        return
    yield from _unknown_architecture(train.architecture)
    yield from _missing_weights(train)
    for tracker in train.trackers:
        if find_spec(tracker) is None:
            yield f"train.trackers: {tracker} is not installed; install it, or leave it out"


def _unknown_architecture(architecture: str) -> Iterator[str]:
    if architecture in COMMON_CLASSIFIERS:
        return
    from alia_ray.models.classifier import ARCHITECTURES  # not above: torch takes seconds to import

    if architecture not in ARCHITECTURES:
        near = get_close_matches(architecture, ARCHITECTURES)
        hint = f"did you mean {' or '.join(near)}?" if near else "see torchvision.models.list_models()"
        yield f"train.architecture: torchvision has no classifier {architecture!r}; {hint}"


def _missing_weights(train: Train) -> Iterator[str]:
    """A classifier to start from that is not there, or of another architecture."""
    if train.weights in ("imagenet", "none"):
        return
    folder = train.weights
    if folder.startswith("miniature:"):
        unknown = list(unknown_names("train.weights", Model(name=folder)))
        if unknown:
            yield from unknown
            return
        folder = str(WEIGHTS / folder.removeprefix("miniature:"))
    description = RunFolder(folder).read_json(CLASSIFIER)
    if description is None:
        yield (
            f"train.weights: there is no {CLASSIFIER} in {train.weights}; give imagenet, none, or the folder of a "
            "classifier that alia-ray trained"
        )
    elif description["architecture"] != train.architecture:
        yield (
            f"train.weights: {train.weights} holds a {description['architecture']}; set train.architecture to it, "
            "or train.weights to imagenet or none"
        )
