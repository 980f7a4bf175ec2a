"""A proxy in front of an S3 server that breaks it in the ways of a network: errors, and answers that never come."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Mode = Literal["pass", "fail", "hang"]
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class S3Proxy:
    """Hands requests on to `target`; from the `healthy`-th write of a shard on, it breaks `broken` of them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mode: Mode = "pass"
        self.healthy, self.broken, self.failed = 0, 0, 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle_any(self) -> None:
                proxy.answer(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def break_after(self, mode: Mode, healthy: int, broken: int) -> None:
        """Let `healthy` writes of a shard pass; then break this many requests of any kind."""
        with self._lock:
            self.mode, self.healthy, self.broken, self.failed = mode, healthy, broken, 0

    def mend(self) -> None:
        self.break_after("pass", 0, 0)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Hand one request on, or break it."""
        body = _body(request)
        if self._breaks(request):
            if self.mode == "hang":
                time.sleep(600)
            request.send_response(500)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        forwarded = urllib.request.Request(self.target + request.path, data=body or None, method=request.command)
        for name, value in request.headers.items():
            if name.lower() not in HOP_BY_HOP:
                forwarded.add_header(name, value)
        try:
            with urllib.request.urlopen(forwarded, timeout=60) as answer:
                status, headers, content = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, headers, content = error.code, error.headers, error.read()
        request.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                request.send_header(name, value)
        length = headers.get("Content-Length") if request.command == "HEAD" else str(len(content))
        request.send_header("Content-Length", length or "0")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _breaks(self, request: BaseHTTPRequestHandler) -> bool:
        with self._lock:
            if self.mode == "pass":
                return False
            if self.healthy > 0:
                self.healthy -= request.command == "PUT" and "/shards/scores-" in request.path
                return False
            if self.failed >= self.broken:
                return False
            self.failed += 1
            return True


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    parts = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass
    return b"".join(parts)


@contextmanager
def s3_proxy(environment: dict[str, str]) -> Iterator[tuple[S3Proxy, dict[str, str]]]:
    """A proxy to the server that `environment` leads to, and the environment that leads to the proxy."""
    proxy = S3Proxy(environment["AWS_ENDPOINT_URL"])
    proxy.start()
    try:
        yield proxy, environment | {"AWS_ENDPOINT_URL": proxy.url}
    finally:
        proxy.stop()
