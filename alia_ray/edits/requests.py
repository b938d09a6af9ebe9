"""What is to be edited: every training image under every domain's prompt, with ids and seeds from content."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Edit
from alia_ray.edits.names import class_name
from alia_ray.edits.shapes import bucket_of
from alia_ray.images import Shape
from alia_ray.models.methods import edit_parameters
from alia_ray.store import tables
from alia_ray.store.tables import content_id, seed_of

_LINEAGE = ("edit_id", "image_id", "domain_id", "label", "group", "prompt", "method", "parameters", "seed")
OF_IMAGES = ("image_id", "label", "group", "split", "width", "height")
"""What a request is made of, of the images table."""
REQUEST = pa.schema([tables.EDITS.field(name) for name in _LINEAGE] + [("source_image", pa.binary())])


@dataclass(frozen=True)
class Plan:
    """Everything an edit request is made of, beside the image."""

    domains: tuple[tuple[str, str], ...]  # (domain_id, prompt with {})
    method: str
    parameters: str  # JSON
    seed: int
    class_names: Mapping[str, str] = field(default_factory=dict)  # label -> name, where a person gave one

    def prompt(self, template: str, label: str) -> str:
        """A domain's prompt for a label."""
        return template.replace("{}", self.class_names.get(label) or class_name(label))


def plan_edits(domains: pa.Table, edit: Edit, seed: int, class_names: Mapping[str, str] | None = None) -> Plan:
    """The plan of a configuration over a domains table; `class_names` are those that a person gave."""
    pairs = zip(domains.column("domain_id").to_pylist(), domains.column("prompt").to_pylist(), strict=True)
    parameters = json.dumps(edit_parameters(edit), sort_keys=True)
    return Plan(tuple(sorted(pairs)), edit.method, parameters, seed, class_names or {})


def parameters_of(plan: Plan) -> Mapping[Shape, str]:
    """The parameters of an edit, as JSON, by the width and height of its source."""
    return _Parameters(plan)


def requests_of(images: pa.Table, plan: Plan) -> pa.Table:
    """Every request for the training images among `images`, a table of schema REQUEST.

    `images` needs the columns OF_IMAGES; without a column `image`, source_image is null.
    """
    made = []
    parameters = parameters_of(plan)
    training = images.filter(pc.equal(images.column("split"), "train"))
    for image in training.to_pylist():
        for domain_id, template in plan.domains:
            prompt = plan.prompt(template, image["label"])
            seed = seed_of(image["image_id"], prompt, str(plan.seed))
            how = parameters[image["width"], image["height"]]
            made.append(
                {
                    "edit_id": content_id(image["image_id"], prompt, plan.method, how, str(seed)),
                    "image_id": image["image_id"],
                    "domain_id": domain_id,
                    "label": image["label"],
                    "group": image["group"],
                    "prompt": prompt,
                    "method": plan.method,
                    "parameters": how,
                    "seed": seed,
                    "source_image": image.get("image"),
                }
            )
    return pa.Table.from_pylist(made, schema=REQUEST)


class _Parameters(dict[Shape, str]):
    """Width and height of a source -> the parameters of its edits: beside the plan's those of its bucket.

    Squares have the plan's alone, and the ids that they had when all edits were squares.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __missing__(self, source: Shape) -> str:
        of_all = json.loads(self.plan.parameters)
        width, height = bucket_of(source, of_all["size"])
        own = {} if source[0] == source[1] else {"width": width, "height": height}
        return self.setdefault(source, json.dumps({**of_all, **own}, sort_keys=True))
