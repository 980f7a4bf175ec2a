"""A stand-in for the HTTP API of the Hugging Face hub, as far as pushing a data set needs it; it stores in memory."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import yaml

COMMIT = "a" * 40
TOKEN = "hf_of_a_test"


class HubServer(ThreadingHTTPServer):
    """`files` are those of the data set, by name; `requests` are method and path of what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.unauthorised: set[str] = set()
        """Requests without a token. The hub's library counts its uses in a thread, without one: these are left out."""
        self.made: dict[str, object] = {}
        self.forbidden = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, data: object, status: int = 200, **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _note(self) -> str:
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append(f"{self.command} {path}")
        if self.headers.get("authorization") != f"Bearer {TOKEN}" and not path.startswith("/api/telemetry/"):
            self.server.unauthorised.add(self.server.requests[-1])
        return path

    def do_GET(self) -> None:
        path = self._note()
        if "/tree/" in path:
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
                for name, data in self.server.files.items()
            ]
            self._answer(entries)
        elif "/resolve/" in path:
            data = self.server.files[path.partition("/resolve/")[2].partition("/")[2]]
            self._answer(data, ETag=f'"{len(data)}"', X_Repo_Commit=COMMIT)
        else:
            siblings = [{"rfilename": name} for name in self.server.files]
            self._answer({"id": "somebody/neurons", "sha": COMMIT, "siblings": siblings, "private": True, "tags": []})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        path, body = self._note(), self._body()
        if self.server.forbidden:
            self._answer({"error": "no"}, 403)
        elif path == "/api/repos/create":
            self.server.made = json.loads(body)
            self._answer({"url": f"{self.server.url}/datasets/somebody/neurons"})
        elif path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            assert "/commit/" in path, path
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    del self.server.files[entry["value"]["path"]]
            self._answer(
                {
                    "commitUrl": f"{self.server.url}/datasets/somebody/neurons/commit/{COMMIT}",
                    "commitOid": COMMIT,
                    "success": True,
                }
            )


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A server that answers until the block ends."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
