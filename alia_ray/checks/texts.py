"""Whether texts fit what the text encoders read: what is longer loses its end without a word.

What the model's own tokenizer finds too long is wrong. Where the model is not on this disk yet, it is doubtful.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from alia_ray.checks import windows
from alia_ray.checks.names import names_of
from alia_ray.checks.windows import Window
from alia_ray.config import Config
from alia_ray.config.arms import ARMS

SHOWN = 80  # characters of a text that is too long


@dataclass(frozen=True)
class Text:
    """A text of the configuration, and who reads it."""

    key: str  # where it stands
    text: str  # with {} for a class, or without
    model: str  # the key of the model
    windows: list[Window]


def wrong_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """Texts that lose their end: prompts under the longest class name, the judge's, the captions' beginning."""
    names = list(names_of(settings, listing).values())
    yield from (sentence for sentence, exact in _too_long(_texts(settings), names) if exact)


def doubtful_things(settings: Config, listing: pa.Table) -> Iterator[str]:
    """Texts that will probably lose their end: the model is not on this disk, so CLIP's tokens are counted."""
    names = list(names_of(settings, listing).values())
    yield from (sentence for sentence, exact in _too_long(_texts(settings), names) if not exact)


def long_domains(settings: Config, prompts: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Discovered prompts that lose their end; those of `discover.prompts` have been looked at before."""
    if settings.discover.prompts is not None:
        return
    read_by = windows.of_editor(settings.edit.model)
    texts = [Text("discover", prompt, "edit.model", read_by) for prompt in prompts]
    yield from (sentence for sentence, _ in _too_long(texts, list(names)))


def _texts(settings: Config) -> Iterator[Text]:
    edits = {ARMS[name].edits for name in settings.named_arms}
    editor, judge = windows.of_editor(settings.edit.model), windows.of_judge(settings.judge.model)
    discover, baselines = settings.discover, settings.baselines
    for prompt in discover.prompts or []:
        yield Text("discover.prompts", prompt, "edit.model", editor)
    if discover.prompts is None:
        yield Text("discover.prefix", discover.prefix, "edit.model", editor)
        if settings.caption.prefix:
            read_by = windows.of_captioner(settings.caption)
            model = "caption.model beside caption.max_new_tokens"
            yield Text("caption.prefix", settings.caption.prefix, model, read_by)
    for prompt in baselines.user_prompts:
        if "user" in edits:
            yield Text("baselines.user_prompts", prompt, "edit.model", editor)
        if "text_to_image" in edits:
            model = baselines.text_to_image.model
            key = "baselines.text_to_image.model"
            yield Text("baselines.user_prompts", prompt, key, windows.of_editor(model))
    for key in ("positives", "negatives"):
        for text in getattr(settings.judge, key):
            yield Text(f"judge.{key}", text, "judge.model", judge)


def _too_long(texts: Iterable[Text], names: list[str]) -> Iterator[tuple[str, bool]]:
    """A sentence for each text that is too long, and whether it is certain."""
    bulkiest = max(names, key=lambda name: len(name.encode()), default="")
    for each in texts:
        for window in each.windows:
            if window.plainly_holds(each.text.replace("{}", bulkiest)):
                continue
            count = window.counter()
            name = max(names, key=count, default="")
            tokens = count(each.text.replace("{}", name))
            if tokens > window.tokens:
                yield _sentence(each, name, tokens, window), window.exact
                break


def _sentence(each: Text, name: str, tokens: int, window: Window) -> str:
    text = textwrap.shorten(each.text, SHOWN, placeholder=" …")
    with_name = f" with the class {name!r}" if "{}" in each.text else ""
    takes = "takes" if window.exact else "probably takes"
    shorten = "shorten it, or the name in source.class_names" if with_name else "shorten it"
    return (
        f"{each.key}: {text!r}{with_name} {takes} {tokens} tokens, and {each.model} reads {window.tokens}, so its "
        f"end would be lost; {shorten}"
    )
