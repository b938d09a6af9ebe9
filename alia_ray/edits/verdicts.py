"""Verdicts: pure functions over score columns. Changing a filter never touches a GPU.

The semantic filter keeps an edit whose likeliest text is a positive one (paper, section 3.3). The confidence
filter compares the base classifier's top probability p with a class threshold t, the mean probability that
training images of the class get for it: an edit of label y, predicted as c, is *too similar* when c = y and
p > t_y, and *mislabelled* when c differs from y and p > t. The rules differ in the t of "mislabelled":

    paper   t of the predicted class c
    code    t of the edit's own label y, as in the newest commit of the authors' code
    top_k   no threshold: mislabelled when y is not among the k likeliest classes (as SaSPA does)

and, of our own,

    within_domain   mislabelled when it looks like another class beside the other edits onto its domain
                    (`within_domain.py`). It needs the whole set of edits, so a worker that sees a batch leaves it
                    to those who read the table.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from alia_ray.config import Judge
from alia_ray.config.filters import ConfidenceRule, Filter
from alia_ray.edits.within_domain import lost_class

Limit = int | Mapping[str, int] | None
"""How many edits may be taken: in all, of each class, or as many as there are."""


def verdicts(
    edits: pa.Table,
    thresholds: dict[str, float],
    positives: Sequence[str],
    filters: Sequence[Filter],
    rule: ConfidenceRule,
    top_k: int,
) -> list[str]:
    """One of tables.VERDICTS for each edit; the first filter that drops it names its verdict.

    What a safety checker flagged is dropped under any filters.

    edits: the score columns of the edits table. thresholds: class name -> t, of every class.
    """
    flags = _flags(edits, thresholds, positives, rule, top_k)
    verdict = np.full(edits.num_rows, "kept", dtype=object)
    for name in reversed([name for name in flags if name in filters]):
        verdict[flags[name]] = name
    verdict[np.array([bool(flag) for flag in edits.column("unsafe").to_pylist()], dtype=bool)] = "unsafe"
    failed = np.array([error is not None for error in edits.column("error").to_pylist()], dtype=bool)
    verdict[failed] = "error"
    return verdict.tolist()


def _flags(
    edits: pa.Table,
    thresholds: dict[str, float],
    positives: Sequence[str],
    rule: ConfidenceRule,
    top_k: int,
) -> dict[str, np.ndarray]:
    """For each filter the edits that it would drop; the order is the order of precedence."""
    text, label, predicted = (
        np.array(edits.column(name).to_pylist(), dtype=object)
        for name in ("semantic_text", "label", "predicted_label")
    )
    confidence = np.array(edits.column("confidence").to_pylist(), dtype=float)  # None becomes NaN
    of_label = np.array([thresholds.get(name, np.inf) for name in label])
    of_predicted = np.array([thresholds.get(name, np.inf) for name in predicted])
    agrees = label == predicted
    if rule == "within_domain":
        mislabelled = lost_class(edits, sorted(thresholds))
    elif rule == "top_k":
        rank = np.array(edits.column("label_rank").to_pylist(), dtype=float)
        mislabelled = rank > top_k
    else:
        mislabelled = ~agrees & (confidence > (of_predicted if rule == "paper" else of_label))
    return {
        "semantic": np.array([t is not None and t not in positives for t in text], dtype=bool),
        "mislabelled": mislabelled,
        "too_similar": agrees & (confidence > of_label),
    }


def judged(edits: pa.Table, thresholds: dict[str, float], judge: Judge) -> list[str]:
    """The verdicts of edits under a configuration's filters."""
    return verdicts(edits, thresholds, judge.positives, judge.filters, judge.confidence_rule, judge.top_k)
