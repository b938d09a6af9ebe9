"""What `ingest` found, in a few lines: where a layout was mistaken, it shows here first."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from alia_ray.progress import number_of
from alia_ray.store.tables import SPLITS

_LISTED = 10  # of so many classes each is told


def summary(images: pa.Table) -> Iterator[str]:
    """How many images there are by split, and by class. images: label, split, and how many have both (`count`)."""
    of_split, of_class = Counter[str](), Counter[str]()
    for row in images.to_pylist():
        of_split[row["split"]] += row["count"]
        of_class[row["label"]] += row["count"]
    if not of_split:
        return
    splits = [f"{of_split[split]} {split}" for split in SPLITS if of_split[split]]
    yield f"{number_of(of_split.total(), 'images')}: {', '.join(splits)}"
    ordered = sorted(of_class.items(), key=lambda pair: (-pair[1], pair[0]))
    number = f"{len(ordered)} class{'es' if len(ordered) > 1 else ''}"
    if len(ordered) <= _LISTED:
        yield f"{number}: {', '.join(f'{label!r} {count}' for label, count in ordered)}"
        return
    (largest, most), (smallest, fewest) = ordered[0], ordered[-1]
    yield f"{number}, from {smallest!r} with {number_of(fewest, 'images')} to {largest!r} with {most}"
