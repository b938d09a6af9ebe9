"""A scripted OpenAI-compatible server."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = str | tuple[int, str]  # the answer's text; or a status and an error message


@dataclass
class FakeLlm:
    """Answers chat requests with `reply(request)`; counts a token per word when `counts` is true."""

    base_url: str
    reply: Callable[[dict[str, Any]], Reply] = lambda request: "{}"
    finish_reason: str = "stop"
    counts: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)

    def respond(self, path: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/tokenize":
            texts = [request["prompt"]] if "prompt" in request else [m["content"] for m in request["messages"]]
            return (200, {"count": sum(len(text.split()) for text in texts)}) if self.counts else (404, {})
        self.requests.append(request)
        reply = self.reply(request)
        if isinstance(reply, tuple):
            return reply[0], {"error": {"message": reply[1]}}
        message = {"role": "assistant", "content": reply}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return 200, {"id": "1", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]}


@pytest.fixture
def fake_llm() -> Iterator[FakeLlm]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = fake.respond(self.path, request)
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
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
