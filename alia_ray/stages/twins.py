"""Pictures that occur in more than one split: which of them must go, so that no split sees another's."""

import pyarrow as pa

KEEPS = ("test", "val", "train", "extra")
"""A picture stays in the first of these splits that it occurs in."""


def twins(images: pa.Table) -> list[dict[str, str]]:
    """The rows that must go: {"image_id", "origin", "twin_of", "reason"}; the last two name the row that stays.

    images: image_id, content, split and origin. Equal pictures within one split stay: they leak nothing.
    The result does not depend on the order of the rows.
    """
    of_content: dict[str, list[dict[str, str]]] = {}
    for row in images.to_pylist():
        if row["content"] is not None:  # of a table that was written before there was this column
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
