"""Whether the captions find room in the language model's context, before anything is captioned for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alia_ray.checks.windows import counter_of
from alia_ray.config import Config, Discover
from alia_ray.llm import prompts
from alia_ray.models.naming import folder_on_disk


def wrong_things(settings: Config) -> Iterator[str]:
    """What is certain to fail in `discover`; nothing where no language model is asked."""
    llm, discover = settings.llm, settings.discover
    if discover.prompts is not None:
        return
    folder = folder_on_disk(llm.model, "config.json") if llm.base_url is None else None
    own = _context(folder) if folder else None
    if own is not None and own < llm.max_model_len:
        yield f"llm.max_model_len: {llm.model.name} has a context of {own} tokens; set it to that, or lower"
    requests, answers = _tokens(discover, folder) if folder else 0, 2 * discover.max_tokens
    if requests + answers >= llm.max_model_len:
        yield (
            f"llm.max_model_len: {llm.max_model_len} tokens leave no room for captions: two answers of "
            f"discover.max_tokens take {answers}, and what is asked {requests or 'some more'}; raise it, or lower "
            "discover.max_tokens"
        )


def _tokens(discover: Discover, folder: Path) -> int:
    """Of both turns without a caption, at the least: what the chat template adds is not counted."""
    if not (folder / "tokenizer.json").is_file():
        return 0
    first = prompts.summarise([], discover.prefix, discover.max_domains)
    count = counter_of(folder)
    return sum(count(message["content"]) for message in prompts.generalise(first, "", discover.prefix))


def _context(folder: Path) -> int | None:
    """The context that a model was made for, in tokens; None where it can be stretched, or is not said."""
    try:
        about: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        about = about.get("text_config", about)
        rope = about.get("rope_scaling") or about.get("rope_parameters") or {}
        context = about.get("max_position_embeddings")
    except (ValueError, AttributeError):  # which the check of models says
        return None
    is_stretched = rope.get("rope_type", rope.get("type", "default")) != "default"
    return context if isinstance(context, int) and not is_stretched else None
