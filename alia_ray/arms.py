"""The arms of the comparison, as data."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """One way to train: what is added to the originals, and how images are augmented on the fly."""

    name: str
    adds_edits: bool = False
    augment: Literal["none", "randaugment", "cutmix"] = "none"


ARMS = {
    arm.name: arm
    for arm in (
        Arm("original"),
        Arm("randaugment", augment="randaugment"),
        Arm("cutmix", augment="cutmix"),
        Arm("alia", adds_edits=True),
    )
}
BASE = ARMS["original"]
"""The arm whose classifier judges the edits."""
