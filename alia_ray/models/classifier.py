"""Image classifiers of torchvision: building, saving, loading and asking them; and the class thresholds.

A saved classifier is a folder with `model.safetensors` and `classifier.json`, on any pyarrow filesystem.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torchvision
from torchvision.transforms.v2 import functional as image_ops

from alia_ray.config import Pixels
from alia_ray.errors import shortened
from alia_ray.images import decode_rgb, fit_square, squeeze
from alia_ray.models.batches import as_batch, middle
from alia_ray.models.imagenet import imagenet_weights
from alia_ray.models.loading import pick_device
from alia_ray.models.naming import resolve
from alia_ray.store.run_folder import CLASSIFIER, TENSORS, RunFolder

# The training mode of the first two gives more than logits; MNASNets are not loaded from tensors alone.
_OTHERS = ("googlenet", "inception", "mnasnet")
ARCHITECTURES = tuple(
    name for name in torchvision.models.list_models(module=torchvision.models) if not name.startswith(_OTHERS)
)
"""The names that `build_classifier` knows."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]


@dataclass(frozen=True)
class Classifier:
    """A trained classifier in evaluation mode on its device."""

    model: torch.nn.Module
    classes: list[str]
    pixels: Pixels

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def probabilities(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Class probabilities, float32 (N, C), on the classifier's device.

        images: float (N, 3, H, W) in [0, 1], or N of (3, H, W), of any sizes: cropped and resized (bicubic,
        antialiased) as the training images were.
        """
        return self.of_squares(as_batch(images, self._square))

    @torch.inference_mode()
    def of_squares(self, images: torch.Tensor) -> torch.Tensor:
        """The same of what `pixels_for_training` gives, cropped and resized: float (N, 3, S, S) in [0, 1]."""
        images = prepare(images.to(self.device, torch.float32), self.pixels)
        return self.model(images).float().softmax(dim=1)

    def _square(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.device, torch.float32)
        size, crop = self.pixels.image_size, self.pixels.crop
        if crop is not None:
            images = _resize(images, [crop.square, crop.square])
            images = image_ops.crop(images, crop.top, crop.left, crop.height, crop.width)
            images = _resize(images, [size, size])
        elif images.shape[-2:] != (size, size):
            if self.pixels.resize == "squash":
                images = _resize(images, [size, size])
            else:
                images = middle(images, (size, size)).clamp(0, 1)
        return images


def _resize(images: torch.Tensor, size: list[int]) -> torch.Tensor:
    bicubic = image_ops.InterpolationMode.BICUBIC
    return image_ops.resize(images, size, bicubic, antialias=True).clamp(0, 1)


def build_classifier(architecture: str, weights: str, num_classes: int) -> torch.nn.Module:
    """A torchvision classifier with a new last layer of `num_classes` outputs, on the CPU.

    weights: "none" draws all of it from torch's generator. Else everything but the last layer comes from the
    first weights torchvision published for it ("imagenet", for ResNets those of the paper), or from a saved
    classifier: its folder, or `miniature:NAME`.
    Raises ValueError for an unknown architecture, or a classifier of another one or without some of its tensors,
    FileNotFoundError where there is none, and what `imagenet_weights` raises.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"train.architecture: {architecture!r} is none of {', '.join(ARCHITECTURES)}")
    model = torchvision.models.get_model(architecture, weights=None, num_classes=num_classes)
    if weights != "none":
        last_layer = list(model.state_dict())[-1].rpartition(".")[0] + "."
        known = imagenet_weights(architecture) if weights == "imagenet" else _saved_weights(weights, architecture)
        body = {name: value for name, value in known.items() if not name.startswith(last_layer)}
        drawn = model.load_state_dict(body, strict=False).missing_keys
        if lost := [name for name in drawn if not name.startswith(last_layer)]:
            raise ValueError(
                f"train.weights: {weights} lacks {len(lost)} tensors of a {architecture}: {shortened(lost)}"
            )
    return model


def _saved_weights(name: str, architecture: str) -> dict[str, torch.Tensor]:
    """The tensors of a saved classifier, which must be of the architecture."""
    source = RunFolder(resolve(name))
    description = _description(source)
    if description["architecture"] != architecture:
        raise ValueError(f"train.weights: {name} holds a {description['architecture']}, not a {architecture}")
    return _tensors(source)


def save_classifier(
    folder: str, model: torch.nn.Module, classes: list[str], architecture: str, pixels: Pixels
) -> None:
    """Write a classifier to a folder, its description last."""
    target = RunFolder(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    target.write_bytes(safetensors.torch.save(tensors), TENSORS)
    description = {"architecture": architecture, "classes": list(classes), "pixels": pixels.model_dump()}
    target.write_json(description, CLASSIFIER)


def load_classifier(folder: str, device: torch.device | None = None) -> Classifier:
    """Read a saved classifier to `device`, by default a GPU where there is one.

    Raises FileNotFoundError when the folder holds none.
    """
    device = device or pick_device()
    source = RunFolder(folder)
    description = _description(source)
    model = build_classifier(description["architecture"], "none", len(description["classes"]))
    model.load_state_dict(_tensors(source))
    model = model.to(device, memory_format=torch.channels_last).eval()
    return Classifier(model, description["classes"], Pixels(**description["pixels"]))


def _description(source: RunFolder) -> dict[str, Any]:
    """What a saved classifier is. Raises FileNotFoundError when the folder holds none."""
    description = source.read_foreign_json(CLASSIFIER)
    if description is None:
        raise FileNotFoundError(f"there is no classifier in {source.file()}")
    return description


def _tensors(source: RunFolder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load(source.read_bytes(TENSORS))


def prepare(images: torch.Tensor, pixels: Pixels) -> torch.Tensor:
    """Float (N, 3, H, W) in [0, 1] as a classifier takes it: perhaps normalised, channels last in memory."""
    if pixels.normalise:
        images = image_ops.normalize(images, _MEAN, _STD)
    return images.contiguous(memory_format=torch.channels_last)


def pixels_for_training(encoded: bytes, pixels: Pixels) -> torch.Tensor:
    """Decode an image and make a square of it, as `pixels` says: uint8 (3, image_size, image_size).

    Raises alia_ray.images.DecodeError.
    """
    picture, size, crop = decode_rgb(encoded), pixels.image_size, pixels.crop
    if crop is None:
        picture = squeeze(picture, (size, size)) if pixels.resize == "squash" else fit_square(picture, size)
    else:
        box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
        picture = squeeze(squeeze(picture, (crop.square, crop.square)).crop(box), (size, size))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def class_thresholds(of_label: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The threshold of each class: its mean probability over the images labelled with it (paper, section 3.3).

    of_label: float (N,), what each image's label got; labels: int64 (N,). Returns float64 (C,); NaN for a class
    without images.
    """
    sums = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, of_label.double())
    return sums / torch.bincount(labels, minlength=num_classes)
