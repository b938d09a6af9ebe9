"""Keys that were set and that nothing reads, by what else is configured. A default spelled out says nothing."""

from collections.abc import Iterator

from alia_ray.config import Config
from alia_ray.models.methods import methods_that_read


def doubtful_things(settings: Config) -> Iterator[str]:
    """One sentence for each such key: what would make something read it."""
    edit, judge = settings.edit, settings.judge
    for name, info in type(edit).model_fields.items():
        methods = methods_that_read(name)
        if methods and edit.method not in methods and getattr(edit, name) != info.default:
            yield (
                f"edit.{name}: edit.method={edit.method} does not read it; leave it out, "
                f"or set edit.method={' or '.join(methods)}"
            )
    rule = judge.confidence_rule
    if "mislabelled" not in judge.filters and rule != type(judge).model_fields["confidence_rule"].default:
        yield (
            f"judge.confidence_rule: {rule} is a rule of the filter mislabelled, not among judge.filters; "
            "add that there, or leave the rule out"
        )
