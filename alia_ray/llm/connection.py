"""Reaching a language model's server: whom we speak to, through which proxy, with which key."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from alia_ray.config import ConfigError
from alia_ray.errors import StageError
from alia_ray.plain_text import plain

KEY = "OPENAI_API_KEY"
NO_SUCH_ROUTE = (404, 405, 501)
MOST_BYTES = 2**24
_LIMITS = httpx2.Limits()  # none: whoever asks knows how many requests there are at once
_OF_THE_TRANSFER = ("content-encoding", "content-length", "transfer-encoding")  # what has been undone


class ServerFailure(StageError):
    """A server that cannot be reached, does not answer, or refuses. The message says which and what to do."""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers: `llm.base_url`, or the private socket of the run's own server."""

    base_url: str  # http://HOST/v1; with a socket the host is only a name
    socket: str | None = None  # path of a Unix socket

    @property
    def is_own(self) -> bool:
        """Whether the run started the server itself."""
        return self.socket is not None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "the run's own vLLM" if self.is_own else f"the LLM at {self.base_url}"

    @property
    def headers(self) -> dict[str, str]:
        """Of a request below `base_url`: OPENAI_API_KEY goes to `llm.base_url` alone, where it is set."""
        key = os.environ.get(KEY)
        return {"authorization": f"Bearer {key}"} if key and not self.is_own else {}

    def unreachable(self, error: Exception) -> ServerFailure:
        """What to raise when no answer came."""
        why = str(error) or type(error).__name__
        if self.is_own:
            return ServerFailure(f"{self.name} does not answer ({why})")
        return ServerFailure(
            f"no LLM answers at {self.base_url} ({why}); check llm.base_url and that its server runs"
            f"{self.proxy_hint()}"
        )

    def proxy_hint(self) -> str:
        """What to say when something between us and the server may have answered in its place."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        direct = self.is_own or _is_loopback(host) or proxy_bypass(host)
        if direct or getproxies().keys().isdisjoint({parts.scheme, "all"}):
            return ""
        return f" (asked through the proxy of the environment; if it is reached without, add {host} to NO_PROXY)"


def open_client(endpoint: Endpoint, timeout_s: float) -> httpx2.Client:
    """An HTTP client for requests under `base_url`.

    A server on this machine is never asked through a proxy; others are as the environment says (http_proxy,
    all_proxy, NO_PROXY, SSL_CERT_FILE).
    Raises ConfigError when the environment names a proxy of a kind that cannot be used.
    """
    if endpoint.socket:
        transport = httpx2.HTTPTransport(uds=endpoint.socket, limits=_LIMITS)
        return httpx2.Client(transport=transport, timeout=timeout_s, trust_env=False)
    try:
        return httpx2.Client(
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            limits=_LIMITS,
            trust_env=not _is_loopback(urlsplit(endpoint.base_url).hostname or ""),
        )
    except (ValueError, ImportError) as error:
        raise ConfigError(
            "llm.base_url: the environment names a proxy that cannot be used (a SOCKS proxy?); set http_proxy and "
            "https_proxy to a proxy of the kind http://, or add the server's host to NO_PROXY and unset all_proxy"
        ) from error
    except OSError as error:
        raise ConfigError(f"llm.base_url: SSL_CERT_FILE of the environment cannot be read ({error})") from error


def served_models(client: httpx2.Client, endpoint: Endpoint) -> list[dict[str, Any]]:
    """What `/models` lists; nothing from a server that keeps no list. Raises ServerFailure for no answer."""
    try:
        response = answer_of(client, "GET", f"{endpoint.base_url}/models", headers=endpoint.headers)
    except httpx2.TransportError as error:
        raise endpoint.unreachable(error) from error
    if response.status_code in NO_SUCH_ROUTE:
        return []
    if not response.is_success:
        raise refusal(endpoint, response)
    value = as_json(response)
    listed = value.get("data") if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise no_api(endpoint)
    return [model for model in listed if isinstance(model, dict) and isinstance(model.get("id"), str)]


def answer_of(client: httpx2.Client, method: str, url: str, **request: Any) -> httpx2.Response:
    """The answer to a request, which is read no further than it can be of use.

    Raises ServerFailure for a longer one, and httpx2.TransportError.
    """
    with client.stream(method, url, **request) as response:
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > MOST_BYTES:
                raise ServerFailure(f"{url} answers with more than {MOST_BYTES} bytes; check llm.base_url")
        headers = {name: text for name, text in response.headers.items() if name not in _OF_THE_TRANSFER}
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(content), request=response.request
        )


def refusal(endpoint: Endpoint, response: httpx2.Response) -> ServerFailure:
    """What to raise for a status that is no success."""
    status = response.status_code
    if status == 401 and not endpoint.is_own:
        advice = f"is {KEY} the right one?" if KEY in os.environ else f"set {KEY}"
        return ServerFailure(f"{endpoint.name} does not take the key ({status}): {said_in(response)}; {advice}")
    if response.is_redirect:
        return ServerFailure(
            f"{endpoint.name} is at {plain(response.headers['location'], 200)} now; correct llm.base_url"
        )
    hint = endpoint.proxy_hint() if status in (403, 407, 502, 503, 504) else ""
    return ServerFailure(f"{endpoint.name} refused ({status}): {said_in(response)}{hint}")


def no_api(endpoint: Endpoint) -> ServerFailure:
    """What to raise for an answer that no OpenAI-compatible server gives."""
    return ServerFailure(
        f"{endpoint.name} does not answer as an OpenAI-compatible API does; llm.base_url must be its root, which "
        "mostly ends in /v1"
    )


def said_in(response: httpx2.Response) -> str:
    """The message of an error, wherever a server puts it, in one line of at most 500 characters."""
    value = as_json(response)
    error = value.get("error", value) if isinstance(value, dict) else value
    text = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    said = " ".join(str(text or response.text or response.reason_phrase).split())
    return plain(
        said.replace(os.environ.get(KEY) or "\0", "…"), 500
    )  # some servers repeat the key that they refuse


def as_json(response: httpx2.Response) -> Any:
    """The JSON of a response, or None where it is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
