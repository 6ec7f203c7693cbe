"""A client's mistake is answered with 4xx, the field and the reason, never with 5xx; the log never has values."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.api import handler
from tests.support.depth import examples

throttled_codes = ThrottledRetryableChecker._THROTTLED_ERROR_CODES
transient_codes = TransientRetryableChecker._TRANSIENT_ERROR_CODES

Fixture = Any

PROBLEM = {"type", "title", "status", "detail", "instance", "errors"}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"hammer_price": "12.505"}, "hammer_price", "2 digits after the point"),
        ({"hammer_price": True}, "hammer_price", "decimal(14,2)"),
        ({"hammer_price": "1e99"}, "hammer_price", "12 digits before the point"),
        ({"hammer_price": -1}, "hammer_price", "at least 0"),
        ({"status": "lost"}, "status", "expected one of placed"),
        ({"placed_at": "2026-11-21T01:02:03"}, "placed_at", "offset"),
        ({"placed_at": 5}, "placed_at", "timestamp"),
        ({"fees": [{"kind": "x", "payer": "nobody", "amount": 1}]}, "fees[0].payer", "buyer, seller"),
        ({"fees": {"kind": "x"}}, "fees", "expected a list"),
        ({"quote_version": 1.5}, "quote_version", "integer"),
        ({"currency": None}, "currency", "required"),
        ({"curency": "EUR"}, "curency", "did you mean currency?"),
        ({"_version": 5}, "_version", "no such field"),
        ({"order_id": "x" * 65}, "order_id", "at most 64 characters"),
        ({"order_id": ""}, "order_id", "empty"),
    ],
)
def test_what_breaks_the_contract_is_named(
    api: Fixture, order: dict[str, Any], change: dict[str, Any], field: str, reason: str
) -> None:
    reply = api("POST", "/orders", order | change)
    assert (reply.status, reply.headers["Content-Type"]) == (422, "application/problem+json")
    assert set(reply.body) == PROBLEM
    (error,) = reply.body["errors"]
    assert error["field"] == field
    assert reason in error["reason"]


def test_all_problems_are_named_at_once(api: Fixture) -> None:
    reply = api("POST", "/orders", {"order_id": 1, "fees": "x"})
    fields = [e["field"] for e in reply.body["errors"]]
    assert fields == ["order_id", "fees", "buyer_id", "seller_id", "currency", "hammer_price", "status", "placed_at"]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "{",
        '{"order_id": "o-1", ',
        "[1, 2",
        "NaN",
        '{"hammer_price": Infinity}',
        '{"order_id": "a", "order_id": "b"}',
        "[" * 100_000,
        '{"fees":' * 5000,
        '{"hammer_price": 1e99999999999999999999}',
        '{"quote_version": ' + "9" * 5000 + "}",
        "\ufeff{}",
        "{'order_id': 1}",
    ],
)
def test_what_is_no_json_is_refused(api: Fixture, raw: str) -> None:
    reply = api("POST", "/orders", raw=raw)
    assert (reply.status, reply.body["type"]) == (400, "urn:gavel:problem:malformed-request")


@pytest.mark.parametrize(
    "raw", ["[]", "null", "1", '"text"', "true", "{}", '{"\\ud800": 1}', '{"order_id": "\\ud800"}']
)
@pytest.mark.parametrize("request_line", [("POST", "/orders"), ("PUT", "/orders/o-1"), ("PATCH", "/orders/o-1")])
def test_what_is_no_item_is_refused(api: Fixture, raw: str, request_line: tuple[str, str]) -> None:
    assert api(*request_line, raw=raw).status == 422


@pytest.mark.parametrize("body", ["!!", base64.b64encode(b"\xff\xfe").decode(), base64.b64encode(b"{").decode()])
def test_a_binary_body_that_is_no_json_is_refused(api: Fixture, sample: Fixture, body: str) -> None:
    assert api.send(sample("api_create_order") | {"body": body, "isBase64Encoded": True}).status == 400


@pytest.mark.parametrize("name", ["cats", "countries", "_pointer", "orders ", "ORDERS", "é"])
def test_an_unknown_entity_is_not_found(api: Fixture, name: str) -> None:
    for method, path in (("POST", f"/{name}"), ("GET", f"/{name}/1"), ("PATCH", f"/{name}/1")):
        reply = api(method, path, {})
        assert (reply.status, reply.body["type"]) == (404, "urn:gavel:problem:unknown-entity")


@pytest.mark.parametrize(
    "path",
    [
        "/orders/o-1/2",
        "/orders//",
        "/order_lines/o-1",
        "/order_lines/o-1/x",
        "/order_lines/o-1/0.5",
        "/order_lines/o-1/99999999999999999999999",
        "/order_lines/o-1/²",
        "/order_lines/o-1/--1",
        "/orders/" + "x" * 3000,
        "/orders/%00",
        "/orders/%ED%A0%80",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "PUT"])
def test_a_bad_key_is_refused_or_not_found(api: Fixture, path: str, method: str) -> None:
    assert 400 <= api(method, path, None if method in ("GET", "DELETE") else {"status": "paid"}).status < 500


@pytest.mark.parametrize("value", ["", "x", '"', "-1", "1.5", "*", "9" * 19, "9" * 30, "²"])
def test_a_bad_version_is_refused(api: Fixture, order: dict[str, Any], value: str) -> None:
    api("POST", "/orders", order)
    reply = api("PATCH", "/orders/o-1", {"status": "paid"}, headers={"If-Match": value})
    assert (reply.status, reply.body["errors"][0]["field"]) == (400, "If-Match")


def test_an_item_that_dynamodb_finds_too_large_is_refused(api: Fixture) -> None:
    lot = {
        "lot_id": "l-1",
        "seller_id": "c-1",
        "title": "x",
        "category": "watches",
        "currency": "EUR",
        "status": "draft",
        "listed_at": "2026-11-21T01:02:03Z",
        "attributes": {"text": "x" * 410_000},
    }
    assert api("POST", "/lots", lot).status == 413


def test_a_wrong_method_and_a_wrong_route_are_reported(api: Fixture) -> None:
    reply = api("DELETE", "/orders")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert api.send({"resource": "/", "httpMethod": "GET", "path": "/"}).status == 404


@pytest.mark.parametrize(
    "error",
    [
        *(
            ClientError({"Error": {"Code": code, "Message": "slow"}}, "Query")
            for code in ("ThrottlingException", "InternalServerError", "ServiceUnavailable", "RequestLimitExceeded")
        ),
        ReadTimeoutError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com"),
        EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com"),
    ],
)
def test_a_table_that_does_not_answer_is_503_with_the_advice_to_come_back(
    api: Fixture, sample: Fixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def throttle(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api.client, "query", throttle)
    reply = api.send(sample("api_read_order"))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("status", [200, 404, 409, 500, 503])
def test_a_server_error_is_counted_by_the_version_that_answered_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """Lambda counts an answer of 503 as a success: without this no alarm would take a new version's calls back."""
    monkeypatch.setattr(handler, "_api", lambda: SimpleNamespace(answer=lambda event: {"statusCode": status}))
    monkeypatch.setattr(handler, "_settings", lambda: SimpleNamespace(environment="prod", version="7"))
    assert handler.handle({}, None) == {"statusCode": status}
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["ServerErrors"], one["version"], one["environment"]) for one in counted] == (
        [(1, "7", "prod")] if status >= 500 else []
    )


@pytest.mark.parametrize(
    "failure",
    [
        {"Error": {"Code": "TransactionInProgressException"}},
        {"Error": {"Code": "InternalServerError"}},
        {
            "Error": {"Code": "TransactionCanceledException"},
            "CancellationReasons": [{"Code": "None"}, {"Code": "RequestLimitExceeded"}],
        },
    ],
)
def test_a_transaction_that_dynamodb_failed_at_may_be_sent_again(
    api: Fixture, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, failure: dict[str, Any]
) -> None:
    def fail(**_: Any) -> None:
        raise ClientError(failure, "TransactWriteItems")  # type: ignore[arg-type]

    monkeypatch.setattr(api.client, "transact_write_items", fail)
    reply = api("POST", "/orders", order, headers={"Idempotency-Key": "k-1"})
    assert (reply.status, reply.body["type"]) == (503, "urn:gavel:problem:unavailable")


PASSING = sorted(
    {*throttled_codes, *transient_codes, "InternalServerError", "ServiceUnavailable", "KMSThrottlingException"}
)


FAILURES: list[dict[str, Any]] = [
    *({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}} for code in PASSING),
    *({"Error": {"Code": str(n)}, "ResponseMetadata": {"HTTPStatusCode": n}} for n in (500, 502, 503, 504, 520)),
]
CANCELLED: list[dict[str, Any]] = [
    {"Error": {"Code": "TransactionCanceledException"}},
    *(
        {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": "None"}, {"Code": code}]}
        for code in ("ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError")
    ),
]


@pytest.mark.parametrize("operation", ["get_item", "put_item", "transact_write_items"])
def test_what_botocore_itself_would_repeat_is_503(
    api: Fixture, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    calls: list[int] = []
    key = {"Idempotency-Key": "k-1"} if operation == "transact_write_items" else {}
    for failure in FAILURES + (CANCELLED if operation == "transact_write_items" else []):

        def fail(failure: dict[str, Any] = failure, **_: Any) -> None:
            calls.append(1)
            raise ClientError(failure, operation)  # type: ignore[arg-type]

        monkeypatch.setattr(api.client, operation, fail, raising=False)
        calls.clear()
        reply = api("GET", "/lots/l-1") if operation == "get_item" else api("POST", "/orders", order, headers=key)
        assert (reply.status, reply.headers.get("Retry-After")) == (503, "1"), failure
        assert len(calls) == 1, "the function repeats nothing"


@pytest.mark.parametrize("code", ["TransactionConflictException", "ReplicatedWriteConflictException"])
@pytest.mark.parametrize("operation", ["get_item", "put_item"])
def test_a_conflict_is_a_client_s_to_repeat(
    api: Fixture, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, operation: str, code: str
) -> None:
    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, operation)

    monkeypatch.setattr(api.client, operation, fail, raising=False)
    reply = api("GET", "/lots/l-1") if operation == "get_item" else api("POST", "/orders", order)
    assert reply.status == (503 if operation == "get_item" else 409)


@pytest.mark.parametrize(
    "number", ["1e999999999", "-1e999999999", "1e20", "9223372036854775808.0", "1e-999999999", "0.5"]
)
@pytest.mark.parametrize("entity", ["order_lines", "lots", "orders"])
def test_no_number_is_a_fault_of_ours(api: Fixture, number: str, entity: str) -> None:
    names = [f.name for f in api.api._writer.entities.contract(entity).fields]
    reply = api("POST", f"/{entity}", raw="{" + ",".join(f'"{name}":{number}' for name in names) + "}")
    assert reply.status == 422


def test_the_log_has_no_values_of_items(
    api: Fixture, order: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret-text")

    api("POST", "/customers", {"customer_id": "c-77", "name": "Jane Doe", "email": "jane@example.com"})
    api("GET", "/customers/c-77")
    monkeypatch.setattr(api.client, "get_item", fail)
    assert api("GET", "/customers/c-77").status == 500
    written = capsys.readouterr().out
    for secret in ("c-77", "Jane", "jane@", "secret-text"):
        assert secret not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "INFO", "ERROR", "INFO"]
    assert {"method", "route", "entity", "status", "ms", "request_id"} <= lines[0].keys()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["order_id", "buyer_id", "fees", "hammer_price", "placed_at", "status", "quote_version"])


@given(body=JSON | st.dictionaries(NAMES, JSON), key=st.text(max_size=30), method=st.sampled_from(["PUT", "PATCH"]))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_and_no_key_makes_a_server_error(api: Fixture, body: Any, key: str, method: str) -> None:
    assert api("POST", "/orders", body).status < 500
    assert api(method, f"/orders/{key}", body).status < 500


@pytest.mark.parametrize(
    "order_id", [".", "..", "a\nb", "\t", "\x7f", "a\u202eb", "a\u200bb", "\x01", "/", "a/", "/a", "a//b"]
)
def test_an_id_that_no_url_or_person_can_name_is_refused(api: Fixture, order: dict[str, Any], order_id: str) -> None:
    reply = api("POST", "/orders", order | {"order_id": order_id})
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "order_id")
    assert api("GET", f"/orders/{quote(order_id, safe='')}").status == 404


@pytest.mark.parametrize("raw", ['{"buyer_id": "M\ufffdller"}', '{"buyer_id": "M\\ufffdller"}'])
def test_what_stands_for_bytes_that_were_no_utf_8_is_refused(api: Fixture, raw: str) -> None:
    reply = api("PATCH", "/orders/o-1", raw=raw)
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "buyer_id")


@pytest.mark.parametrize("text", ['"1', '1"', '""', '"', '"1" ', "W/1", "1, 2", ""])
def test_if_match_is_a_version_bare_or_quoted(api: Fixture, order: dict[str, Any], text: str) -> None:
    api("POST", "/orders", order)
    reply = api("PATCH", "/orders/o-1", {"status": "paid"}, headers={"If-Match": text})
    expected = (409, "If-Match") if text == '"1" ' else (400, "If-Match")
    assert (reply.status, reply.body["errors"][0]["field"]) == expected


def test_an_item_whose_line_is_too_long_to_land_is_refused(api: Fixture, order: dict[str, Any]) -> None:
    """It is well below 400 KiB, but JSON takes seven bytes for each of these characters in a nested field."""
    fees = [{"kind": "\x01" * 40, "payer": "buyer", "amount": "1"}] * 3_500
    assert api("POST", "/orders", order | {"fees": fees}).status == 413
    api("POST", "/orders", order)
    assert api("PATCH", "/orders/o-1", {"fees": fees}).status == 413
