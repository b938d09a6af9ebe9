"""A language model that reads nothing, behind the API of vLLM: `llm.model.name=simulated:latency=2`.

Its prompts are places, whatever the captions say. For trying how long a large run's discovery takes.
"""

import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

from alia_ray.llm.connection import Endpoint
from alia_ray.models.simulated import PLACES, simulation_of


class SimulatedLlm(ThreadingUnixStreamServer):
    """Answers /v1/chat/completions after `latency` seconds, and /tokenize at once: a word is a token."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, name: str, socket: str) -> None:
        self.latency = simulation_of(name).latency
        super().__init__(socket, _Handler)

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a chat completion that asks for a list of strings by a schema."""
        time.sleep(self.latency)
        [(key, array)] = request["response_format"]["json_schema"]["schema"]["properties"].items()
        pattern = re.match(r"\^(.*) \[\^", array["items"].get("pattern", "^a photo of a subject [^"))[1]
        start = re.sub(r"\\(.)", r"\1", pattern)
        said = [f"{start} {place}" for place in PLACES[: array["maxItems"]]]
        message = {"role": "assistant", "content": json.dumps({key: said})}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def tokenize(self, request: dict[str, Any]) -> dict[str, Any]:
        """The words of a text or a conversation, each with the space behind it."""
        texts = [message["content"] for message in request.get("messages", [])] or [request["prompt"]]
        words = [word for text in texts for word in re.findall(r"\S+\s*", text)]
        return {"count": len(words), **({"token_strs": words} if request.get("return_token_strs") else {})}


class _Handler(BaseHTTPRequestHandler):
    server: SimulatedLlm
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        routes = {"/v1/chat/completions": self.server.complete, "/tokenize": self.server.tokenize}
        answer = routes.get(self.path)
        content = json.dumps(answer(request) if answer else {"error": "no such route"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a Unix socket has no address to name, and nobody reads it."""


@contextmanager
def simulated_llm(name: str) -> Iterator[Endpoint]:
    """Where a simulated language model answers, for as long as the block takes; on a socket of this user alone."""
    with tempfile.TemporaryDirectory(prefix="alia-llm-") as folder:
        socket = str(Path(folder) / "socket")
        with SimulatedLlm(name, socket) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield Endpoint("http://simulated/v1", socket)
            finally:
                server.shutdown()
