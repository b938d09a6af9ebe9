import random
from collections import Counter, deque

import pyarrow as pa
import pytest
from reference_draw import in_order, needed, pilot, select, still_to_try

from alia_ray.edits.attempts import Attempt, Pending, next_batch
from alia_ray.edits.verdicts import Limit


def requests(images: int = 40, prompts: int = 5) -> pa.Table:
    names = ["edit_id", "image_id", "domain_id", "label"]
    rows = [(f"e{i}-{p}", f"i{i}", f"d{p}", "ab"[i % 2]) for i in range(images) for p in range(prompts)]
    return pa.table([list(column) for column in zip(*rows, strict=True)], names=names)


def outcomes(table: pa.Table, share: float = 0.5, **of_domain: float) -> dict[str, bool]:
    """edit_id -> whether it would survive."""
    chance = random.Random(7)
    pairs = zip(table["edit_id"].to_pylist(), table["domain_id"].to_pylist(), strict=True)
    return {edit_id: chance.random() < of_domain.get(domain, share) for edit_id, domain in pairs}


def edited(todo: dict[str, list[Attempt]], truth: dict[str, bool], wanted: int, size: int) -> dict[str, bool]:
    """What a worker makes of a wave."""
    pending = [Pending(place, deque(attempts), wanted) for place, attempts in enumerate(todo.values())]
    made = {}
    while batch := next_batch(pending, size):
        assert len(batch) <= size
        for image, attempt in batch:
            made[attempt.edit_id] = truth[attempt.edit_id]
            image.settle(truth[attempt.edit_id])
    return made


def run(
    table: pa.Table,
    truth: dict[str, bool],
    per_image: int,
    limit: Limit = None,
    size: int = 8,
    made: dict[str, bool] | None = None,
    drop_below: float | None = None,
) -> dict[str, bool]:
    """Wave after wave until nothing is missing; edit_id -> whether it survived."""
    made, ordered = dict(made or {}), in_order(table, seed=3)
    while todo := still_to_try(ordered, made, per_image, limit, drop_below):
        new = edited(todo, truth, per_image, size)
        assert new
        assert not set(new) & set(made)
        made |= new
    return made


def drawn(table: pa.Table, made: dict[str, bool], per_image: int, limit: Limit = None) -> list[str]:
    """What is added to training of the edits that were made."""
    rows = table.filter(pa.array([edit_id in made for edit_id in table["edit_id"].to_pylist()]))
    verdict = ["kept" if made[edit_id] else "semantic" for edit_id in rows["edit_id"].to_pylist()]
    return select(rows, verdict, per_image, limit, seed=3)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("per_image", [1, 2, 3])
@pytest.mark.parametrize("limit", [None, 0, 13, {"a": 5, "b": 9}, {"a": 99}])
def test_stopping_early_ends_with_the_edits_that_trying_all_would_have_drawn(share, per_image, limit):
    table = requests()
    truth = outcomes(table, share)
    made = run(table, truth, per_image, limit)
    assert drawn(table, made, per_image, limit) == drawn(table, truth, per_image, limit)


@pytest.mark.parametrize("drop_below", [None, 0.3])
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("per_image", [1, 2])
@pytest.mark.parametrize("limit", [None, 0, 13, {"a": 5, "b": 9}])
def test_what_a_run_needed_is_what_it_made_whatever_else_was_made(share, per_image, limit, drop_below):
    table = requests(images=60)
    truth = outcomes(table, share, d1=0.02)
    asked = (per_image, limit, drop_below)
    made = run(table, truth, per_image, limit, drop_below=drop_below)
    ordered = in_order(table, seed=3)
    assert needed(ordered, made, *asked) == set(made)
    assert needed(ordered, truth, *asked) == set(made)
    others = {edit_id: truth[edit_id] for edit_id in random.Random(1).sample(sorted(truth), 100)}
    assert needed(ordered, made | others, *asked) == set(made)


def test_no_attempt_is_made_in_vain():
    table = requests()
    truth = outcomes(table)
    made = run(table, truth, per_image=1)
    for place in range(40):
        of_image = [r.edit_id for r in in_order(table, seed=3) if r.image_id == f"i{place}"]
        tried = [edit_id for edit_id in of_image if edit_id in made]
        assert tried == of_image[: len(tried)]  # in the order of the draw
        assert not any(truth[edit_id] for edit_id in tried[:-1])  # and none after the first survivor
    assert len(made) < len(truth) / 2


@pytest.mark.parametrize("limit", [None, 13])
def test_what_is_made_does_not_depend_on_batch_sizes_or_on_where_a_run_was_killed(limit):
    table = requests()
    truth = outcomes(table)
    whole = run(table, truth, 1, limit)
    assert run(table, truth, 1, limit, size=1) == run(table, truth, 1, limit, size=500) == whole
    committed = {edit_id: whole[edit_id] for edit_id in list(whole)[: len(whole) // 3]}
    assert run(table, truth, 1, limit, made=committed) == whole


def test_a_limit_ends_the_search():
    table = requests(images=400)
    truth = outcomes(table)
    assert len(run(table, truth, 1, limit=20)) < 80 < len(run(table, truth, 1))


def test_batches_are_full_while_enough_images_want_an_edit():
    table = requests()
    truth = outcomes(table, share=0.3)
    todo = still_to_try(in_order(table, 3), {}, 1)
    pending = [Pending(place, deque(attempts), 1) for place, attempts in enumerate(todo.values())]
    sizes, open_before = [], []
    while True:
        open_before.append(sum(image.wanted > 0 and len(image.attempts) > 0 for image in pending))
        batch = next_batch(pending, 8)
        if not batch:
            break
        sizes.append(len(batch))
        for image, attempt in batch:
            image.settle(truth[attempt.edit_id])
    assert all(size == min(8, left) for size, left in zip(sizes, open_before, strict=False))


def test_an_image_with_more_to_find_takes_as_many_places_as_it_has_survivors_missing():
    attempts = deque(Attempt(f"e{i}") for i in range(5))
    batch = next_batch([Pending(0, attempts, wanted=3)], size=8)
    assert [attempt.edit_id for _, attempt in batch] == ["e0", "e1", "e2"]


def test_survivors_of_another_run_count_in_their_turn():
    table = requests(images=1)
    first, second, third, *_ = (r.edit_id for r in in_order(table, 3))
    truth = dict.fromkeys(table["edit_id"].to_pylist(), False) | {second: True}
    assert set(run(table, truth, 1, made={second: True})) == {first, second}
    assert set(run(table, truth | {third: True}, 2, made={second: True})) == {first, second, third}


def test_every_attempt_is_made_where_all_are_asked_for_whatever_the_limit():
    todo = still_to_try(in_order(requests(), 3), {"e0-0": True, "e1-1": False}, None, limit=2)
    tried = [attempt.edit_id for attempts in todo.values() for attempt in attempts if attempt.survived is None]
    assert Counter(tried) == Counter(set(requests()["edit_id"].to_pylist()) - {"e0-0", "e1-1"})


def test_a_prompt_that_hardly_ever_survives_is_given_up_after_its_first_tries():
    table = requests(images=200)
    truth = outcomes(table, share=0.8, d2=0.0)
    made = run(table, truth, 1, drop_below=0.1)
    tried = Counter(edit_id.split("-")[1] for edit_id in made)
    assert tried["2"] == 40
    assert run(table, truth, 1, drop_below=0.1, size=3) == made
    assert Counter(edit_id.split("-")[1] for edit_id in run(table, truth, 1))["2"] > 40
    assert drawn(table, made, 1) == drawn(table, truth, 1)


def test_a_prompt_is_given_up_by_the_outcomes_of_its_tries_alone():
    table = requests(images=60, prompts=2)
    ordered, truth = in_order(table, seed=0), outcomes(table, 1.0)
    of_pilot = {request.edit_id: request.domain_id == "d0" for request in pilot(ordered)}
    for ask in (still_to_try, needed):
        found = ask(ordered, {key: truth[key] for key in of_pilot}, None, None, 0.5, of_pilot)
        tried = {each.edit_id for tries in found.values() for each in tries} if ask is still_to_try else found
        beyond = tried - of_pilot.keys()
        assert {key.split("-")[1] for key in beyond} == {"0"}
