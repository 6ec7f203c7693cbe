"""Serves the built dashboard on the laptop, with everything that its pages call below the same address.

It stands where CloudFront stands in production: files of the dashboard, `/api/` to the HTTP API, and the pages of
Cognito's sign-in. One origin, so the API answers no other one; pages may run no script but the dashboard's own.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ops import dashboard as built

MOST_BODY = 6_000_000  # bytes; API Gateway takes 10 MB, a function 6 MB
SECONDS = 35.0  # a request of API Gateway has 29
_SIGN_IN = {
    "/oauth2/authorize": ("GET",), "/oauth2/token": ("POST",), "/login": ("POST",), "/logout": ("GET",),
}  # fmt: skip
_PASSED = ("accept", "authorization", "content-type", "idempotency-key", "if-match")
_ANSWERED = ("allow", "content-type", "etag", "gavel-data-time", "idempotency-replayed", "location", "retry-after")
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_FRAME = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    + _FRAME
)
SIGN_IN_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; {_FRAME}"
"""For the emulator's page, which has its style, and no script, within it."""


_SILENT = (OSError, http.client.HTTPException, UnicodeError)


@dataclass(frozen=True)
class _Answered:
    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Front:
    """What is served: the folder of built files, the API's address, and the emulator's, where sign-in is. `settings`
    are what the pages must know of the environment, none of it secret."""

    folder: Path
    api: str
    emulator: str
    settings: Mapping[str, Any]

    def file(self, path: str) -> Path | None:
        """The file at a path of the address, `index.html` for the path of a page; None if there is no such file."""
        path = unquote(path)
        if "\0" in path:
            return None
        root = self.folder.resolve()
        wanted = (root / path.lstrip("/")).resolve()
        if not wanted.is_relative_to(root):
            return None
        if wanted.is_file():
            return wanted
        # What a page names: ids may have dots, built files are all below /assets/.
        return None if path.startswith("/assets/") else root / "index.html"

    def behind(self, method: str, path: str) -> str | None:
        """The address that answers a request in the dashboard's place; None if it answers itself."""
        if path.startswith("/api/"):
            return self.api + path.removeprefix("/api")
        return self.emulator + path if method in _SIGN_IN.get(path, ()) else None


def serve(front: Front, port: int) -> ThreadingHTTPServer:
    """A server on this machine's own address; nobody else reaches it."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Handler.front = front
    Handler.hosts = frozenset(f"{name}:{server.server_port}" for name in ("127.0.0.1", "localhost"))
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    front: Front
    hosts: frozenset[str]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gavel", ""

    def _any(self) -> None:
        if self.headers.get("Host", "") not in self.hosts:
            # A page of another site that lets its name point here must find nothing.
            self._say(421, "this is not the address of the dashboard")
            return
        path, _, query = self.path.partition("?")
        target = self.front.behind(self.command, path)
        if target is not None:
            self._pass_on(target + (f"?{query}" if query else ""), "/api/" if path.startswith("/api/") else path)
        elif self.command not in ("GET", "HEAD"):
            self._say(405, "only what is below /api/ can be written")
        elif path == "/config.json":
            self._answer(200, json.dumps(self.front.settings).encode(), {"Content-Type": "application/json"})
        else:
            self._file(path)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def _file(self, path: str) -> None:
        file = self.front.file(path)
        if file is None or not file.is_file():
            self._say(404, "there is no such file")
            return
        name = file.relative_to(self.front.folder.resolve()).as_posix()
        body, headers = file.read_bytes(), built.headers(name)
        if "gzip" in self.headers.get("Accept-Encoding", ""):  # as CloudFront does
            body, headers = gzip.compress(body, mtime=0), {**headers, "Content-Encoding": "gzip"}
        self._answer(200, body, {**headers, "Vary": "Accept-Encoding"})

    def _ask(self, method: str, target: str, body: bytes) -> _Answered:
        """What stands behind answers to the request with this request's headers. Raises one of `_SILENT`."""
        address = urlsplit(target)
        headers = {name: self.headers[name] for name in _PASSED if name in self.headers}
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
        try:
            connection.request(method, target[target.index(address.path) :], body or None, headers)
            answer = connection.getresponse()
            kept = {name.title(): answer.headers[name] for name in _ANSWERED if name in answer.headers}
            return _Answered(answer.status, answer.read(), kept)
        finally:
            connection.close()

    def _pass_on(self, target: str, path: str) -> None:
        size = self.headers.get("Content-Length", "0")
        if not size.isdigit() or int(size) > MOST_BODY or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._say(413, f"expected a body of at most {MOST_BODY} bytes, with its length")
            return
        try:
            answer = self._ask(self.command, target, self.rfile.read(int(size)))
        except _SILENT as error:
            self._problem(error)
            return
        self._answer(answer.status, answer.body, answer.headers, POLICY if path == "/api/" else SIGN_IN_POLICY)

    def _problem(self, error: Exception) -> None:
        """The API's form of an error, for what stands behind and does not answer."""
        document = {
            "type": "urn:gavel:problem:gateway",
            "title": "The stack does not answer",
            "status": 502,
            "detail": f"expected an answer from the laptop stack, got {type(error).__name__}; is it up (gavel status)?",
            "instance": "urn:gavel:request:none",
        }
        self._answer(502, json.dumps(document).encode(), {"Content-Type": "application/problem+json"})

    def _say(self, status: int, text: str) -> None:
        self._answer(status, f"{text}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str], policy: str = POLICY) -> None:
        self.send_response(status)
        always = {"Cache-Control": "no-store", "Content-Security-Policy": policy, **_EVERYWHERE}
        for name, value in {**always, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: addresses name parties, and nobody reads them."""


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="what pages may know, as JSON")
    given = parser.parse_args()
    serve(Front(given.folder, given.api, given.emulator, given.settings), given.port).serve_forever(0.2)


if __name__ == "__main__":
    main()
