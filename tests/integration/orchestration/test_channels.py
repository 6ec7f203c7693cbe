"""What webhooks do instead of taking an alert, and how long they may take for it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest

from orchestration.alerts import channels
from orchestration.alerts.alert import Alert, Part
from orchestration.alerts.channels import ChannelError, Webhook
from tests.support.alerting import NOON

ALERT = Alert("raised", (Part("run-failed", "x", "y", NOON, "error", ""),), NOON)
OVER = Event()


@pytest.fixture
def answering() -> Iterator[Callable[[Iterator[bytes]], str]]:
    """Makes an endpoint that answers each request with these bytes, a send each, then closes; answers its address."""
    listening: list[socket.socket] = []

    def serve(server: socket.socket, make: Callable[[], Iterator[bytes]]) -> None:
        while True:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    take(connection)
                    for some in make():
                        connection.sendall(some)
                continue
            if server.fileno() < 0:
                return

    def answering(make: Callable[[], Iterator[bytes]]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        Thread(target=serve, args=(server, make), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/services/T0/B0/secret"

    yield answering  # type: ignore[misc]
    for server in listening:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


def take(connection: socket.socket) -> None:
    """Read a request whole: who closes with something unread resets the connection, and the answer may be lost."""
    with connection.makefile("rb") as request:
        length = 0
        while (line := request.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        request.read(length)


def drip(start: bytes) -> Iterator[bytes]:
    """A byte now and then, for ever: each of them begins the time limit of a socket again."""
    yield start
    while not OVER.wait(0.05):
        yield b"a"


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2"])
def test_a_webhook_that_answers_for_ever_is_given_up(
    answering: Callable[..., str], monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(channels, "WEBHOOK_SECONDS", 0.3)
    with pytest.raises(ChannelError, match="cannot be reached: TimeoutError") as refused:
        Webhook(answering(lambda: drip(start)))(ALERT)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 no\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 429 no\r\nRetry-After: 9\r\n\r\n", "answered 429"),
        (b"HTTP/1.1 302 no\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 999999 no\r\n\r\n", "cannot be reached: BadStatusLine"),
        (b"\x00\x01 garbage\r\n\r\n", "cannot be reached: BadStatusLine"),
        (b"", "cannot be reached: RemoteDisconnected"),
    ],
)
def test_a_webhook_that_does_not_take_an_alert_is_reported_without_its_secret(
    answering: Callable[..., str], answer: bytes, words: str
) -> None:
    with pytest.raises(ChannelError, match=words) as refused:
        Webhook(answering(lambda: iter([answer])))(ALERT)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_webhook_takes_an_alert_by_any_answer_of_success(answering: Callable[..., str], status: int) -> None:
    Webhook(answering(lambda: iter([f"HTTP/1.1 {status} yes\r\n\r\n".encode()])))(ALERT)
