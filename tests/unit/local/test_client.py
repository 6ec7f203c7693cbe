"""The API client repeats only what may be repeated, renews its sign-in, and says what the API said."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from local.client import ApiClient, ApiError, ApiUnavailable

Answer = tuple[int, object]


class FakeConnection:
    """Stands for http.client's connection: answers from a list, remembers what was requested."""

    def __init__(self, answers: list[Answer | Exception], requested: list[dict[str, Any]]) -> None:
        self.answers, self.requested = answers, requested

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        self.requested.append({"method": method, "path": path, "body": body, "headers": dict(headers)})

    def getresponse(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, content = answer

        class Response:
            def __init__(self) -> None:
                self.status = status

            def read(self) -> bytes:
                return b"" if content is None else json.dumps(content).encode()

        return Response()

    def close(self) -> None:
        self.requested.append({"method": "close"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ApiClient, list[dict[str, Any]]]]:
    def make(*answers: Answer | Exception, **more: Any) -> tuple[ApiClient, list[dict[str, Any]]]:
        requested: list[dict[str, Any]] = []
        tokens = iter(f"token-{n}" for n in range(99))
        sign_in = more.pop("sign_in", lambda: (next(tokens), 3600.0))
        client = ApiClient("http://127.0.0.1:1/api/", sign_in, sleep=lambda seconds: None, **more)
        connection = FakeConnection(list(answers), requested)
        monkeypatch.setattr(client, "_connection", lambda: connection)
        return client, requested

    return make


def methods(requested: list[dict[str, Any]]) -> list[str]:
    return [a["method"] for a in requested]


def test_a_composite_key_and_awkward_characters_become_one_path(made: Any) -> None:
    client, requested = made((200, {}))
    client.get("order_lines", ("a/b c", 2))
    assert requested[0]["path"] == "/api/order_lines/a%2Fb%20c/2"


def test_amounts_and_times_are_sent_exactly(made: Any) -> None:
    client, requested = made((201, {}))
    client.create("orders", {"price": Decimal("10.10"), "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)})
    assert json.loads(requested[0]["body"]) == {"price": "10.10", "at": "2026-01-02T03:04:05.000006Z"}


def test_a_time_without_offset_is_refused(made: Any) -> None:
    client, _ = made()
    with pytest.raises(TypeError, match="offset"):
        client.create("orders", {"at": datetime(2026, 1, 2)})  # noqa: DTZ001 - what the test is about


def test_an_error_names_status_reason_and_fields(made: Any) -> None:
    problem = {
        "title": "Invalid",
        "detail": "2 problems",
        "errors": [{"field": "fees[0].amount", "reason": "negative"}],
    }
    client, _ = made((422, problem))
    with pytest.raises(ApiError, match=r"PUT /orders/1 .* 422: 2 problems \(fees\[0\].amount: negative\)") as raised:
        client.replace("orders", "1", {})
    assert raised.value.status == 422


def test_an_answer_that_is_no_json_is_quoted(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = made((500, "Internal"))
    with pytest.raises(ApiError, match="Internal"):
        client.get("orders", "1")


@pytest.mark.parametrize("call", ["replace", "patch"])
def test_a_lost_connection_repeats_a_write_that_may_be_repeated(made: Any, call: str) -> None:
    client, requested = made(http.client.RemoteDisconnected(), (200, {"ok": True}))
    assert getattr(client, call)("lots", "1", {}) == {"ok": True}
    assert methods(requested) == [*["PUT" if call == "replace" else "PATCH"], "close", requested[0]["method"]]


def test_a_lost_connection_never_repeats_a_creation(made: Any) -> None:
    client, requested = made(ConnectionResetError(), (201, {}))
    with pytest.raises(ApiUnavailable, match="gavel status"):
        client.create("lots", {})
    assert methods(requested) == ["POST", "close"]


def test_a_conditional_write_is_not_repeated_because_its_own_success_would_refuse_it(made: Any) -> None:
    client, requested = made(ConnectionResetError(), (200, {}))
    with pytest.raises(ApiUnavailable):
        client.patch("lots", "1", {}, if_match=7)
    assert requested[0]["headers"]["If-Match"] == "7"


def test_a_write_with_an_idempotency_key_is_repeated_with_the_same_key(made: Any) -> None:
    client, requested = made(ConnectionResetError("lost"), (503, {}), (201, {"_version": 1}))
    assert client.create("customers", {"name": "x"}, idempotency_key="k-1") == {"_version": 1}
    assert methods(requested) == ["POST", "close", "POST", "POST"]
    assert [a["headers"]["Idempotency-Key"] for a in requested if "headers" in a] == ["k-1"] * 3
    client, requested = made(ConnectionResetError("lost"), (200, {}))
    client.patch("customers", "c-1", {"name": "x"}, if_match=5, idempotency_key="k-2")
    assert [a["headers"]["If-Match"] for a in requested if "headers" in a] == ["5", "5"]


def test_a_deletion_whose_answer_was_lost_counts_as_done(made: Any) -> None:
    client, _ = made(ConnectionResetError(), (404, {"title": "Not found"}))
    client.delete("lots", "1")
    client, _ = made((404, {"title": "Not found"}))
    with pytest.raises(ApiError, match="404"):
        client.delete("lots", "1")


def test_a_busy_api_is_tried_again_and_at_last_reported(made: Any) -> None:
    client, requested = made(*[(429, {"title": "Too many"})] * 5)
    with pytest.raises(ApiError, match="429: Too many"):
        client.create("lots", {})
    assert len(requested) == 5


def test_an_unauthorized_answer_renews_the_token_once(made: Any) -> None:
    client, requested = made(
        (401, {"message": "expired"}), (200, {}), (401, {"message": "no"}), (401, {"message": "no"})
    )
    client.get("lots", "1")
    assert [a["headers"]["Authorization"] for a in requested] == ["Bearer token-0", "Bearer token-1"]
    with pytest.raises(ApiError, match="401: no"):
        client.get("lots", "1")


def test_the_token_is_renewed_before_it_expires(made: Any) -> None:
    now = [0.0]
    client, requested = made(*[(200, {})] * 3, clock=lambda: now[0])
    for moment in (0.0, 3400.0, 3500.0):
        now[0] = moment
        client.get("lots", "1")
    assert [a["headers"]["Authorization"] for a in requested] == ["Bearer token-0", "Bearer token-0", "Bearer token-1"]


def test_threads_share_one_sign_in(made: Any) -> None:
    calls: list[int] = []

    def sign_in() -> tuple[str, float]:
        calls.append(1)
        return "token", 3600.0

    client, _ = made(*[(200, {})] * 8, sign_in=sign_in)
    threads = [Thread(target=client.get, args=("lots", "1")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="127"):
        ApiClient("127.0.0.1:80", lambda: ("", 1.0))


def test_a_connection_that_the_server_has_closed_meanwhile_is_made_again() -> None:
    client = ApiClient("http://127.0.0.1:1/api/", lambda: ("token", 3600.0))
    connection = client._connection()
    ours, servers = socket.socketpair()
    connection.sock = ours
    assert client._connection() is connection
    assert connection.sock is ours  # still open: it is used again
    servers.close()
    assert client._connection() is connection
    assert connection.sock is None  # http.client connects again
