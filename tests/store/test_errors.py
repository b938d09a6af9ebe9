import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.plain_text import LONGEST_REASON
from alia_ray.store.errors import is_tried_again, read_errors, same_reason, settle, told
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import ERROR_KINDS, ERRORS


@pytest.fixture
def errors(tmp_path) -> Table:
    return RunFolder(str(tmp_path)).table("errors", "ingest-f00")


def row(key: str, reason: str = "cannot be read", kind: str = "read") -> dict[str, str]:
    return {"stage": "ingest", "key": key, "reason": reason, "kind": kind}


def commit(errors: Table, *rows: dict[str, str]) -> None:
    errors.commit(pa.Table.from_pylist(list(rows), schema=ERRORS))


def stored(errors: Table) -> list[tuple[str, str]]:
    return sorted((found["key"], found["reason"]) for found in errors.stored().to_pylist())


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("the same picture as 'a.png' in the split test", "twin"),
        ("cannot be read: [Errno 2] no such file", "read"),
        ("has no label", "label"),
        ("cannot be decoded: broken PNG file", "decode"),
    ],
)
def test_errors_of_older_releases_have_no_kind_and_get_it_from_their_reason(errors, reason, kind):
    errors.create()
    pq.write_table(
        pa.table({"stage": ["ingest"], "key": ["a"], "reason": [reason]}), f"{errors.path}/part-old.parquet"
    )
    (found,) = read_errors(errors)
    assert found["kind"] == kind


def test_only_what_could_not_be_read_is_tried_again_by_itself_and_twins_never():
    tried = {kind: [is_tried_again(row("a", kind=kind), retry) for retry in (False, True)] for kind in ERROR_KINDS}
    assert tried == {
        "read": [True, True],
        "decode": [False, True],
        "label": [False, True],
        "twin": [False, False],
        "model": [False, True],
    }


def test_an_outcome_replaces_the_error_that_was_tried_again(errors):
    commit(errors, row("a"), row("b"), row("c"))
    before = read_errors(errors)
    commit(errors, row("a", "a newer reason"), row("d"))
    settle(errors, {"b"}, before)
    assert stored(errors) == [("a", "a newer reason"), ("c", "cannot be read"), ("d", "cannot be read")]


def test_of_two_errors_that_a_kill_left_the_final_one_stays(errors):
    commit(errors, row("a"))
    commit(errors, row("a", "cannot be decoded", "decode"), row("b"))
    settle(errors, set())
    assert stored(errors) == [("a", "cannot be decoded"), ("b", "cannot be read")]


def test_a_table_of_which_every_error_is_made_by_now_stays_readable(errors):
    commit(errors, row("a"))
    assert settle(errors, {"a"}) == []
    assert pq.read_table(errors.path).schema.names == ERRORS.names
    assert errors.ids() == set()


def test_reasons_that_differ_in_names_paths_and_numbers_are_one():
    one = "cannot be decoded: '/data/a 1.jpg' is <_io.BytesIO object at 0x7f> after 12 bytes of photos/a.jpg"
    other = "cannot be decoded: '/data/b.jpg' is <_io.BytesIO object at 0x9a> after 7 bytes of photos/b/c.jpg"
    assert same_reason(one) == same_reason(other)
    assert same_reason(one) != same_reason("cannot be read")


def test_the_commonest_reason_is_told_first_each_with_an_example():
    rows = [row(f"b{n}", f"has {n} pages") for n in range(3)] + [row("a", "has no label")]
    assert told(rows) == "3 × has … pages (such as 'b0'); 1 × has no label (such as 'a')"
    assert told(row(f"{n}", "x" * n) for n in range(1, 9)).endswith("; 3 for other reasons")


def test_a_reason_without_end_is_told_in_a_moment_and_with_one():
    assert len(same_reason("x" * 100_000)) == LONGEST_REASON
