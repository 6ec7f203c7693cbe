"""The short way to DynamoDB over a real connection."""

from __future__ import annotations

from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from botocore.session import Session

from realtime import clients
from realtime.clients import client
from realtime.quick_dynamodb import QuickDynamoDB


class _Table(BaseHTTPRequestHandler):
    """Answers every call with an item, and keeps what was called."""

    protocol_version = "HTTP/1.1"
    called: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.called.append((self.headers["x-amz-target"], body))
        answer = b'{"Item": {"pk": {"S": "found"}}}'
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_call_goes_the_short_way_over_a_real_connection(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Table)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, value in (
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clients, "_session", cache(Session))
    quick = client("dynamodb", attempts=2, read_timeout=2, quick=QuickDynamoDB)
    for _ in range(2):
        assert quick.get_item(TableName="t", Key={"pk": {"S": "k"}}) == {"Item": {"pk": {"S": "found"}}}
    server.shutdown()
    server.server_close()
    assert _Table.called == [("DynamoDB_20120810.GetItem", b'{"TableName":"t","Key":{"pk":{"S":"k"}}}')] * 2
    assert capsys.readouterr().out == ""  # nothing was sent again
