"""A scripted OpenAI-compatible server."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from alia_ray.llm.connection import Endpoint

Reply = str | tuple[Any, ...] | dict[str, Any] | None


@dataclass
class FakeLlm:
    """Answers chat requests with `reply(request)`; counts a token per word when `counts` is true.

    `tells_tokens`: it gives them as texts where that is asked for, as vLLM does.
    A reply is the answer's text, a message as a dict, (status, error message) with headers perhaps, or None to
    hang up. `models` is what /models lists; None: there is no such route. `raw` answers everything.
    """

    base_url: str
    reply: Callable[[dict[str, Any]], Reply] = lambda request: "{}"
    finish_reason: str = "stop"
    counts: bool = True
    tells_tokens: bool = False
    models: list[dict[str, Any]] | None = field(default_factory=lambda: [{"id": "fake"}])
    raw: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[str, str | None]] = field(default_factory=list)  # path and Authorization of everything asked

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.base_url)

    def respond(self, path: str, request: dict[str, Any]) -> tuple[int, Any, dict[str, str]] | None:
        if path == "/v1/models":
            return (404, {}, {}) if self.models is None else (200, {"data": self.models}, {})
        if path == "/tokenize":
            texts = [request["prompt"]] if "prompt" in request else [m["content"] for m in request["messages"]]
            words = [word for text in texts for word in re.findall(r"\S+\s*", text)]
            told = {"token_strs": words} if self.tells_tokens and request.get("return_token_strs") else {}
            return (200, {"count": len(words), **told}, {}) if self.counts else (404, {}, {})
        if path != "/v1/chat/completions":
            return 404, {"detail": "Not Found"}, {}
        self.requests.append(request)
        reply = self.reply(request)
        if reply is None:
            return None
        if isinstance(reply, tuple):
            status, message, *headers = reply
            return status, {"error": {"message": message}}, *(headers or [{}])
        message = reply if isinstance(reply, dict) else {"role": "assistant", "content": reply}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return 200, {"id": "1", "object": "chat.completion", "model": "fake", "choices": [choice]}, {}


@pytest.fixture
def fake_llm() -> Iterator[FakeLlm]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, request: dict[str, Any]) -> None:
            fake.calls.append((self.path, self.headers["authorization"]))
            response = fake.respond(self.path, request)
            if response is None:
                self.close_connection = True
                return
            status, body, headers = (200, fake.raw, {}) if fake.raw is not None else response
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            kind = "application/json" if fake.raw is None else "text/html"
            for name, value in {"content-type": kind, "content-length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeLlm(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a client waited before it asked again; it does not wait really."""
    waited: list[float] = []
    monkeypatch.setattr("alia_ray.llm.client.time.sleep", waited.append)
    return waited
