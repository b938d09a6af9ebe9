"""The confidence filter that asks a biased classifier only about what its bias does not decide. Of our own.

A classifier that has learnt the background gives every edit onto a domain to that background's class, whatever is
in front of it: its probabilities say much about the domain and little about the edit. What is the same for all
edits onto a domain is therefore taken off first, the classes counting alike: the usual logits there, as in logit
adjustment (arXiv 2007.07314) with a prior for each domain. What is left is what the edit itself adds. Where that
contradicts more than MOST of a domain's labels, the classifier cannot tell the classes there, and is not heard.
MOST and FEWEST were chosen on seed 0 of the miniature (docs/filter_truth.json), so other seeds have to judge it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST = 0.4  # of a domain's edits: a rule that drops more says more about the classifier than about them
FEWEST = 8  # edits of a class onto a domain from which its usual logits are known
_TINY = 1e-6  # as near to 0 as a float32 probability can be told from it


def lost_class(edits: pa.Table, classes: list[str]) -> np.ndarray:
    """Whether an edit looks like another class than its label's, beside the others onto its domain: bool (N,).

    edits: the columns domain_id, label and class_probabilities; the latter follow `classes`, and are null where an
    edit failed. Edits of other labels, and of classes with fewer than FEWEST edits onto a domain, are left alone.
    """
    domains = np.array(edits.column("domain_id").to_pylist(), dtype=object)
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places.get(label, -1) for label in edits.column("label").to_pylist()], dtype=int)
    logits = _logits(edits, len(classes))
    is_known = np.isfinite(logits).all(axis=1) & (labels >= 0)
    lost = np.zeros(len(labels), dtype=bool)
    for domain in set(domains):
        of_domain = (domains == domain) & is_known
        counts = np.bincount(labels[of_domain], minlength=len(classes))
        common = np.flatnonzero(counts >= FEWEST)
        if len(common) < 2:
            continue
        asked = of_domain & np.isin(labels, common)
        own = logits[asked][:, common]
        usual = np.mean([np.median(own[labels[asked] == place], axis=0) for place in common], axis=0)
        wrong = common[(own - usual).argmax(axis=1)] != labels[asked]
        if wrong.mean() <= MOST:
            lost[asked] = wrong
    return lost


def _logits(edits: pa.Table, classes: int) -> np.ndarray:
    """The logarithms of the class probabilities, (N, C); NaN where there are none."""
    rows = edits.column("class_probabilities").combine_chunks()
    is_known = pc.greater(pc.fill_null(pc.list_value_length(rows), 0), 0).to_numpy(zero_copy_only=False)
    found = np.full((len(rows), classes), np.nan)
    found[is_known] = rows.flatten().to_numpy(zero_copy_only=False).reshape(-1, classes)
    return np.log(found.clip(_TINY))
