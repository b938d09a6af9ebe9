import pyarrow as pa
import pytest

from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import EDITS, content_id_of


@pytest.fixture
def edits(tmp_path) -> Table:
    table = RunFolder(str(tmp_path)).table("edits", "f")
    rows = [{"edit_id": f"e{n}", "label": "a", "prompt": "p", "class_probabilities": [0.5, n]} for n in range(5)]
    table.commit(pa.Table.from_pylist(rows, schema=EDITS))
    return table


def test_wide_columns_are_read_apart_and_narrow_ones_once(edits):
    ledger = ledger_of(edits.folder)
    narrow = ledger.rows(edits, ["edit_id"])
    state, columns = ledger.state_of(edits), ledger.ask(f"SELECT * FROM {narrow}").column_names
    assert not {"image", "class_probabilities", "prompt"} & set(columns)
    wide = ledger.rows(edits, ["edit_id", "label", "class_probabilities", "prompt"])
    assert wide != narrow
    assert ledger.ask(f"SELECT class_probabilities[2] AS last, prompt FROM {wide} ORDER BY last").to_pylist() == [
        {"last": n, "prompt": "p"} for n in range(5)
    ]
    ledger._sql.execute(f"DELETE FROM {narrow}")  # what is read again would be there again
    assert ledger.rows(edits, ["label", "verdict"]) == narrow
    assert ledger.number(f"SELECT count(*) FROM {narrow}") == 0
    assert ledger.state_of(edits) == state


def test_the_state_of_a_table_is_another_where_rows_came_and_the_same_where_files_were_read_again(edits):
    ledger = ledger_of(edits.folder)
    ledger.rows(edits, [])
    before = ledger.state_of(edits)
    ledger._forget(ledger.rows(edits, []))
    ledger.rows(edits, [])
    assert ledger.state_of(edits) == before
    edits.commit(pa.Table.from_pylist([{"edit_id": "e9"}], schema=EDITS))
    assert ledger.now_of(edits) != before


@pytest.mark.parametrize("texts", [[], ["a"], ["", "ä", "bc" * 200, "|"]])
def test_a_column_is_hashed_as_its_texts_one_by_one(texts):
    column = pa.array(["x", *texts, "y"], pa.string()).slice(1, len(texts))
    assert content_id_of(["p", column, "q"]) == content_id_of(["p", *texts, "q"])
