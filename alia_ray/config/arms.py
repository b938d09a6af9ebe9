"""The arms of the comparison, as data."""

from dataclasses import dataclass, replace
from typing import Literal

from alia_ray.config.filters import VARIANTS, Variant

Augment = Literal["none", "cutmix", "randaugment", "autoaugment", "augmix", "color_jitter"]
EditSet = Literal["discovered", "user", "text_to_image"]


@dataclass(frozen=True)
class Arm:
    """One way to train: what is added to the originals, and how images are augmented on the fly."""

    name: str
    augment: Augment = "none"
    edits: EditSet | None = None  # which edits are added
    real: bool = False  # whether the source's split `extra` is added
    variant: Variant | None = None  # the filter over the edits; None: as `judge` configures it
    control_of: "Arm | None" = None  # add as many edits as this arm does, but drawn at random
    amount: float | None = None  # edits for each training image; None: as `select` configures it


_ALL = (
    Arm("original"),
    Arm("cutmix", augment="cutmix"),
    Arm("randaugment", augment="randaugment"),
    Arm("autoaugment", augment="autoaugment"),
    Arm("augmix", augment="augmix"),
    Arm("color_jitter", augment="color_jitter"),
    Arm("text_to_image", edits="text_to_image", variant=VARIANTS["unfiltered"]),
    Arm("alia_user_prompts", edits="user", variant=VARIANTS["unfiltered"]),
    Arm("alia", edits="discovered"),
    *(Arm(f"alia_{name}", edits="discovered", variant=variant) for name, variant in VARIANTS.items()),
    Arm("real_data", real=True),
)
ARMS = {arm.name: arm for arm in _ALL}
BASE = ARMS["original"]
"""The arm whose classifier judges the edits."""


def control(arm: Arm) -> Arm:
    """The arm that adds as many edits of each class as a filtered one, drawn at random from all of them."""
    return replace(arm, name=f"{arm.name}_control", variant=VARIANTS["unfiltered"], control_of=arm)


def with_amount(arm: Arm, amount: float) -> Arm:
    """An arm that adds `amount` times as many edits as there are training images, if so many are left."""
    return replace(arm, name=f"{arm.name}@{amount:g}", amount=amount)
