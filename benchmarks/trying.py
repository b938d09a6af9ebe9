"""What the edit stage's worker is handed where it runs bare: images with all that is to be tried of each."""

import pyarrow as pa

from alia_ray.store.tables import draw_key


def tries_of(requests: pa.Table, seed: int) -> dict[str, list[str]]:
    """image_id -> the ids of its edits, in the order in which they are tried. requests: of `requests_of`."""
    pairs = zip(requests["edit_id"].to_pylist(), requests["image_id"].to_pylist(), strict=True)
    found: dict[str, list[str]] = {}
    for edit_id, image_id in sorted(pairs, key=lambda pair: draw_key(seed, pair[0])):
        found.setdefault(image_id, []).append(edit_id)
    return found


def with_tries(images: pa.Table, requests: pa.Table, seed: int) -> pa.Table:
    """The images that have something to try, with columns of what it is, none of which is made yet."""
    tries = tries_of(requests, seed)
    images = images.filter(pa.array([image_id in tries for image_id in images["image_id"].to_pylist()]))
    attempts = [tries[image_id] for image_id in images["image_id"].to_pylist()]
    unknown = [[None] * len(each) for each in attempts]
    return (
        images.append_column("attempts", pa.array(attempts, pa.list_(pa.string())))
        .append_column("survived", pa.array(unknown, pa.list_(pa.bool_())))
        .append_column("stored", pa.array(unknown, pa.list_(pa.string())))
    )
