"""Which pictures a report shows: seeded draws, so that the same run gives the same page."""

from contextlib import suppress
from typing import Any

from alia_ray.images import DecodeError
from alia_ray.report import asking
from alia_ray.report.confusions import Change
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.pictures import Thumbnail, read_images, thumbnail
from alia_ray.store.tables import VERDICTS, content_id

CAPTIONED = 12  # images shown with their caption
SOURCES = 6  # images shown under every domain
PER_VERDICT = 8  # edits shown of each verdict
CHANGED = 8  # test images shown that were mended, and that were broken


def draw(edits: str, domains: list[str], changed: Change | None, inputs: ReportInputs) -> dict[str, Any]:
    """What is shown in pictures: `captioned`, `sources`, `by_verdict` and, of the test images that were `changed`,
    `mended` and `broken`; and the thumbnails of all as `pictures`.

    edits: of `asking.keep_edits`.
    """
    captioned = asking.draw_captioned(inputs, CAPTIONED)
    sources = _under_every_domain(edits, domains, inputs)
    by_verdict = {each: asking.draw_edits(inputs, edits, each, PER_VERDICT) for each in VERDICTS}
    by_verdict = {verdict: rows for verdict, rows in by_verdict.items() if rows}
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
    return sorted(rows, key=lambda row: content_id("report", "changed", str(seed), row["id"]))[:CHANGED]


def _under_every_domain(edits: str, domains: list[str], inputs: ReportInputs) -> list[dict[str, Any]]:
    """Some images with all their edits: {"image_id", "label", "edits": an edit or None for each domain}."""
    sources = asking.draw_sources(inputs, edits, SOURCES)
    rows = asking.edits_under(inputs, edits, sources)
    found = {(row["image_id"], row["domain_id"]): row for row in rows}
    labels = {row["image_id"]: row["label"] for row in rows}
    return [
        {"image_id": source, "label": labels[source], "edits": [found.get((source, domain)) for domain in domains]}
        for source in sources
    ]
