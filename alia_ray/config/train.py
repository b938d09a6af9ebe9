"""The section `train`: what a classifier sees of an image, and how it is trained."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from alia_ray.config.arms import ARMS
from alia_ray.config.identity import LATER, NEVER
from alia_ray.config.keys import nearest
from alia_ray.config.places import Weights
from alia_ray.config.sections import Section


def unknown_arm(name: str) -> str:
    """What is said of a name that no arm has."""
    near = nearest(name, ARMS)
    meant = f"did you mean {near}? There" if near else "there"
    return f"there is no arm {name!r}; {meant} are {', '.join(ARMS)}"


def _known_arm(name: str) -> str:
    if name not in ARMS:
        raise ValueError(unknown_arm(name))
    return name


ArmName = Annotated[str, AfterValidator(_known_arm), Field(json_schema_extra={"enum": list(ARMS)})]
Metric = Literal["class_balanced_accuracy", "accuracy", "macro_f1"]
"""Of validation; a training's records call it `val_METRIC`."""


class Crop(Section):
    """A part of each image: it is squeezed to a square of `square` pixels, of which a rectangle is kept."""

    square: int = Field(448, ge=8, description="the side to which the image is squeezed, in pixels")
    top: int = Field(0, ge=0, description="where the rectangle begins, in pixels from above")
    left: int = Field(0, ge=0, description="the same from the left")
    height: int = Field(ge=1, description="of the rectangle, in pixels")
    width: int = Field(ge=1, description="of the rectangle, in pixels")

    @model_validator(mode="after")
    def _lies_inside(self) -> "Crop":
        if self.top + self.height > self.square or self.left + self.width > self.square:
            raise ValueError(f"the rectangle must lie within the square of {self.square} pixels")
        return self


class Pixels(Section):
    """What a classifier sees of an image."""

    image_size: int = Field(224, ge=8, description="the side of what the classifier sees, in pixels")
    resize: Annotated[Literal["crop", "squash"], LATER] = Field(
        "crop", description="to a square: the middle of the image (crop), or all of it, squeezed (squash)"
    )
    crop: Crop | None = Field(
        None, description="cut this out of the squeezed image, as iWildCam's camera banner wants it"
    )
    normalise: bool = Field(True, description="to ImageNet's mean and deviation")


class ColorJitter(Section):
    """How far the arm `color_jitter` changes an image, as torchvision's ColorJitter takes it."""

    brightness: float = Field(0.4, ge=0, description="by a factor of at most 1 ± this")
    contrast: float = Field(0.4, ge=0, description="by a factor of at most 1 ± this")
    saturation: float = Field(0.4, ge=0, description="by a factor of at most 1 ± this")
    hue: float = Field(0.1, ge=0, le=0.5, description="by at most this share of the circle of colours")


class Train(Pixels):
    """Fine-tuning the classifier, data-parallel on Ray Train (paper, section 4)."""

    arms: list[ArmName] = Field(
        ["original", "alia"], description="what is trained and compared; original is always one of them"
    )
    seed: int | None = Field(None, description="of the weights, the batches and the draw of edits; none: run.seed")
    architecture: str = Field("resnet50", description="a classifier of torchvision by its name there")
    weights: Weights = Field(
        "imagenet",
        description="what training starts from: imagenet, none, or the folder of a classifier of the same "
        "architecture, as a run leaves them under classifiers/; its last layer is left out",
    )
    epochs: int = Field(100, ge=1, description="times over the training images")
    batch_size: int = Field(128, ge=1, description="over all workers")
    learning_rate: float = Field(0.001, gt=0, description="of SGD, at its start")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(1e-4, ge=0, description="of SGD")
    flip: Annotated[bool, LATER] = Field(True, description="every arm sees half of the images left to right")
    color_jitter: Annotated[ColorJitter, LATER] = Field(ColorJitter(), description="of the arm color_jitter")
    select_by: Annotated[Metric, LATER] = Field(
        "class_balanced_accuracy", description="the epoch that is kept is the best by this on validation"
    )
    workers: int = Field(1, ge=1, description="of each training; on a cluster with GPUs one GPU each")
    cpus_per_worker: float = Field(1.0, gt=0, description="more where decoding keeps a GPU waiting")
    loading: Annotated[Literal["auto", "memory", "stream"], NEVER] = Field(
        "auto",
        description="where decoded images lie: in a worker's memory, or on its node's disk, from where they are "
        "streamed; auto: in memory where they fit. The weights are the same",
    )
    max_failures: int = Field(2, ge=0, description="how often a lost worker is replaced, for each training")
    trackers: list[Literal["wandb", "mlflow"]] = Field(
        [], description="beside TensorBoard's files; must be installed"
    )
    equal_steps: bool = Field(
        False, description="every arm takes as many steps as the original: fewer epochs where images were added"
    )

    @property
    def pixels(self) -> Pixels:
        """What the classifier sees of an image."""
        return Pixels(**{name: getattr(self, name) for name in Pixels.model_fields})

    @model_validator(mode="after")
    def _batches_divide(self) -> "Train":
        if self.batch_size % self.workers:
            raise ValueError(
                f"batch_size={self.batch_size} is over all workers, so it must be a multiple of "
                f"workers={self.workers}"
            )
        return self
