"""Edits that are there: those that other edits tables hold, scored otherwise, and what their images are now.

An edit has the label and the group that its image has now: where the source corrected them and the prompt stayed
the same ("red_bird", "red bird"), so did the edit's id.
"""

import posixpath
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.stages import made_with
from alia_ray.store.ledger import Ledger
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import EDITS

_OF_IMAGE = ["label", "group"]


def describe_anew(target: Table, images: Table) -> None:
    """Give edits the labels and groups that their images have now."""
    target.correct(_corrections(target, images.read(["image_id", *_OF_IMAGE])))


def stored_edits(ledger: Ledger, target: Table, wanted: str) -> str:
    """Of some edits those whose pictures other edits tables hold: a relation of `edit_id` and `path`, the file.

    wanted: SQL of ids (`edit_id`).
    """
    tables = [older for older in target.folder.tables("edits") if older != target]
    found = ["SELECT NULL::VARCHAR AS edit_id, NULL::VARCHAR AS path, 0 AS place WHERE false"]
    for place, older in enumerate(tables):
        rows = ledger.rows(older, ["image_bytes"])
        files = ledger.given(ledger.file_names(older))
        found.append(
            f"SELECT edit_id, path, {place} AS place FROM {rows} JOIN {files} USING (file) "
            f"SEMI JOIN ({wanted}) USING (edit_id) WHERE image_bytes IS NOT NULL"
        )
    first = "QUALIFY row_number() OVER (PARTITION BY edit_id ORDER BY place) = 1"
    name = f"stored/{target.fingerprint}"
    return ledger.keep(name, f"SELECT edit_id, path FROM ({' UNION ALL '.join(found)}) {first}")


def take_over_records(target: Table, files: Iterable[str]) -> None:
    """Keep what edits were made with that go on in `target`; `files` of `stored_edits`."""
    for name in sorted({posixpath.basename(posixpath.dirname(file)) for file in files}):
        made_with.take_over(target, target.folder.table("edits", name))


def _as_described(edits: pa.Table, described: pa.Table) -> pa.Table:
    place = pc.index_in(edits.column("image_id"), value_set=described.column("image_id"))
    for name in _OF_IMAGE:
        now = described.column(name).take(place)
        edits = edits.set_column(edits.schema.get_field_index(name), EDITS.field(name), now)
    return edits


def _corrections(target: Table, described: pa.Table) -> dict[str, dict[str, Any]]:
    """edit_id -> what its image's label and group are now, of the edits that say otherwise."""
    edits = target.read(["edit_id", "image_id", *_OF_IMAGE])
    edits = edits.filter(pc.is_in(edits.column("image_id"), value_set=described.column("image_id")))
    now = _as_described(edits, described)
    differs = [pc.not_equal(*(pc.fill_null(rows.column(name), "") for rows in (edits, now))) for name in _OF_IMAGE]
    rows = now.filter(pc.or_(*differs)).to_pylist()
    return {row["edit_id"]: {name: row[name] for name in _OF_IMAGE} for row in rows}
