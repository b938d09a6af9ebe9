from typing import Any

import pytest

from alia_ray.stages.changes import Changes, corrections, find_changes, in_common, outdated

LISTED = {"label": "cat", "split": "train", "group": "cat"}


def listing(**versions: str | None) -> dict[str, dict[str, Any]]:
    return {origin: {"origin": origin, "version": version, **LISTED} for origin, version in versions.items()}


def images(*origins: str, **changed: str) -> list[dict[str, Any]]:
    return [{"image_id": f"id of {origin}", "origin": origin, **LISTED, **changed} for origin in origins]


def test_every_kind_of_change_is_found():
    now = listing(same="1", replaced="2", new="1", relabelled="1", lost=None)
    then = {"same": "1", "replaced": "1", "relabelled": "1", "lost": "1", "gone": "1"}
    found = find_changes(now, then, [*images("same", "replaced"), *images("relabelled", label="dog")])
    assert found == Changes(added=["new"], gone=["gone", "lost"], replaced=["replaced"], relabelled=["relabelled"])
    assert found.said(moved=1, replaced=0) == "1 gone, 1 moved, 1 relabelled"


@pytest.mark.parametrize(("then", "now"), [(None, "1"), (None, None), ("1", "1")])
def test_a_version_that_is_not_known_is_no_change(then, now):
    assert find_changes(listing(a=now), {"a": then}, images("a")) == Changes()


@pytest.mark.parametrize(
    ("twin", "other", "is_outdated"),
    [
        ("train", "test", False),
        ("train", "val", False),
        ("train", "train", True),  # the other was moved beside it: equal pictures of one split may stay
        ("test", "val", True),
        ("train", None, True),  # the other is gone
    ],
)
def test_a_twin_is_read_again_when_its_other_copy_is_not_to_stay(twin, other, is_outdated):
    now = listing(twin="1", **({} if other is None else {"other": "1"}))
    now["twin"]["split"] = twin
    if other is not None:
        now["other"]["split"] = other
    error = {"key": "twin", "kind": "twin", "twin_of": "id of other"}
    gone = {"other"} if other is None else set()
    expected = gone | ({"twin"} if is_outdated else set())
    assert outdated(now, Changes(), images("other"), [error]) == expected


def test_an_error_for_want_of_a_label_holds_until_there_is_one():
    error = {"key": "a", "kind": "label", "twin_of": None}
    now = listing(a="1")
    assert outdated(now, Changes(), [], [error]) == {"a"}
    now["a"]["label"] = None
    assert outdated(now, Changes(), [], [error]) == set()
    assert outdated(now, Changes(), images("a"), []) == {"a"}


def test_only_what_differs_is_corrected():
    now = listing(a="1", b="1")
    assert corrections(now, [*images("a"), *images("b", group="sea")]) == {"id of b": LISTED}


def test_contents_in_common_are_counted_as_often_as_they_occur_on_both_sides():
    assert in_common(["x", "x", "y", None], ["x", "x", "x", "z", None]) == 2
