"""Edits that are there: those that other edits tables hold, scored otherwise, and what their images are now.

An edit has the label and the group that its image has now: where the source corrected them and the prompt stayed
the same ("red_bird", "red bird"), so did the edit's id.
"""

import posixpath
from collections.abc import Iterable

from alia_ray.stages import made_with
from alia_ray.store.ledger import Ledger, ledger_of, quoted
from alia_ray.store.run_folder import Table

_OF_IMAGE = ["label", "group"]


def describe_anew(target: Table, images: Table) -> None:
    """Give edits the labels and groups that their images have now."""
    ledger = ledger_of(target.folder)
    edits, described = ledger.rows(target, []), ledger.rows(images, [])
    changed = " OR ".join(f"i.{name} IS DISTINCT FROM e.{name}" for name in map(quoted, _OF_IMAGE))
    now = ", ".join(f"i.{name}" for name in map(quoted, _OF_IMAGE))
    rows = ledger.ask(f"SELECT edit_id, {now} FROM {edits} e JOIN {described} i USING (image_id) WHERE {changed}")
    target.correct({row.pop("edit_id"): row for row in rows.to_pylist()})


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
