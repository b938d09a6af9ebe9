"""Asking an OpenAI-compatible server for JSON, and counting tokens as it does."""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from alia_ray.errors import StageError
from alia_ray.llm.prompts import Message

ATTEMPTS = 3  # at an answer that is JSON of the right form; a server that ignores schemas may need them
BYTES_PER_TOKEN = 2  # where the server does not count: English has about four, so this errs on the safe side


@dataclass(frozen=True)
class Answer:
    """An answer: its text as written, and the strings of its list."""

    text: str
    items: list[str]


class Client:
    """A chat model behind `base_url` (http://…/v1). The key is OPENAI_API_KEY; vLLM needs none."""

    def __init__(self, base_url: str, model: str, timeout_s: float, seed: int) -> None:
        self.model, self.seed = model, seed
        key = None if "OPENAI_API_KEY" in os.environ else "none"
        self._openai = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout_s, max_retries=2)
        root = base_url.rstrip("/").removesuffix("/v1")
        self._http = httpx.Client(base_url=root, timeout=timeout_s)
        self._counts = True

    def ask(
        self, messages: list[Message], schema: dict[str, Any], max_tokens: int, temperature: float
    ) -> Answer:
        """Ask for an object of `schema`, whose one property is a list of strings.

        Raises StageError when the answer was cut at `max_tokens`, is not of the schema after three attempts,
        or the server refuses, is not there, or takes too long.
        """
'''
