"""A local S3 server that counts what it is asked, and the bytes of that: moto's, in threads of this process."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

import pyarrow.fs as pafs
from moto.moto_server.werkzeug_app import create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
KINDS = ("GET", "HEAD", "LIST", "PUT", "COPY", "POST", "DELETE")
"""POST begins and completes uploads of several parts; a part is a PUT."""
_SIGNED_BY = {
    "AWS_ACCESS_KEY_ID": "anyone",
    "AWS_SECRET_ACCESS_KEY": "any",  # the server looks at neither
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Store:
    """A bucket of a server that runs on this machine."""

    port: int
    requests: list[tuple[str, str]] = field(default_factory=list)  # kind, and the key or the prefix of a LIST
    bytes: Counter[str] = field(default_factory=Counter)  # of contents that were "read", and "written"
    heard: Callable[[str], object] = lambda kind: None  # called before a request of a kind is answered

    def uri(self, path: str) -> str:
        """The URI of a path in the bucket, for pyarrow."""
        return f"s3://{BUCKET}/{path}?scheme=http&endpoint_override=127.0.0.1:{self.port}&region=us-east-1"

    def count(self) -> Counter[str]:
        """Kind -> how many requests have come so far."""
        return Counter(kind for kind, _ in list(self.requests))


@contextmanager
def counted_store() -> Iterator[Store]:
    """A store with an empty bucket, for this process and those that it starts; it ends with the block."""
    app = create_backend_app("s3")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    store, answer = Store(server.port), app.wsgi_app

    def counting(environ: dict[str, Any], start_response: Any) -> Any:
        kind, key = _told(environ)
        store.requests.append((kind, key))
        store.heard(kind)
        if kind in ("PUT", "POST"):
            sent = (environ.get(name) or 0 for name in ("CONTENT_LENGTH", "HTTP_X_AMZ_DECODED_CONTENT_LENGTH"))
            store.bytes["written"] += max(map(int, sent))

        def starting(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if kind == "GET":
                store.bytes["read"] += int(dict(headers).get("Content-Length", 0))
            return start_response(status, headers, *rest)

        return answer(environ, starting)

    app.wsgi_app = counting
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="store", daemon=True)
    thread.start()
    try:
        with mock.patch.dict(os.environ, _SIGNED_BY):
            pafs.FileSystem.from_uri(store.uri("") + "&allow_bucket_creation=true")[0].create_dir(BUCKET)
            store.requests.clear()
            store.bytes.clear()
            yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        s3_backends.reset()  # which all servers of this process have in common


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args: Any) -> None:
        """Nothing: requests are counted."""


def _told(environ: dict[str, Any]) -> tuple[str, str]:
    """The kind of a request, and what it is about."""
    method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{BUCKET}").lstrip("/")
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    if method == "GET" and not key:
        return "LIST", query.get("prefix", [""])[0]
    if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "COPY", key
    if method == "POST" and "delete" in query:
        return "DELETE", key
    return method, key
