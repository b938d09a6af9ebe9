import numpy as np
import pyarrow as pa

from alia_ray.edits.verdicts import verdicts
from alia_ray.edits.within_domain import FEWEST, MOST, lost_class

CLASSES = ["a", "b", "c"]
BIAS = {"wood": [6.0, 0.0, -3.0], "sea": [-6.0, 4.0, 1.0]}  # what a classifier makes of a background


def edited(evidence: float, each: int = 40, lost: float = 0.2, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Edits judged by a classifier that adds what it makes of the background to little `evidence` of the object,
    and whether each one shows another class than its label's, as a share `lost` of them does.
    """
    rng = np.random.default_rng(seed)
    rows, truth = [], []
    for domain, bias in BIAS.items():
        for place, label in enumerate(CLASSES):
            for _ in range(each):
                is_lost = rng.random() < lost
                shown = (place + 1) % 3 if is_lost else place
                logits = np.array(bias) + rng.normal(0, 0.5, 3)
                logits[shown] += evidence
                likely = np.exp(logits) / np.exp(logits).sum()
                rows.append(row(domain, label, likely))
                truth.append(is_lost)
    return pa.Table.from_pylist(rows), np.array(truth)


def row(domain: str, label: str, likely: np.ndarray) -> dict:
    return {
        "semantic_text": "a photo",
        "domain_id": domain,
        "label": label,
        "predicted_label": CLASSES[int(likely.argmax())],
        "confidence": float(likely.max()),
        "label_rank": 1 + int((likely > likely[CLASSES.index(label)]).sum()),
        "class_probabilities": likely.tolist(),
        "unsafe": None,
        "error": None,
    }


def test_a_lost_class_is_found_under_a_bias_that_outweighs_it():
    table, truth = edited(evidence=3.0)
    lost = lost_class(table, CLASSES)
    assert lost[truth].mean() > 0.9
    assert lost[~truth].mean() < 0.1
    thresholds = dict.fromkeys(CLASSES, 0.7)
    by_paper = np.array(verdicts(table, thresholds, ["a photo"], ("mislabelled",), "paper", 1)) == "mislabelled"
    assert by_paper[~truth].mean() > 0.4  # it reads the background
    ours = verdicts(table, thresholds, ["a photo"], ("mislabelled",), "within_domain", 1)
    assert [verdict == "mislabelled" for verdict in ours] == lost.tolist()


def test_a_classifier_that_sees_only_the_background_is_not_heard():
    table, _ = edited(evidence=0.0)
    assert not lost_class(table, CLASSES).any()


def test_at_most_so_many_of_a_domain_are_dropped():
    for seed in range(20):
        table, _ = edited(evidence=0.8, seed=seed)
        lost = lost_class(table, CLASSES)
        for domain in BIAS:
            assert lost[np.array(table["domain_id"].to_pylist()) == domain].mean() <= MOST


def test_the_order_of_the_edits_does_not_matter():
    table, _ = edited(evidence=2.0)
    turned = table.take(list(reversed(range(table.num_rows))))
    assert np.array_equal(lost_class(turned, CLASSES)[::-1], lost_class(table, CLASSES))


def test_few_edits_and_failed_ones_are_left_alone():
    few, _ = edited(evidence=5.0, each=FEWEST - 1)
    assert not lost_class(few, CLASSES).any()
    table, _ = edited(evidence=5.0)
    failed = {**table.slice(0, 1).to_pylist()[0], "class_probabilities": None, "error": "black"}
    with_failed = pa.Table.from_pylist([*table.to_pylist(), *[failed] * 30])
    assert np.array_equal(lost_class(with_failed, CLASSES)[:-30], lost_class(table, CLASSES))
    assert not lost_class(with_failed, CLASSES)[-30:].any()
    assert lost_class(table.slice(0, 0), CLASSES).tolist() == []
