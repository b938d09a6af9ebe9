"""What every format writes: an image, where it belongs, and for an edit how it was made and judged."""

from typing import Any

import pyarrow as pa

from alia_ray.store.tables import EDITS, IMAGES

_PROVENANCE = (
    *("edit_id", "image_id", "domain_id", "prompt", "method", "parameters", "seed"),
    *("semantic_score", "semantic_text", "predicted_label", "confidence", "label_probability", "verdict"),
)
SAMPLES = pa.schema(
    [
        *(IMAGES.field(name) for name in ("image", "label", "split", "group", "origin")),
        pa.field("class_index", pa.int32()),  # the label's place among the class names, sorted
        *(EDITS.field(name) for name in _PROVENANCE),
    ]
)
"""An original has an image_id and an origin, an edit an edit_id and the image_id of what it was made from."""


def name_of(sample: dict[str, Any]) -> str:
    """A sample's name: its id, which is hexadecimal digits."""
    return sample["edit_id"] or sample["image_id"]
