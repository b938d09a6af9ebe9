import base64
import io

import pyarrow as pa
import pytest
from a_wide_page import CLASSES
from PIL import Image

from alia_ray.report.confusions import PAIRS, change

ROWS = [  # label, told by original, told by alia
    *[("cat", "cat", "cat")] * 3,
    *[("cat", "dog", "cat")] * 2,
    ("dog", "dog", "cat"),
    ("dog", "cat", "fox"),
]


def predictions(rows: list[tuple[str, str, str]]) -> dict[str, pa.Table]:
    ids, labels = [f"{n:05d}" for n in range(len(rows))], [row[0] for row in rows]
    return {
        arm: pa.table({"id": ids, "label": labels, "group": labels, "predicted": [row[place] for row in rows]})
        for place, arm in enumerate(("original", "alia"), start=1)
    }


def test_mended_and_broken_images_are_counted_and_named():
    found = change(predictions(ROWS))
    assert found.counts == {"right": 3, "mended": 2, "broken": 1, "wrong": 1}
    assert [row["id"] for row in found.mended] == ["00003", "00004"]
    assert found.broken == [{"id": "00005", "label": "dog", "before": "dog", "after": "cat"}]


def test_the_order_of_the_predictions_does_not_matter():
    tables = predictions(ROWS)
    turned = {**tables, "alia": tables["alia"].take(list(reversed(range(len(ROWS)))))}
    assert change(turned).counts == change(tables).counts


def test_matrices_hold_a_row_for_each_true_class():
    found = change(predictions(ROWS))
    assert found.classes == ["cat", "dog", "fox"]
    assert [each.arm for each in found.matrices] == ["original", "alia"]
    assert found.matrices[0].counts.tolist() == [[3, 2, 0], [1, 1, 0], [0, 0, 0]]
    assert found.matrices[1].counts.tolist() == [[5, 0, 0], [1, 0, 1], [0, 0, 0]]
    cells = found.matrices[0].rows(found.classes)[0]["cells"]
    assert [(cell["count"], cell["share"], cell["right"]) for cell in cells[:2]] == [
        (3, 0.6, True),
        (2, 0.4, False),
    ]


def test_the_most_confused_classes_come_first():
    pairs = change(predictions(ROWS)).pairs
    assert pairs[0] == {"label": "cat", "predicted": "dog", "before": 2, "after": 0, "images": 5}
    assert [(pair["label"], pair["predicted"]) for pair in pairs] == [
        ("cat", "dog"),
        ("dog", "cat"),
        ("dog", "fox"),
    ]


def test_two_hundred_classes_are_a_small_picture_and_a_few_pairs():
    rows = [(name, CLASSES[n - 1], name) for n, name in enumerate(CLASSES) for _ in range(3)]
    found = change(predictions(rows))
    assert len(found.pairs) == PAIRS
    before, after = (each.picture() for each in found.matrices)
    assert max(len(before), len(after)) < 20_000
    picture = Image.open(io.BytesIO(base64.b64decode(after.partition(",")[2])))
    assert picture.size == (200, 200)
    assert picture.getpixel((7, 7))[3] == 255  # what is right is on the diagonal
    assert picture.getpixel((8, 7))[3] == 0


@pytest.mark.parametrize("arms", [(), ("original",), ("alia",)])
def test_there_is_no_change_before_both_arms_are_measured(arms):
    assert change({arm: predictions(ROWS)[arm] for arm in arms}) is None
