"""Asking an OpenAI-compatible server for lists of strings, and counting tokens as it does."""

import json
import os
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from alia_ray.errors import StageError
from alia_ray.llm.prompts import Message

ATTEMPTS = 3  # at an answer that is JSON of the right form: a server that ignores schemas may need them
RETRY_TEMPERATURE = 0.5  # at 0 a second attempt would only repeat the first
BYTES_PER_TOKEN = 2  # where the server does not count: English has about four, so this errs on the safe side
TOKENS_PER_MESSAGE = 16  # of a chat template, likewise


@dataclass(frozen=True)
class Answer:
    """An answer: its text as written, and the strings of its list."""

    text: str
    items: list[str]


class Client:
    """A chat model behind `base_url` (http://…/v1); OPENAI_API_KEY is sent where it is set."""

    def __init__(self, base_url: str, model: str, timeout_s: float, seed: int) -> None:
        self.base_url, self.model, self.seed = base_url.rstrip("/"), model, seed
        key = os.environ.get("OPENAI_API_KEY", "none")
        self._openai = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout_s)
        self._http = httpx.Client(timeout=timeout_s)

    def ask(self, messages: list[Message], schema: dict[str, Any], max_tokens: int, temperature: float) -> Answer:
        """Ask for an object of `schema`, whose one property is a list of strings.

        Raises StageError when the answer was cut at `max_tokens`, when three answers were not of the schema,
        and when the server refuses, does not answer, or takes too long.
        """
        [key] = schema["properties"]
        for attempt in range(ATTEMPTS):
            warmth = max(temperature, RETRY_TEMPERATURE) if attempt else temperature
            text = self._complete(messages, schema, max_tokens, warmth, attempt)
            items = _strings(text, key)
            if items:
                return Answer(text, items)
        raise StageError(
            f"the LLM {self.model} gave no JSON object with a list {key!r} in {ATTEMPTS} attempts; its last "
            f"answer began: {text[:200]!r}"
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, by the server where it counts (vLLM's /tokenize), else a safe estimate."""
        counted = self._server_count({"prompt": text, "add_special_tokens": False})
        return _estimate(text) if counted is None else counted

    def count_message_tokens(self, messages: list[Message]) -> int:
        """Tokens of a conversation with its chat template and the opening of the answer."""
        counted = self._server_count({"messages": messages})
        if counted is not None:
            return counted
        return sum(_estimate(message["content"]) + TOKENS_PER_MESSAGE for message in messages)

    def _complete(
        self,
        messages: list[Message],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        attempt: int,
    ) -> str:
        try:
            completion = self._openai.chat.completions.create(
                model=self.model,
                messages=messages,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=self.seed + attempt,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": schema, "strict": True},
                },
            )
        except openai.APITimeoutError as error:
            raise StageError(
                f"the LLM at {self.base_url} took too long to answer; raise llm.request_timeout_s"
            ) from error
        except openai.APIConnectionError as error:
            raise StageError(
                f"no LLM answers at {self.base_url}; check llm.base_url and that its server runs"
            ) from error
        except openai.APIStatusError as error:
            raise StageError(
                f"the LLM at {self.base_url} refused ({error.status_code}): {error.message}"
            ) from error
        choice = completion.choices[0]
        if choice.finish_reason == "length":
            raise StageError(
                f"the LLM's answer was cut after {max_tokens} tokens; raise discover.max_tokens "
                f"(it began: {(choice.message.content or '')[:200]!r})"
            )
        return choice.message.content or ""

    def _server_count(self, request: dict[str, Any]) -> int | None:
        """The count of vLLM's /tokenize, which lies at the server's root; None from any other server."""
        url = f"{self.base_url.removesuffix('/v1')}/tokenize"
        try:
            response = self._http.post(url, json={"model": self.model, **request})
        except httpx.TransportError as error:
            raise StageError(
                f"no LLM answers at {self.base_url}; check llm.base_url and that its server runs"
            ) from error
        if not response.is_success or "json" not in response.headers.get("content-type", ""):
            return None
        return response.json().get("count")


def _estimate(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def _strings(text: str, key: str) -> list[str] | None:
    """The strings under `key`, or None when `text` is not a JSON object with such a list."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    items = value.get(key) if isinstance(value, dict) else None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return items
    return None
