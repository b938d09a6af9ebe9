"""`source.limit` and `source.limit_per_class`: a part of the listing, the same one everywhere."""

from collections import Counter

import pytest

from alia_ray.config import ConfigError, fingerprint
from alia_ray.config.source import CsvTable, Cub, MiniatureWorld
from alia_ray.sources import list_images, notes
from alia_ray.sources.limits import limited


def world(**limits: int) -> MiniatureWorld:
    """200 birds of two classes: 160 train, 24 val, 16 test."""
    return MiniatureWorld(kind="miniature", train=160, val=24, test=16, **limits)


def origins(**limits: int) -> list[str]:
    return list_images(world(**limits)).column("origin").to_pylist()


def counts(**limits: int) -> Counter[tuple[str, str]]:
    listing = list_images(world(**limits))
    return Counter(zip(listing.column("split").to_pylist(), listing.column("label").to_pylist(), strict=True))


def test_a_limit_takes_so_many_images_and_every_class_of_every_split_keeps_its_share():
    assert counts(limit=50) == {
        **dict.fromkeys([("train", "tarrel"), ("train", "mirrol")], 20),
        **dict.fromkeys([("val", "tarrel"), ("val", "mirrol")], 3),
        **dict.fromkeys([("test", "tarrel"), ("test", "mirrol")], 2),
    }


def test_a_limit_per_class_takes_so_many_of_each_class_over_all_splits():
    of_each = counts(limit_per_class=10)
    for label in ("tarrel", "mirrol"):
        of_splits = {split: number for (split, name), number in of_each.items() if name == label}
        assert sum(of_splits.values()) == 10
        assert set(of_splits) == {"train", "val", "test"}
        assert of_splits["train"] == 7  # of 80, 12 and 8; what is small is rounded up


def test_both_limits_hold_at_once():
    assert sum(counts(limit_per_class=10, limit=12).values()) == 12
    assert max(Counter(label for _, label in counts(limit=100, limit_per_class=10).elements()).values()) == 10


def test_every_class_of_every_split_keeps_an_image_however_few_are_taken():
    assert counts(limit=6) == dict.fromkeys(counts(), 1)
    assert counts(limit_per_class=3) == dict.fromkeys(counts(), 1)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"limit": 5}, r"source\.limit: 5 images do not do .*; give 6 at least"),
        ({"limit_per_class": 2}, r"source\.limit_per_class: 2 images of a class do not do .*; give 3 at least"),
    ],
)
def test_a_limit_that_would_lose_a_class_of_a_split_is_refused(limits, said):
    with pytest.raises(ConfigError, match=said):
        list_images(world(**limits))


def test_what_is_taken_hangs_on_names_alone_and_not_on_the_order_of_the_listing():
    whole = list_images(world())
    turned = whole.take(list(reversed(range(whole.num_rows))))
    taken = limited(world(limit=50), turned).column("origin").to_pylist()
    assert sorted(taken) == sorted(origins(limit=50))
    assert taken != origins(limit=50)  # each in the order of its own listing
    train = [origin for origin in origins(limit=50) if origin.startswith("train/")]
    assert train != [f"train/{number}" for number in range(len(train))]  # not the first ones


def test_a_larger_limit_takes_what_a_smaller_one_did_and_the_splits_stay():
    small, large, whole = list_images(world(limit=40)), list_images(world(limit=90)), list_images(world())
    rows = [{tuple(row.items()) for row in listing.to_pylist()} for listing in (small, large, whole)]
    assert rows[0] < rows[1] < rows[2]


def test_a_limit_above_all_takes_all():
    assert list_images(world(limit=1000)).equals(list_images(world()))


def test_a_limit_says_how_much_it_takes_and_none_says_nothing():
    [said] = notes(list_images(world(limit=50)))
    assert said.startswith("50 of 200 images are taken: a trial on a part of the images (source.limit=50)")
    assert notes(list_images(world())) == []
    assert world().trial is None


def test_a_limit_is_in_the_name_of_the_images_only_where_it_is_given():
    names = [fingerprint(world(**limits)) for limits in ({}, {"limit": 50}, {"limit_per_class": 50})]
    assert len(set(names)) == 3
    assert fingerprint(Cub(kind="cub", path="cub", limit=None)) == fingerprint(Cub(kind="cub", path="cub"))


def test_images_without_a_label_have_their_share(tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,split\n" + "".join(f"{n}.jpg,{'' if n % 2 else 'cat'},train\n" for n in range(20))
    )
    source = CsvTable(kind="csv", path=str(tmp_path / "list.csv"), root=str(tmp_path), limit=10)
    assert Counter(list_images(source).column("label").to_pylist()) == {"cat": 5, None: 5}
