import pyarrow as pa

from alia_ray.stages.summary import summary


def images(counts: dict[tuple[str, str], int]) -> pa.Table:
    rows = [{"label": label, "split": split, "count": number} for (label, split), number in counts.items()]
    return pa.Table.from_pylist(rows)


def test_what_was_found_is_told_by_split_and_by_class_the_largest_first():
    found = images({("cat", "train"): 3, ("dog", "train"): 1, ("cat", "test"): 2, ("dog", "val"): 1})
    assert list(summary(found)) == ["7 images: 4 train, 1 val, 2 test", "2 classes: 'cat' 5, 'dog' 2"]


def test_of_many_classes_the_smallest_and_the_largest_are_told():
    found = images({(f"class{number:03}", "train"): number for number in range(1, 201)})
    assert list(summary(found))[1] == "200 classes, from 'class001' with 1 image to 'class200' with 200"


def test_of_nothing_nothing_is_told():
    assert list(summary(images({}))) == []
