"""How much a model's text encoder reads: its window in tokens, and how many tokens a text takes.

A model that is on this disk is asked itself: a local folder, `miniature:NAME`, or one in the cache of the Hugging
Face hub; nothing is fetched. For others CLIP's vocabulary stands in, which Stable Diffusion of any size shares.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from alia_ray.config import Caption, ConfigError, Model
from alia_ray.models.naming import folder_on_disk, is_made_up

CLIP_TOKENS = 77
BLIP_TOKENS = 512
MARKS = 2  # of the beginning and the end
_ENDLESS = 10**6  # tokenizers that know no window name a huge one

Count = Callable[[str], int]


@dataclass(frozen=True)
class Window:
    """What one text encoder reads."""

    tokens: int  # at most, its two marks among them
    exact: bool  # whether the model's own tokenizer counts
    counter: Callable[[], Count]  # takes seconds at its first call

    def plainly_holds(self, text: str) -> bool:
        """Whether a text fits in any case, since each token is a byte at least."""
        return len("".join(text.split()).encode()) + MARKS <= self.tokens


def of_editor(model: Model) -> list[Window]:
    """The windows of a diffusion model: one, of SDXL two; none of random weights, which read nothing."""
    if is_made_up(model.name):
        return []
    folders = [folder_on_disk(model, f"{part}/tokenizer_config.json") for part in ("tokenizer", "tokenizer_2")]
    found = [_of_tokenizer(folder, _window_of(folder)) for folder in folders if folder]
    return found or [_guessed(CLIP_TOKENS)]


def of_judge(model: Model) -> list[Window]:
    """The window of a CLIP that open_clip loads."""
    if is_made_up(model.name):
        return []
    folder = folder_on_disk(model, "open_clip_config.json")
    if folder is None:
        return [_guessed(CLIP_TOKENS)]
    text = _json(folder / "open_clip_config.json").get("model_cfg", {}).get("text_cfg", {})
    tokens = text.get("context_length", CLIP_TOKENS)
    if not text.get("hf_tokenizer_name"):
        return [Window(tokens, exact=True, counter=_clips_own)]
    if (folder / "tokenizer_config.json").is_file():
        return [_of_tokenizer(folder, tokens)]
    return [_guessed(tokens)]


def of_captioner(caption: Caption) -> list[Window]:
    """What a BLIP reads before the words that it writes itself."""
    if is_made_up(caption.model.name):
        return []
    folder = folder_on_disk(caption.model, "config.json")
    if folder is None:
        return [_guessed(BLIP_TOKENS - caption.max_new_tokens)]
    text = _json(folder / "config.json").get("text_config", {})
    tokens = text.get("max_position_embeddings", BLIP_TOKENS) - caption.max_new_tokens
    return [_of_tokenizer(folder, tokens)]


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the model's file {path} is no JSON mapping; bring the model here again") from error


def _window_of(folder: Path) -> int:
    tokens = _json(folder / "tokenizer_config.json").get("model_max_length", CLIP_TOKENS)
    return int(tokens) if tokens < _ENDLESS else CLIP_TOKENS


def _guessed(tokens: int) -> Window:
    return Window(tokens, exact=False, counter=_clips_own)


def _of_tokenizer(folder: Path, tokens: int) -> Window:
    return Window(tokens, exact=True, counter=lambda: counter_of(folder))


@cache
def counter_of(folder: Path) -> Count:
    """Counts tokens as the tokenizer in a model's folder does, its marks of beginning and end among them."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        tokenizer = Tokenizer.from_file(str(whole))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return lambda text: len(tokenizer.encode(text).ids)
    from transformers import AutoTokenizer  # not above: it takes seconds

    try:
        in_parts = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError):  # a snapshot of which not all is fetched yet
        return _clips_own()
    return lambda text: len(in_parts(text, verbose=False).input_ids)


@cache
def _clips_own() -> Count:
    from open_clip.tokenizer import SimpleTokenizer  # not above: it imports torch

    tokenizer = SimpleTokenizer()
    return lambda text: len(tokenizer.encode(text)) + MARKS
