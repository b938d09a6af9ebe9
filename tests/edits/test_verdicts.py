import pyarrow as pa
import pytest
from reference_draw import select

from alia_ray.edits.verdicts import verdicts

ALL = ("semantic", "too_similar", "mislabelled")
THRESHOLDS = {"a": 0.9, "b": 0.6}
POSITIVES = ["a photo of a bird"]


def edits(*rows: tuple) -> pa.Table:
    names = ["semantic_text", "label", "predicted_label", "confidence", "label_rank", "error"]
    table = pa.table([list(column) for column in zip(*rows, strict=True)], names=names)
    return table.append_column("unsafe", pa.nulls(table.num_rows, pa.bool_()))


BIRD, NOISE = "a photo of a bird", "a photo of noise"
SURE_A = (BIRD, "a", "a", 0.95, 1, None)  # agrees, over t_a
GOOD_A = (BIRD, "a", "a", 0.85, 1, None)
WRONG_A = (BIRD, "a", "b", 0.70, 2, None)  # predicted b: over t_b, under t_a
NOISY_A = (NOISE, "a", "a", 0.50, 1, None)
FAILED = (None, "a", None, None, None, "flat")


@pytest.mark.parametrize(
    ("filters", "rule", "expected"),
    [
        ((), "paper", ["kept", "kept", "kept", "kept", "error"]),
        (("semantic",), "paper", ["kept", "kept", "kept", "semantic", "error"]),
        (ALL, "paper", ["too_similar", "kept", "mislabelled", "semantic", "error"]),
        (ALL, "code", ["too_similar", "kept", "kept", "semantic", "error"]),
        (ALL, "top_k", ["too_similar", "kept", "mislabelled", "semantic", "error"]),
    ],
)
def test_each_rule_gives_the_verdicts_of_its_definition(filters, rule, expected):
    table = edits(SURE_A, GOOD_A, WRONG_A, NOISY_A, FAILED)
    assert verdicts(table, THRESHOLDS, POSITIVES, filters, rule, top_k=1) == expected


def test_top_k_keeps_an_edit_whose_label_is_among_the_k_likeliest():
    assert verdicts(edits(WRONG_A), THRESHOLDS, POSITIVES, ALL, "top_k", top_k=2) == ["kept"]


def test_what_the_safety_checker_flags_is_dropped_under_any_filters():
    table = edits(GOOD_A, NOISY_A, GOOD_A, FAILED)
    flagged = table.set_column(6, "unsafe", pa.array([True, True, False, True]))
    for filters in ((), ALL):
        found = verdicts(flagged, THRESHOLDS, POSITIVES, filters, "paper", 1)
        assert found == ["unsafe", "unsafe", "kept", "error"]


def test_the_first_filter_names_the_verdict():
    wrong_and_noisy = (NOISE, "a", "b", 0.99, 2, None)
    assert verdicts(edits(wrong_and_noisy), THRESHOLDS, POSITIVES, ALL, "paper", 1) == ["semantic"]


def candidates(images: int, per_image: int) -> pa.Table:
    rows = [(f"e{i}-{j}", f"i{i}", "ab"[i % 2]) for i in range(images) for j in range(per_image)]
    return pa.table([list(column) for column in zip(*rows, strict=True)], names=["edit_id", "image_id", "label"])


def test_one_survivor_of_each_image_is_drawn_whatever_the_order():
    table = candidates(20, 4)
    chosen = select(table, ["kept"] * 80, 1, None, seed=0)
    assert len(chosen) == len({edit.split("-")[0] for edit in chosen}) == 20
    assert select(table.take(list(reversed(range(80)))), ["kept"] * 80, 1, None, seed=0) == chosen
    assert select(table, ["kept"] * 80, 1, None, seed=1) != chosen


def test_only_kept_edits_are_drawn():
    table = candidates(4, 2)
    assert select(table, ["kept", "semantic"] * 4, 1, None, seed=0) == ["e0-0", "e1-0", "e2-0", "e3-0"]


def test_num_extra_is_a_bound_and_can_be_shared_by_the_classes():
    table = candidates(20, 3)
    verdict = ["kept"] * 60
    assert len(select(table, verdict, 1, 7, seed=0)) == 7
    balanced = select(table, verdict, 1, {"a": 4, "b": 4}, seed=0)
    assert sorted(int(edit[1:].split("-")[0]) % 2 for edit in balanced) == [0] * 4 + [1] * 4
    assert len(select(table, verdict, None, None, seed=0)) == 60
