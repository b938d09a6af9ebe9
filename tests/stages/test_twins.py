from operator import itemgetter

import pyarrow as pa
import pytest

from alia_ray.stages.twins import twins


def images(*rows: tuple[str, str | None, str]) -> pa.Table:
    """Rows (origin, content, split)."""
    origins, contents, splits = (list(column) for column in zip(*rows, strict=True))
    return pa.table(
        {"image_id": [f"id of {o}" for o in origins], "content": contents, "split": splits, "origin": origins},
        schema=pa.schema([(name, pa.string()) for name in ("image_id", "content", "split", "origin")]),
    )


@pytest.mark.parametrize(
    ("splits", "stays"),
    [
        (("train", "test"), "test"),
        (("extra", "test"), "test"),
        (("val", "test"), "test"),
        (("train", "val"), "val"),
        (("extra", "val"), "val"),
        (("extra", "train"), "train"),
        (("extra", "train", "val", "test"), "test"),
    ],
)
def test_a_picture_stays_in_one_split(splits, stays):
    rows = images(*((f"{split}.png", "same", split) for split in splits))
    found = {row["origin"]: row for row in twins(rows)}
    assert set(found) == {f"{split}.png" for split in splits if split != stays}
    for row in found.values():
        assert row["image_id"] == f"id of {row['origin']}"
        assert row["reason"] == f"the same picture as '{stays}.png' in the split {stays}"


def test_different_pictures_and_equal_ones_of_one_split_stay():
    assert not twins(images(("a", "1", "train"), ("b", "1", "train"), ("c", "2", "test"), ("d", "2", "test")))


def test_rows_from_before_there_were_contents_are_no_twins():
    assert not twins(images(("a", None, "train"), ("b", None, "test")))


def test_the_order_of_the_rows_does_not_matter():
    rows = images(
        ("a", "1", "train"), ("b", "1", "test"), ("c", "1", "test"), ("d", "2", "val"), ("e", "2", "train")
    )
    backwards = rows.take(list(range(rows.num_rows))[::-1])
    by_origin = itemgetter("origin")
    assert sorted(twins(rows), key=by_origin) == sorted(twins(backwards), key=by_origin)
