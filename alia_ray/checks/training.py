"""Whether the classifiers can be built and their trainings be tracked: architecture, first weights, trackers."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pyarrow as pa

from alia_ray.checks.models import unknown_names
from alia_ray.config import Config, Model, Train
from alia_ray.errors import first_line, one_line
from alia_ray.models.naming import place_of
from alia_ray.models.sizes import CLASSIFIERS
from alia_ray.store.run_folder import CLASSIFIER, RunFolder

_UNEQUAL = 0.1  # a larger part of the steps, more or less, is said
_PATIENCE_S = 10.0  # for an answer of the server that has torchvision's weights
_WITHOUT_KEY = ("offline", "disabled", "dryrun")  # what WANDB_MODE says then


def wrong_things(train: Train, stages: Collection[str]) -> Iterator[str]:
    """What of the section `train` is not there, if one of `stages` trains."""
    if not {"train_base", "train"} & set(stages):
        return
    yield from _unknown_architecture(train)
    yield from _missing_weights(train)
    yield from untracked(train)


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """One sentence where whole epochs cannot make the steps of the arms equal."""
    if not settings.train.equal_steps:
        return
    for amount in _added_for_each(settings, Counter(listing.column("split").to_pylist())):
        wanted = settings.train.epochs / (1 + amount)
        takes = max(1, round(wanted)) / wanted
        if abs(takes - 1) > _UNEQUAL:
            yield (
                f"train.equal_steps: with {amount:.3g} images added for each an arm takes about {takes:.2f} times "
                "the steps of `original`, since epochs are whole; raise train.epochs above "
                f"{settings.train.epochs}"
            )


def _added_for_each(settings: Config, splits: Counter[str]) -> list[float]:
    """How many images arms may add for each training image: by `select`, in the split `extra`, and as amounts."""
    train, per_image, added = splits["train"], settings.select.edits_per_image, settings.select.num_extra
    amounts = set(settings.experiment.amounts if settings.experiment else ())
    if train and splits["extra"]:
        amounts.add(splits["extra"] / train)
    if isinstance(per_image, int) and added != "extra":
        amounts.add(per_image if added == "all" or not train else min(per_image, added / train))
    return sorted(amounts)


def untracked(train: Train) -> Iterator[str]:
    """Trackers that are not installed where this is called, or could not write: the first worker asks them."""
    for tracker in train.trackers:
        if find_spec(tracker) is None:
            yield f"train.trackers: {tracker} is not installed; install it, or leave it out"
        elif tracker == "wandb" and not _has_key_of_wandb():
            yield "train.trackers: wandb has no key; set WANDB_API_KEY, or WANDB_MODE=offline"
        elif tracker == "mlflow" and not _has_store_of_mlflow():
            yield (
                "train.trackers: mlflow has no server, and without one needs sqlalchemy and alembic; "
                "set MLFLOW_TRACKING_URI, or install both"
            )


def _has_store_of_mlflow() -> bool:
    """Whether MLflow has a server, or what it makes a database with: `mlflow-skinny` brings neither."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI") or all(map(find_spec, ("sqlalchemy", "alembic"))))


def _has_key_of_wandb() -> bool:
    """Whether W&B finds a key where it looks for one, or needs none."""
    told = os.environ.get
    if told("WANDB_API_KEY") or told("WANDB_IDENTITY_TOKEN_FILE") or told("WANDB_MODE") in _WITHOUT_KEY:
        return True
    host = urlsplit(told("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc(told("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


def _unknown_architecture(train: Train) -> Iterator[str]:
    """A classifier that torchvision does not have, or that takes no pictures of the size."""
    name, size = train.architecture, train.image_size
    if name in CLASSIFIERS:  # which take any size
        return
    import torch  # not above: it takes seconds
    import torchvision

    from alia_ray.models.classifier import ARCHITECTURES

    if name not in ARCHITECTURES:
        near = get_close_matches(name, ARCHITECTURES)
        hint = f"did you mean {' or '.join(near)}?" if near else "see torchvision.models.list_models()"
        yield f"train.architecture: torchvision has no classifier {name!r}; {hint}"
        return
    try:
        with torch.device("meta"):  # shapes alone
            torchvision.models.get_model(name, weights=None).eval()(torch.empty(2, 3, size, size))
    except NotImplementedError:  # RegNet reads its first weights as it is built; it takes any size
        return
    except (RuntimeError, AssertionError) as error:
        yield f"train.image_size: {name} does not take {size}² pixels ({first_line(error)}); set another size"


def _missing_weights(train: Train) -> Iterator[str]:
    """A classifier to start from that is not there, or of another architecture."""
    if train.weights == "none":
        return
    if train.weights == "imagenet":
        yield from _missing_imagenet(train.architecture)
        return
    folder = train.weights
    if folder.startswith("miniature:"):
        unknown = list(unknown_names("train.weights", Model(name=folder)))
        if unknown:
            yield from unknown
            return
        folder = place_of(folder)
    try:
        description = RunFolder(folder).read_foreign_json(CLASSIFIER)
        architecture = None if description is None else description["architecture"]
    except (OSError, ValueError, LookupError, TypeError) as error:  # storage, or what is no JSON of ours
        reason = one_line(error)
        yield f"train.weights: {CLASSIFIER} in {train.weights} cannot be read ({reason}); name another folder"
        return
    if description is None:
        yield (
            f"train.weights: there is no {CLASSIFIER} in {train.weights}; give imagenet, none, or the folder of a "
            "classifier that alia-ray trained"
        )
    elif architecture != train.architecture:
        yield (
            f"train.weights: {train.weights} holds a {architecture}; set train.architecture to it, "
            "or train.weights to imagenet or none"
        )


def _missing_imagenet(architecture: str) -> Iterator[str]:
    """Weights of torchvision that are not to be had, or not what they should be; a driver loads them."""
    from alia_ray.models import imagenet  # not above: torch takes seconds to import

    try:
        url = imagenet.url_of(architecture)
    except ValueError:  # no such architecture, which is said already
        return
    place = imagenet.cached(url)
    if place.is_file():
        if problem := imagenet.tampered(place):
            yield f"train.weights: {problem}"
        return
    try:
        urlopen(Request(url, method="HEAD"), timeout=_PATIENCE_S).close()
    except OSError as error:
        yield (
            f"train.weights: the ImageNet weights of {architecture} are not on this machine, and cannot be "
            f"downloaded ({error}); place {url} at {place}, or set train.weights to none"
        )
