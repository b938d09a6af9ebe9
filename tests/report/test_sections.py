import pyarrow as pa

from alia_ray.report.sections import grouped_errors
from alia_ray.store import tables


def test_reasons_that_differ_in_names_and_numbers_are_grouped():
    rows = [{"stage": "ingest", "key": n, "reason": f"'{n}.png' ends after {ord(n)} bytes"} for n in "abcde"]
    rows.append({"stage": "edit", "key": "e", "reason": "flat"})
    groups = grouped_errors(pa.Table.from_pylist(rows, schema=tables.ERRORS))
    assert [(group["stage"], group["count"], len(group["keys"])) for group in groups] == [
        ("ingest", 5, 3),
        ("edit", 1, 1),
    ]
