"""torchvision's ImageNet weights: found in torch's cache or downloaded, and nothing else believed.

The name of each file ends in the first digits of its SHA-256. They are checked at every use, not only after a
download, and tensors alone are read: a file that somebody laid there runs no code and changes no weight.
"""

import hashlib
import pickle
import re
from pathlib import Path

import torch
import torchvision

_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
# What DenseNet's files call norm.1 is norm1 in its network, and so on.
_OLDER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")


def url_of(architecture: str) -> str:
    """Where the first weights lie that torchvision published. Raises ValueError for an unknown architecture."""
    return next(iter(torchvision.models.get_model_weights(architecture))).url


def cached(url: str) -> Path:
    """Where torch keeps the file of a URL, there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def tampered(file: Path) -> str | None:
    """What is wrong with a file that is not the one its name stands for; None: nothing."""
    digits = _digits_of(file.name)
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found.startswith(digits):
        return None
    return f"the SHA-256 of {file} begins with {found[: len(digits)]}, not as its name says; delete it"


def imagenet_weights(architecture: str) -> dict[str, torch.Tensor]:
    """The state dict that torchvision published first for an architecture, by the names that its network has now.

    Raises OSError when the file is neither there nor to be downloaded, and ValueError when it is not what
    torchvision published, or holds anything but tensors.
    """
    url = url_of(architecture)
    file = cached(url)
    if not file.is_file():
        _download(url, file, architecture)
    if problem := tampered(file):
        raise ValueError(f"train.weights: {problem}")
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"train.weights: {file} holds more than tensors; delete it") from error
    return {_OLDER.sub(r"\1", name): tensor for name, tensor in found.items()}


def _digits_of(name: str) -> str:
    """Those of its SHA-256 in a file's name, which all of torchvision's have."""
    found = _DIGITS.search(name)
    if found is None:
        raise ValueError(f"train.weights: the name {name} holds no digits of its SHA-256 to check it by")
    return found[1]


def _download(url: str, file: Path, architecture: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), _digits_of(file.name), progress=False)
    except RuntimeError as error:  # what came is not what was published
        raise ValueError(f"train.weights: what {url} sent is not what its name says ({error})") from error
    except OSError as error:
        raise OSError(
            f"train.weights: the ImageNet weights of {architecture} cannot be downloaded ({error}); set "
            f"train.weights to none, or place {url} at {file}"
        ) from error
