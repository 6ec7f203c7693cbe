"""What a write with an idempotency key promises: done once, answered the same, whatever is lost or sent twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from realtime.api.caller import Caller
from realtime.api.idempotency import RECEIPT_SECONDS, Request

Fixture = Any


def writes(
    order: dict[str, Any], payment: dict[str, Any], estimate: dict[str, Any]
) -> Mapping[str, tuple[str, str, dict[str, Any] | None]]:
    """A write of each kind: a plain item, one with a pointer, one that copies to another."""
    return {
        "create": ("POST", "/orders", order | {"order_id": "o-2"}),
        "create with pointer": ("POST", "/payments", payment | {"payment_id": "p-2"}),
        "create with copy": ("POST", "/estimates", estimate | {"estimate_id": "e-2"}),
        "put new": ("PUT", "/orders/o-2", order | {"order_id": "o-2"}),
        "put": ("PUT", "/orders/o-1", order | {"status": "paid"}),
        "put with pointer": ("PUT", "/payments/p-1", payment | {"status": "failed"}),
        "put with copy": ("PUT", "/estimates/e-1", estimate | {"quote_version": 3}),
        "patch": ("PATCH", "/orders/o-1", {"status": "paid", "buyers_premium": None}),
        "patch index": ("PATCH", "/orders/o-1", {"buyer_id": "c-9"}),
        "patch with pointer": ("PATCH", "/payments/p-1", {"status": "failed"}),
        "patch with copy": ("PATCH", "/estimates/e-1", {"quote_version": 3}),
        "delete": ("DELETE", "/orders/o-1", None),
        "delete with pointer": ("DELETE", "/payments/p-1", None),
    }


KINDS = sorted(writes({}, {}, {}))


@pytest.fixture
def kind(api: Fixture, order: Any, payment: Any, estimate: Any, request: pytest.FixtureRequest) -> Any:
    for path, body in (("/orders", order), ("/payments", payment), ("/estimates", estimate)):
        assert api("POST", path, body).status == 201
    return writes(order, payment, estimate)[request.param]


def items(api: Fixture) -> list[Any]:
    return sorted(api.table.scan()["Items"], key=lambda item: (item["pk"], item["sk"]))


@pytest.fixture
def key(request: pytest.FixtureRequest) -> dict[str, str]:
    """A key of the test's own: the tests of a module share the table of receipts."""
    return {"Idempotency-Key": str(abs(hash(request.node.nodeid)))}


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_write_that_is_sent_again_is_done_once_and_answered_the_same(
    api: Fixture, kind: tuple[str, str, Any], key: dict[str, str]
) -> None:
    first = api(*kind, headers=key)
    assert first.status in (200, 201, 204)
    before = items(api)
    again = api(*kind, headers={"idempotency-key": f'"{key["Idempotency-Key"]}"'})
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers == {**first.headers, "Idempotency-Replayed": "true"}
    assert items(api) == before


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_write_with_a_key_does_what_one_without_does(
    api: Fixture, clock: Fixture, kind: tuple[str, str, Any], key: dict[str, str]
) -> None:
    clock.step = 0
    before = items(api)
    with_key = api(*kind, headers=key)
    left = items(api)
    for item in left:
        api.table.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
    for item in before:
        api.table.put_item(Item=item)
    without = api(*kind)
    assert (with_key.status, with_key.body) == (without.status, without.body)
    assert items(api) == left


def test_another_request_with_the_same_key_is_refused(api: Fixture, order: dict[str, Any], key: dict[str, str]) -> None:
    assert api("POST", "/orders", order, headers=key).status == 201
    others: tuple[tuple[str, str, Any, dict[str, str]], ...] = (
        ("POST", "/orders", order | {"status": "paid"}, key),
        ("PUT", "/orders/o-1", order, key),
        ("PATCH", "/orders/o-1", {"status": "paid"}, key),
        ("DELETE", "/orders/o-1", None, key),
        ("POST", "/orders", order, {**key, "If-Match": "1"}),
    )
    for method, path, body, headers in others:
        reply = api(method, path, body, headers=headers)
        assert (reply.status, reply.body["type"]) == (422, "urn:gavel:problem:reused-key")
        assert reply.body["errors"][0]["field"] == "Idempotency-Key"
    assert api("GET", "/orders/o-1").body["order"]["status"] == "placed"


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_create_sent_again_asks_dynamodb_once_if_it_shows_the_receipt(
    api: Fixture, order: dict[str, Any], key: dict[str, str], is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api("POST", "/orders", order, headers=key)
    real = api.client._client.transact_write_items

    def hiding(**parameters: Any) -> Any:
        for write in parameters["TransactItems"]:
            del write["Put"]["ReturnValuesOnConditionCheckFailure"]
        return real(**parameters)

    if not is_shown:
        monkeypatch.setattr(api.client._client, "transact_write_items", hiding)
    again = api("POST", "/orders", order, headers=key)
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert api.calls == ["transact_write_items", *([] if is_shown else ["get_item"])]


def test_a_key_is_its_callers_alone(api: Fixture, order: dict[str, Any], key: dict[str, str]) -> None:
    assert api("POST", "/orders", order, headers=key).status == 201
    for authorizer in (
        {"claims": {"sub": "u-2", "cognito:groups": "staff"}},
        {"tenant": "u-1", "group": "staff"},
    ):
        other = api("POST", "/orders", order, headers=key, authorizer=authorizer)
        assert (other.status, other.body["type"]) == (409, "urn:gavel:problem:exists")


def test_a_refused_request_leaves_no_receipt(api: Fixture, order: dict[str, Any], key: dict[str, str]) -> None:
    assert api("PATCH", "/orders/o-1", {"status": "paid"}, headers=key).status == 404
    api("POST", "/orders", order)
    reply = api("PATCH", "/orders/o-1", {"status": "paid"}, headers=key)
    assert (reply.status, reply.body["status"]) == (200, "paid")


def test_a_key_is_forgotten_after_a_day(
    api: Fixture, clock: Fixture, order: dict[str, Any], key: dict[str, str]
) -> None:
    assert api("PUT", "/orders/o-1", order, headers=key).status == 201
    clock.now += (RECEIPT_SECONDS + 1) * 1_000_000
    again = api("PUT", "/orders/o-1", order, headers=key)
    assert (again.status, again.headers.get("Idempotency-Replayed")) == (200, None)
    assert api("PUT", "/orders/o-1", order, headers=key).headers["Idempotency-Replayed"] == "true"


def test_a_forgotten_key_does_not_bring_an_old_answer_back(
    api: Fixture, clock: Fixture, order: dict[str, Any], key: dict[str, str]
) -> None:
    """DynamoDB may keep a receipt for days after its end."""
    assert api("POST", "/orders", order, headers=key).status == 201
    clock.now += (RECEIPT_SECONDS + 1) * 1_000_000
    assert api("POST", "/orders", order, headers=key).status == 409


def test_what_a_request_did_itself_is_no_reason_to_refuse_it(
    api: Fixture, order: dict[str, Any], key: dict[str, str]
) -> None:
    version = api("POST", "/orders", order).body["_version"]
    headers = {**key, "If-Match": str(version)}
    first = api("PATCH", "/orders/o-1", {"status": "paid"}, headers=headers)
    assert first.status == 200
    assert api("PATCH", "/orders/o-1", {"status": "paid"}, headers=headers).body == first.body
    api("DELETE", "/orders/o-1")
    assert api("PATCH", "/orders/o-1", {"status": "paid"}, headers=headers).body == first.body


@pytest.mark.parametrize("text", ["", " ", "a b", "é", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(api: Fixture, order: dict[str, Any], text: str) -> None:
    reply = api("POST", "/orders", order, headers={"Idempotency-Key": text})
    assert (reply.status, reply.body["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert items(api) == []


# ---- what crashes and races leave -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_around_the_write_never_does_it_twice(
    api: Fixture, kind: tuple[str, str, Any], key: dict[str, str], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function ends while DynamoDB writes: the client gets no answer and sends the request again."""
    real = api.client._client.transact_write_items

    def crash(**parameters: Any) -> None:
        if moment == "after":
            real(**parameters)
        raise ReadTimeoutError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com")

    before = items(api)
    with monkeypatch.context() as crashing:
        crashing.setattr(api.client._client, "transact_write_items", crash)
        assert api(*kind, headers=key).status == 503
    left = items(api)
    assert (left == before) is (moment == "before")
    reply = api(*kind, headers=key)
    assert reply.status in (200, 201, 204)
    assert reply.headers.get("Idempotency-Replayed") == ("true" if moment == "after" else None)
    if moment == "after":
        assert items(api) == left


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        *((kind, "transact_write_items") for kind in ("create", "put new", "patch", "patch with copy", "delete")),
        *((kind, "get_item") for kind in ("put new", "patch", "patch with copy", "delete with pointer")),
    ],
    indirect=["kind"],
)
def test_a_request_sent_twice_at_once_is_done_once(
    api: Fixture, kind: tuple[str, str, Any], key: dict[str, str], operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one runs whole between two steps of the first; both get the same answer."""
    real: Callable[..., Any] = getattr(api.client._client, operation)
    inner: list[Any] = []

    def interrupted(**parameters: Any) -> Any:
        found = real(**parameters) if operation == "get_item" else None
        monkeypatch.setattr(api.client._client, operation, real)
        inner.append(api(*kind, headers=key))
        return found if operation == "get_item" else real(**parameters)

    monkeypatch.setattr(api.client._client, operation, interrupted)
    outer = api(*kind, headers=key)
    assert inner[0].status in (200, 201, 204)
    assert (outer.status, outer.body) == (inner[0].status, inner[0].body)
    assert outer.headers["Idempotency-Replayed"] == "true"


def test_a_request_that_is_still_being_carried_out_is_contended(
    api: Fixture, order: dict[str, Any], key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = [{"Code": "TransactionConflict"}, {"Code": "TransactionConflict"}]

    def conflict(**_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "TransactionCanceledException", "Message": "x"}, "CancellationReasons": reasons},  # type: ignore[typeddict-unknown-key]
            "TransactWriteItems",
        )

    monkeypatch.setattr(api.client._client, "transact_write_items", conflict)
    reply = api("POST", "/orders", order, headers=key)
    assert (reply.status, reply.body["type"], reply.headers["Retry-After"]) == (409, "urn:gavel:problem:contended", "1")


def test_an_item_of_nearly_the_largest_size_can_be_written_with_a_key(api: Fixture, key: dict[str, str]) -> None:
    lot = {
        "lot_id": "l-1",
        "seller_id": "c-1",
        "title": "x",
        "category": "watches",
        "currency": "EUR",
        "status": "draft",
        "listed_at": "2026-11-21T01:02:03Z",
        "attributes": {"text": "x" * 390_000},
    }
    first = api("POST", "/lots", lot, headers=key)
    assert first.status == 201
    assert api("POST", "/lots", lot, headers=key).body == first.body


def test_receipts_tell_no_key_and_no_caller(
    api: Fixture, order: dict[str, Any], key: dict[str, str], dynamodb: Any
) -> None:
    api("POST", "/orders", order, headers=key)
    (receipt,) = (i for i in dynamodb.Table("gavel-requests").scan()["Items"] if i["pk"] == pk_of(key))
    reported = [value for name, value in receipt.items() if name != "body"]
    assert not [v for v in reported if "u-1" in str(v) or key["Idempotency-Key"] in str(v)]


def pk_of(key: Mapping[str, str]) -> str:
    event = {"headers": key, "requestContext": {"authorizer": {"claims": {"sub": "u-1", "cognito:groups": "staff"}}}}
    request = Request.of(event, Caller.of(event))
    assert request is not None
    return request.pk
