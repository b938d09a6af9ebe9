"""Pictures that occur in more than one split: which of them must go, so that no split sees another's."""

import pyarrow as pa
import pyarrow.compute as pc

KEEPS = ("test", "val", "train", "extra")
"""A picture stays in the first of these splits that it occurs in."""


def twins(images: pa.Table) -> list[dict[str, str]]:
    """The rows that must go: {"image_id", "origin", "twin_of", "reason"}; the last two name the row that stays.

    images: image_id, content, split and origin. Equal pictures within one split stay: they leak nothing.
    The result does not depend on the order of the rows.
    """
    of_content: dict[str, list[dict[str, str]]] = {}
    for row in _in_several_splits(images).to_pylist():
        of_content.setdefault(row["content"], []).append(row)
    found = []
    for rows in of_content.values():
        rows.sort(key=lambda row: (KEEPS.index(row["split"]), row["origin"]))
        stays = rows[0]
        reason = f"the same picture as {stays['origin']!r} in the split {stays['split']}"
        found += [
            {"image_id": row["image_id"], "origin": row["origin"], "twin_of": stays["image_id"], "reason": reason}
            for row in rows
            if row["split"] != stays["split"]
        ]
    return found


def without_twins(images: pa.Table) -> pa.Table:
    """The rows that may stay. images: as `twins` takes them, perhaps with other columns."""
    gone = pa.array([row["image_id"] for row in twins(images)], pa.string())
    return images.filter(pc.invert(pc.is_in(images.column("image_id"), value_set=gone))) if len(gone) else images


def twins_in(rows: str) -> str:
    """SQL of the ids (`image_id`) of the same rows, of a relation with image_id, content and split."""
    place = f"list_position({list(KEEPS)}, split)"
    return (
        f"SELECT image_id FROM {rows} JOIN (SELECT content, min({place}) AS stays FROM {rows} "
        f"WHERE content IS NOT NULL GROUP BY content) USING (content) WHERE {place} > stays"
    )


def _in_several_splits(images: pa.Table) -> pa.Table:
    """The rows whose picture more than one split holds; a table of an older release has no contents at all."""
    counted = images.group_by("content").aggregate([("split", "count_distinct")])
    several = counted.filter(pc.greater(counted.column("split_count_distinct"), 1)).column("content")
    return images.filter(pc.is_in(images.column("content"), value_set=several.drop_null(), skip_nulls=True))
