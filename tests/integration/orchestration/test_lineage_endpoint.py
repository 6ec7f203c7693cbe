"""Events of OpenLineage over HTTP: in order, again where the endpoint could not take them, never for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestration.lineage.sending import Endpoint, Part, Taken


def part(*events: bytes, at: int = 0) -> Part:
    return Part("0000", at, "2026-11-28", events)


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[Any], list[int]]]:
    """Its address, what it got (path, key, event), and what it will answer; 201 once that is used up."""
    got: list[Any] = []
    answers: list[int] = []
    hold = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = answers.pop(0) if answers else 201
            if answer == 0:
                hold.wait(5)
                self.close_connection = True
                return
            if answer < 300:
                got.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v1/lineage", got, answers
    hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


FOREVER = float("inf")


def test_an_endpoint_gets_one_event_in_each_post(endpoint: tuple[str, list[Any], list[int]]) -> None:
    url, got, answers = endpoint
    answers += [201, 422, 200]
    assert Endpoint(url, "key").take(part(b"1", b"2", b"3"), FOREVER) == Taken(3, 1), "a refused one holds up no other"
    assert got == [("/api/v1/lineage", "Bearer key", b"1"), ("/api/v1/lineage", "Bearer key", b"3")]


@pytest.mark.parametrize("answer", [500, 503, 429, 302])
def test_an_endpoint_that_cannot_now_is_tried_again_from_there(
    endpoint: tuple[str, list[Any], list[int]], answer: int
) -> None:
    url, got, answers = endpoint
    answers += [201, answer]
    taken = Endpoint(url).take(part(b"1", b"2"), FOREVER)
    assert (taken.count, taken.refused) == (1, 0)
    assert str(answer) in taken.problem
    assert Endpoint(url).take(part(b"2", at=1), FOREVER) == Taken(1)
    assert [body for *_, body in got] == [b"1", b"2"]


def test_an_endpoint_that_does_not_answer_is_left_alone(endpoint: tuple[str, list[Any], list[int]]) -> None:
    url, got, answers = endpoint
    answers += [0]
    taken = Endpoint(url, seconds=0.1).take(part(b"1"), FOREVER)
    assert (taken.count, got) == (0, [])
    assert "TimeoutError" in taken.problem
    assert "Refused" in Endpoint("http://127.0.0.1:1/x").take(part(b"1"), FOREVER).problem
    assert "2 events wait" in Endpoint(url).take(part(b"1", b"2"), 0.0).problem, "the tick's time is up"
