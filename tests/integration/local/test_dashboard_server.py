"""The dashboard's server on the laptop: what it serves, what it hands on, and what it refuses."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.dashboard.server import Front, serve


@dataclass
class Behind:
    """What stands behind the server: the API and the emulator, in one."""

    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@dataclass
class Site:
    port: int
    behind: Behind

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(behind: Behind) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            behind.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            unknown = self.headers.get("Authorization") == "Bearer of a party"
            self.send_response(403 if unknown else 302 if self.path.startswith("/login") else 200)
            for name, value in {"ETag": '"7"', "Set-Cookie": "a=b", "Location": "/signed-in?code=c"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_PATCH = do_POST = _any

        def log_message(self, format: str, *arguments: object) -> None: ...

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the dashboard")
    (folder / "assets" / "index-1.js").write_text("script")
    (tmp_path / "secret.txt").write_text("secret")
    behind = Behind()
    with running(answering(behind)) as port:
        there = f"http://127.0.0.1:{port}"
        front = Front(folder, f"{there}/restapis/a/local", there, {"environment": "local"})
        with running(serve(front, 0)) as mine:
            yield Site(mine, behind)


def test_the_path_of_a_page_is_answered_with_the_dashboard_and_a_file_with_itself(site: Site) -> None:
    for path in ("/", "/orders/o-1", "/parties/a.b", "/orders/a%2Fb?x=1"):
        status, headers, body = site.ask("GET", path)
        assert (status, body) == (200, b"<!doctype html>the dashboard")
        assert headers["Cache-Control"] == "no-cache"
    status, headers, body = site.ask("GET", "/assets/index-1.js")
    assert (status, body) == (200, b"script")
    assert "immutable" in headers["Cache-Control"]
    status, headers, compressed = site.ask("GET", "/assets/index-1.js", {"Accept-Encoding": "br, gzip"})
    assert (status, headers["Content-Encoding"], gzip.decompress(compressed)) == (200, "gzip", body)
    assert site.ask("GET", "/assets/gone.js")[0] == 404, "not the page: a script that is none would not say why"
    assert json.loads(site.ask("GET", "/config.json")[2]) == {"environment": "local"}
    assert site.ask("HEAD", "/")[2] == b""


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/assets/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/passwd"]
)
def test_nothing_outside_of_the_folder_is_served(site: Site, path: str) -> None:
    assert site.ask("GET", path)[2] in (b"there is no such file\n", b"<!doctype html>the dashboard")


def test_every_answer_forbids_foreign_scripts_frames_and_guessed_types(site: Site) -> None:
    for path in ("/", "/assets/index-1.js", "/gone", "/api/orders/o-1", "/oauth2/authorize", "/config.json"):
        headers = site.ask("GET", path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
    assert "unsafe-inline" not in site.ask("GET", "/")[1]["Content-Security-Policy"]


def test_requests_of_the_api_are_handed_on_as_they_are_with_what_they_need_and_no_more(site: Site) -> None:
    sent = {"Authorization": "Bearer t", "If-Match": "7", "Cookie": "c=d", "Content-Type": "application/json"}
    status, headers, body = site.ask("PATCH", "/api/orders/a%2Fb?limit=1", sent, b'{"x": 1}')
    assert (status, body, headers["Etag"]) == (200, b"{}", '"7"')
    assert "Set-Cookie" not in headers
    assert headers["Cache-Control"] == "no-store"
    ((method, path, seen, content),) = site.behind.seen
    assert (method, path, content) == ("PATCH", "/restapis/a/local/orders/a%2Fb?limit=1", b'{"x": 1}')
    assert (seen["authorization"], seen["if-match"]) == ("Bearer t", "7")
    assert "cookie" not in seen


def test_only_the_steps_of_signing_in_reach_the_emulator(site: Site) -> None:
    assert site.ask("GET", "/oauth2/authorize?client_id=c")[0] == 200
    status, headers, _ = site.ask("POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b")
    assert (status, headers["Location"]) == (302, "/signed-in?code=c")
    assert site.ask("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.Scan"}, b"{}")[0] == 405
    assert site.ask("GET", "/_ministack/health")[2] == b"<!doctype html>the dashboard"
    assert [path for _, path, _, _ in site.behind.seen] == ["/oauth2/authorize?client_id=c", "/login"]


def test_another_name_that_points_here_finds_nothing(site: Site) -> None:
    for path in ("/", "/api/orders/o-1"):
        assert site.ask("GET", path, {"Host": "other.example"})[0] == 421
    assert site.behind.seen == []


def test_what_is_too_large_or_has_no_length_is_not_handed_on(site: Site) -> None:
    assert site.ask("POST", "/api/orders", {"Content-Length": "7000000"})[0] == 413
    assert site.ask("POST", "/api/orders", {"Transfer-Encoding": "chunked"}, b"")[0] == 413
    assert site.behind.seen == []


def test_a_stack_that_does_not_answer_is_a_problem_document(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    with running(answering(Behind())) as port:
        pass  # nobody listens there any more
    with running(serve(Front(tmp_path, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}", {}), 0)) as mine:
        status, headers, body = Site(mine, Behind()).ask("GET", "/api/orders/o-1")
    assert (status, headers["Content-Type"]) == (502, "application/problem+json")
    assert "is it up" in json.loads(body)["detail"]
