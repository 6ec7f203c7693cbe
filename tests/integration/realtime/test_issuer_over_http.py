"""Reading the issuer's keys over HTTP: the document, or an error; no other address, and no flood."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from realtime.authorizer.keys import MAX_BYTES, read_document


class Issuer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        bodies = {"/keys?tenant=1": (200, b"{}"), "/flood": (200, b"x" * (MAX_BYTES + 1)), "/moved": (302, b"")}
        status, body = bodies.get(self.path, (500, b""))
        self.send_response(status)
        self.send_header("Location", "/keys?tenant=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def issuer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_document_is_read(issuer: str) -> None:
    assert read_document(f"{issuer}/keys?tenant=1") == b"{}"


@pytest.mark.parametrize(("path", "reported"), [("/moved", "302"), ("/broken", "500"), ("/flood", "262144 bytes")])
def test_anything_else_is_an_error(issuer: str, path: str, reported: str) -> None:
    with pytest.raises(HTTPException, match=reported):
        read_document(issuer + path)


def test_an_issuer_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError):  # noqa: PT011 (the text is the operating system's)
        read_document("http://127.0.0.1:1/keys")
