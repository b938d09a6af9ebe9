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
from alia_ray.store.run_folder import FILE, Table
from alia_ray.store.tables import EDITS

_OF_IMAGE = ["label", "group"]


def describe_anew(target: Table, images: Table) -> None:
    """Give edits the labels and groups that their images have now."""
    target.correct(_corrections(target, images.read(["image_id", *_OF_IMAGE])))


def stored_edits(target: Table, wanted: Iterable[str]) -> dict[str, str]:
    """edit_id -> the file of another edits table that holds its picture, of some edits."""
    found: dict[str, str] = {}
    asked = pa.array(sorted(wanted), pa.string())
    for older in target.folder.tables("edits"):
        if older == target:
            continue
        rows = older.stored(["edit_id", "image_bytes", FILE])
        is_there = pc.and_(
            pc.is_valid(rows.column("image_bytes")), pc.is_in(rows.column("edit_id"), value_set=asked)
        )
        rows = rows.filter(is_there).sort_by([("edit_id", "ascending"), (FILE, "descending")])
        places = zip(rows.column("edit_id").to_pylist(), rows.column(FILE).to_pylist(), strict=True)
        found = dict(places) | found
    return found


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
