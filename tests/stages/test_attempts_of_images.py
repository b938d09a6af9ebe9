import random

import pyarrow as pa
import pytest

from alia_ray.stages import edit
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_the_attempts_of_every_image_are_lists_in_their_order(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(edit, "ATTEMPTS_AT_ONCE", at_once)
    rows = [
        {
            "image_id": f"i{image}",
            "edit_id": f"e{image}{place}",
            "draw": f"{place}",
            "survived": place == 1 or None,
        }
        for image in range(20)
        for place in range(image % 4)
    ]
    random.Random(0).shuffle(rows)
    ledger = ledger_of(RunFolder(str(tmp_path)))
    left = ledger.keep("left", pa.Table.from_pylist(rows).append_column("path", pa.nulls(len(rows), pa.string())))
    found = ledger.ask(f"SELECT * FROM {edit._by_image(ledger, 'to do', left)} ORDER BY image_id").to_pylist()
    assert found == [
        {
            "image_id": f"i{image}",
            "attempts": [f"e{image}{place}" for place in range(image % 4)],
            "survived": [place == 1 or None for place in range(image % 4)],
            "stored": [None] * (image % 4),
        }
        for image in sorted(range(20), key=str)
        if image % 4
    ]
