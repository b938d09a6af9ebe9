"""Which pictures a report shows: seeded draws, so that the same run gives the same page."""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.images import DecodeError
from alia_ray.report.confusions import Change
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.pictures import Thumbnail, read_images, thumbnail
from alia_ray.report.sections import shuffled
from alia_ray.store.tables import VERDICTS

CAPTIONED = 12  # images shown with their caption
SOURCES = 6  # images shown under every domain
PER_VERDICT = 8  # edits shown of each verdict
CHANGED = 8  # test images shown that were mended, and that were broken


def draw(
    images: pa.Table,
    captions: dict[str, str],
    edits: pa.Table,
    domains: list[str],
    changed: Change | None,
    inputs: ReportInputs,
) -> dict[str, Any]:
    """What is shown in pictures: `captioned`, `sources`, `by_verdict` and, of the test images that were `changed`,
    `mended` and `broken`; and the thumbnails of all as `pictures`.
    """
    captioned = _captioned(captions, images, inputs.seed)
    sources = _under_every_domain(edits, domains, inputs.seed)
    by_verdict = _of_each_verdict(edits, inputs.seed)
    mended, broken = (
        _changed(rows, inputs.seed) for rows in ((changed.mended, changed.broken) if changed else ([], []))
    )
    shown = [edit for row in sources for edit in row["edits"] if edit is not None]
    shown += [edit for drawn in by_verdict.values() for edit in drawn]
    of_images = [row["image_id"] for row in (*captioned, *shown)] + [row["id"] for row in (*mended, *broken)]
    encoded = read_images(inputs.images, of_images)
    if inputs.edits is not None:
        kept = (edit["edit_id"] for edit in shown if inputs.keeps_rejected or edit["verdict"] == "kept")
        encoded |= read_images(inputs.edits, kept)
    return {
        "captioned": captioned,
        "sources": sources,
        "by_verdict": by_verdict,
        "mended": mended,
        "broken": broken,
        "pictures": _thumbnails(encoded),
    }


def _thumbnails(encoded: dict[str, bytes]) -> dict[str, Thumbnail]:
    """Those of the pictures that can be decoded: a page has a gap for one that its storage has damaged."""
    found = {}
    for key, content in encoded.items():
        with suppress(DecodeError):
            found[key] = thumbnail(content)
    return found


def _changed(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    by_id = {row["id"]: row for row in rows}
    return [by_id[key] for key in shuffled(by_id, seed, "changed")[:CHANGED]]


def _captioned(captions: dict[str, str], images: pa.Table, seed: int) -> list[dict[str, Any]]:
    """Rows of `images`, each with its `caption`."""
    chosen = shuffled(captions, seed, "captions")[:CAPTIONED]
    return [{**row, "caption": captions[row["image_id"]]} for row in _rows(images, "image_id", chosen)]


def _under_every_domain(edits: pa.Table, domains: list[str], seed: int) -> list[dict[str, Any]]:
    """Some images with all their edits: {"image_id", "label", "edits": an edit or None for each domain}."""
    sources = shuffled(edits.column("image_id").unique().to_pylist(), seed, "sources")[:SOURCES]
    rows = _rows(edits, "image_id", sources)
    found = {(row["image_id"], row["domain_id"]): row for row in rows}
    labels = {row["image_id"]: row["label"] for row in rows}
    return [
        {"image_id": source, "label": labels[source], "edits": [found.get((source, domain)) for domain in domains]}
        for source in sources
    ]


def _of_each_verdict(edits: pa.Table, seed: int) -> dict[str, list[dict[str, Any]]]:
    """A few edits of each verdict that occurs."""
    drawn = {}
    for verdict in VERDICTS:
        ids = edits.filter(pc.equal(edits.column("verdict"), verdict)).column("edit_id").to_pylist()
        drawn[verdict] = _rows(edits, "edit_id", shuffled(ids, seed, "verdicts")[:PER_VERDICT])
    return {verdict: rows for verdict, rows in drawn.items() if rows}


def _rows(table: pa.Table, key: str, ids: list[str]) -> list[dict[str, Any]]:
    """The rows whose `key` is one of some ids, in the order of the ids."""
    found = table.filter(pc.is_in(table.column(key), value_set=pa.array(ids, pa.string()))).to_pylist()
    return sorted(found, key=lambda row: ids.index(row[key]))
