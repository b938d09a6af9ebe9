"""Asking an OpenAI-compatible server for lists of strings, and counting tokens as it does."""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from alia_ray.errors import StageError
from alia_ray.llm import dialects
from alia_ray.llm.answers import MOST_CHARACTERS, find_strings, is_plain
from alia_ray.llm.connection import (
    NO_SUCH_ROUTE,
    Endpoint,
    ServerFailure,
    answer_of,
    as_json,
    no_api,
    open_client,
    refusal,
    said_in,
    served_models,
)
from alia_ray.llm.pace import Pace
from alia_ray.llm.prompts import Message
from alia_ray.plain_text import plain

ATTEMPTS = 3  # at an answer that is JSON of the right form: a server that ignores schemas may need them
RETRY_TEMPERATURE = 0.5  # at 0 a second attempt would only repeat the first
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before a server that is busy is asked again
LONGEST_PAUSE_S = 60.0  # whatever its Retry-After says
BUSY = (408, 409, 425, 429)  # and all of 500 and more, as gateways have statuses of their own
BYTES_PER_TOKEN = 2  # where the server does not count: English has about four, so this errs on the safe side
TOKENS_PER_MESSAGE = 16  # of a chat template, likewise
LINE_ENDS = ("\n", "\u010a", "<0x0A>")  # of a token as text: as it is, in byte-level BPE, in SentencePiece
TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum context|exceed\w* .*context|max_model_len|prompt is too long"
    r"|too many (input )?tokens|input is too long",
    re.IGNORECASE,
)
NO_SUCH_MODEL = re.compile(r"model\b.*(not found|not exist|unknown)|no such model|invalid model", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An answer: its text as written, the strings of its list, and the JSON object that goes on."""

    text: str
    items: list[str]
    json: str  # the text itself where it is that object and nothing else


class Client:
    """A chat model behind an endpoint. May be used from several threads.

    Raises ConfigError when it cannot be reached through the environment's proxy.
    """

    def __init__(self, endpoint: Endpoint, model: str, timeout_s: float, seed: int) -> None:
        self.endpoint, self.model, self.seed = endpoint, model, seed
        self._http = open_client(endpoint, timeout_s)
        self._form = dialects.FIRST
        self._pace = Pace()
        self._counts = True  # until the server is seen not to count tokens
        self._tells_tokens = True  # until it is seen not to give them as texts

    def ask(self, messages: list[Message], schema: dict[str, Any], max_tokens: int, temperature: float) -> Answer:
        """Ask for an object of `schema`, whose one property is a list of strings.

        The last of three attempts asks for plain text: a server may take the schema and answer with nothing.
        Raises StageError when the answer was cut at `max_tokens` or filtered, and when three answers held no such
        list; ServerFailure when the server refuses, does not answer, or takes too long.
        """
        [key] = schema["properties"]
        text = ""
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1 and not self.endpoint.is_own
            form = {**self._form, "response_format": None} if last else self._form
            warmth = max(temperature, RETRY_TEMPERATURE) if attempt else temperature
            choice = self._complete(messages, form, schema, max_tokens, warmth, self.seed + attempt)
            text = _text(choice, self.endpoint, max_tokens)
            if items := find_strings(text, key):
                bare = json.dumps({key: items}, ensure_ascii=False, separators=(",", ":"))
                return Answer(text, items, text if is_plain(text, key) else bare)
        raise StageError(
            f"the LLM {self.model} gave no JSON object with a list {key!r} in {ATTEMPTS} attempts; try another "
            f"llm.model; its last answer began: {text[:200]!r}"
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, by the server where it counts (vLLM's /tokenize), else a safe estimate."""
        counted = self._server_count({"prompt": text, "add_special_tokens": False})
        return _estimate(text) if counted is None else counted

    def count_lines(self, lines: list[str], one_by_one: bool) -> list[int]:
        """Tokens of each line of a text, where every line ends in "\\n" and holds no other.

        One request tells them where the server gives tokens as texts, as vLLM does. Another one that counts is
        asked for each line if `one_by_one`; else, and where a token belongs to two lines, the estimate is safe.
        """
        if self._counts and self._tells_tokens:
            text = {"prompt": "".join(lines), "add_special_tokens": False, "return_token_strs": True}
            said = self._tokenized(text) or {}
            if (sizes := _sizes_of_lines(said.get("token_strs"), len(lines))) is not None:
                return sizes
            self._tells_tokens = not said or said.get("token_strs") is not None
        return [self.count_tokens(line) if one_by_one else _estimate(line) for line in lines]

    def count_message_tokens(self, messages: list[Message]) -> int:
        """Tokens of a conversation with its chat template and the opening of the answer."""
        counted = self._server_count({"messages": messages})
        if counted is not None:
            return counted
        return sum(_estimate(message["content"]) + TOKENS_PER_MESSAGE for message in messages)

    def says_anything(self) -> None:
        """Have the model answer one word. Raises ServerFailure when the server does not know it."""
        form = {**self._form, "response_format": None}
        self._complete([{"role": "user", "content": "Say yes."}], form, {}, 16, 0.0, self.seed)

    def _complete(
        self,
        messages: list[Message],
        form: dialects.Form,
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> dict[str, Any]:
        """The first choice of a completion, in the form that the server takes."""
        asked = form
        while True:
            fields = dialects.fields(form, schema, max_tokens, temperature, seed)
            body = {"model": self.model, "messages": messages, **fields}
            response = self._post(f"{self.endpoint.base_url}/chat/completions", body, self.endpoint.headers)
            if response.is_success:
                break
            said = said_in(response)
            narrower = dialects.next_form(form, said) if _is_about_form(response, said) else None
            if narrower is None:
                raise self._refusal(response, said)
            form = narrower
        if form is not asked:
            self._form = form
        return _choice(response, self.endpoint)

    def _post(self, url: str, body: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
        """The response; asked for again while the server is busy or hangs up, unless it is our own."""
        for pause in () if self.endpoint.is_own else PAUSES_S:
            asked_to_wait = None
            with self._pace.turn() as heard:
                try:
                    response = self._post_once(url, body, headers)
                except _HungUp:
                    heard(True)
                else:
                    is_busy = _is_busy(response)
                    heard(is_busy)
                    if not is_busy:
                        return response
                    asked_to_wait = response.headers.get("retry-after")
            time.sleep(_pause(pause, asked_to_wait))
        with self._pace.turn():
            return self._post_once(url, body, headers)

    def _post_once(self, url: str, body: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
        try:
            return answer_of(self._http, "POST", url, json=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self.endpoint.unreachable(error) from error
        except httpx2.TimeoutException as error:
            raise ServerFailure(
                f"{self.endpoint.name} took too long to answer; raise llm.request_timeout_s, or lower "
                "llm.concurrency"
            ) from error
        except httpx2.TransportError as error:
            raise _HungUp(str(self.endpoint.unreachable(error))) from error

    def _refusal(self, response: httpx2.Response, said: str) -> ServerFailure:
        """What to raise for a request that was refused for good."""
        refused = refusal(self.endpoint, response)
        if TOO_LONG.search(said):
            return ServerFailure(f"{refused}; lower llm.max_model_len to the context that this server has")
        if response.status_code != 404 and not NO_SUCH_MODEL.search(said):
            return refused
        try:
            names = [model["id"] for model in served_models(self._http, self.endpoint)]
        except ServerFailure:
            names = []
        if names and self.model not in names:
            return ServerFailure(
                f"{refused}; it has no model {self.model!r} but {plain(', '.join(names[:20]), 500)}; set "
                "llm.model.name"
            )
        return ServerFailure(f"{refused}; check llm.model.name, and llm.base_url, which mostly ends in /v1")

    def _server_count(self, request: dict[str, Any]) -> int | None:
        """The count of vLLM's /tokenize; None from any other server."""
        said = self._tokenized(request) if self._counts else None
        return None if said is None else said["count"]

    def _tokenized(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What vLLM's /tokenize says, which lies at the server's root; None where there is no count."""
        url = f"{self.endpoint.base_url.removesuffix('/v1')}/tokenize"
        # Without the key: the root is not the API, and behind a gateway something else may be there.
        response = self._post(url, {"model": self.model, **request}, {})
        value = as_json(response) if response.is_success else None
        count = value.get("count") if isinstance(value, dict) else None
        if isinstance(count, int) and count >= 0:
            return value
        if response.is_success or response.status_code in (401, 403, *NO_SUCH_ROUTE) or _is_busy(response):
            self._counts = False
        return None


class _HungUp(ServerFailure):
    """The connection ended before the answer."""


def _is_busy(response: httpx2.Response) -> bool:
    """Whether the same request may do later; not where a server fails over a part that it does not know."""
    status = response.status_code
    said_why = status == 500 and dialects.names_a_part(said_in(response))
    return (status in BUSY or status >= 500) and status != 501 and not said_why


def _is_about_form(response: httpx2.Response, said: str) -> bool:
    """Whether a refusal may be about a part of the request that can be left out."""
    if TOO_LONG.search(said) or NO_SUCH_MODEL.search(said):
        return False
    return response.status_code in (400, 404, 422, 500, 501) and not _is_busy(response)


def _choice(response: httpx2.Response, endpoint: Endpoint) -> dict[str, Any]:
    """The first choice of a completion. Raises ServerFailure for anything else that has status 200."""
    value = as_json(response)
    if isinstance(value, dict) and value.get("error"):  # as routers pass on what went wrong behind them
        raise ServerFailure(f"{endpoint.name} refused: {said_in(response)}")
    try:
        choice = value["choices"][0]
        if isinstance(choice["message"], dict):
            return choice
    except (KeyError, IndexError, TypeError):
        pass
    raise no_api(endpoint)


def _text(choice: dict[str, Any], endpoint: Endpoint, max_tokens: int) -> str:
    """What was written: the content, else the thoughts, where some servers put the whole answer."""
    message = choice["message"]
    said = (_joined(message.get(part)) for part in ("content", "reasoning_content", "reasoning", "refusal"))
    text = plain(next((words for words in said if words.strip()), "")[-MOST_CHARACTERS:])
    if choice.get("finish_reason") == "content_filter":
        raise StageError(
            f"the content filter of {endpoint.name} stopped the answer; choose another llm.model, or give "
            "discover.prompts"
        )
    if choice.get("finish_reason") == "length":
        raise StageError(
            f"the LLM's answer was cut after {max_tokens} tokens; raise discover.max_tokens, above all for a "
            f"model that thinks before it answers (it began: {text[:200]!r})"
        )
    return text


def _joined(content: Any) -> str:
    """A message's content as one text: some servers give a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _sizes_of_lines(tokens: Any, lines: int) -> list[int] | None:
    """Tokens of each of so many lines, of the texts of all tokens; None where those do not end as the lines do."""
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return None
    ends = [place for place, token in enumerate(tokens, start=1) if token.endswith(LINE_ENDS)]
    if len(ends) != lines or ends[-1:] != [len(tokens)]:
        return None
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _pause(usual_s: float, asked_for: str | None) -> float:
    """How long to wait: the seconds of a Retry-After within reason, else the usual time."""
    try:
        return min(max(float(asked_for or usual_s), 0.0), LONGEST_PAUSE_S)
    except ValueError:  # a date
        return usual_s


def _estimate(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1
