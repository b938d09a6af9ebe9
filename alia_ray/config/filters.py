"""The filters over edits by name, as data; `edits/verdicts.py` says what each one drops."""

from dataclasses import dataclass
from typing import Literal

Filter = Literal["semantic", "too_similar", "mislabelled"]
ConfidenceRule = Literal["paper", "code", "top_k", "within_domain"]


@dataclass(frozen=True)
class Variant:
    """Which verdicts drop an edit, and by which rule it is called mislabelled."""

    filters: tuple[Filter, ...] = ()
    rule: ConfidenceRule = "paper"


_CONFIDENCE: tuple[Filter, ...] = ("too_similar", "mislabelled")
VARIANTS: dict[str, Variant] = {
    "unfiltered": Variant(),
    "semantic": Variant(("semantic",)),
    "too_similar": Variant(("too_similar",)),
    "mislabelled_paper": Variant(("mislabelled",), "paper"),
    "confidence_paper": Variant(_CONFIDENCE, "paper"),
    "confidence_code": Variant(_CONFIDENCE, "code"),
    "confidence_top_k": Variant(_CONFIDENCE, "top_k"),
    "within_domain": Variant(("semantic", "mislabelled"), "within_domain"),
    "both_paper": Variant(("semantic", *_CONFIDENCE), "paper"),
    "both_code": Variant(("semantic", *_CONFIDENCE), "code"),
    "both_top_k": Variant(("semantic", *_CONFIDENCE), "top_k"),
}
"""The published filters, and one of our own, `within_domain`; "both" is the semantic and the confidence filter."""
