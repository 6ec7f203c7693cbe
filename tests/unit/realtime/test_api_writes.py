"""What the API promises about writing: versions only grow, nothing immutable changes, nothing is written twice."""

from __future__ import annotations

from typing import Any

import pytest

Fixture = Any


def test_a_new_item_is_answered_whole_with_its_version(api: Fixture, order: dict[str, Any]) -> None:
    reply = api("POST", "/orders", order)
    assert reply.status == 201
    assert reply.headers["Location"] == "/orders/o-1"
    version = reply.body.pop("_version")
    assert reply.headers["ETag"] == f'"{version}"'
    assert reply.body == order | {
        "fees": [{"kind": "insurance", "payer": "buyer", "amount": "12.50"}],
        "placed_at": "2026-11-21T01:02:03.456000Z",
    }


@pytest.mark.parametrize("first", ["POST", "PUT"])
def test_an_item_that_exists_is_not_created_again(api: Fixture, order: dict[str, Any], first: str) -> None:
    assert api(first, "/orders" if first == "POST" else "/orders/o-1", order).status == 201
    reply = api("POST", "/orders", order | {"hammer_price": "1.00"})
    assert (reply.status, reply.body["type"]) == (409, "urn:gavel:problem:exists")
    assert api("GET", "/orders/o-1").body["order"]["hammer_price"] == "1250.00"


def test_put_creates_then_replaces_and_drops_what_it_leaves_out(api: Fixture, order: dict[str, Any]) -> None:
    assert api("PUT", "/orders/o-1", order).status == 201
    whole = {k: v for k, v in order.items() if k not in ("buyers_premium", "order_id")}
    reply = api("PUT", "/orders/o-1", whole)
    assert reply.status == 200
    assert "buyers_premium" not in reply.body
    assert api("GET", "/orders/o-1").body["order"] == reply.body


def test_patch_keeps_what_is_absent_and_clears_what_is_null(api: Fixture, order: dict[str, Any]) -> None:
    created = api("POST", "/orders", order).body
    reply = api("PATCH", "/orders/o-1", {"status": "paid", "buyers_premium": None})
    assert reply.status == 200
    expected = {k: v for k, v in created.items() if k != "buyers_premium"} | {"status": "paid"}
    assert reply.body == expected | {"_version": reply.body["_version"]}
    assert "buyers_premium" not in api.item("ORDER#o-1", "ORDER")


def test_versions_grow_by_the_clock(api: Fixture, clock: Fixture, order: dict[str, Any]) -> None:
    first = api("POST", "/orders", order).body["_version"]
    assert first == clock.now
    second = api("PATCH", "/orders/o-1", {"status": "paid"}).body["_version"]
    assert second == clock.now > first


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_a_clock_that_stands_behind_still_gives_a_greater_version(
    api: Fixture, clock: Fixture, order: dict[str, Any], method: str
) -> None:
    before = api("PUT", "/orders/o-1", order).body["_version"]
    if method == "POST":
        api("DELETE", "/orders/o-1")
        before = int(api.item("ORDER#o-1", "ORDER")["_version"]["N"])
    clock.now, clock.step = before - 60_000_000, 0
    body = {"PUT": order, "POST": order, "PATCH": {"status": "paid"}, "DELETE": None}[method]
    assert api(method, "/orders" if method == "POST" else "/orders/o-1", body).status < 300
    assert int(api.item("ORDER#o-1", "ORDER")["_version"]["N"]) == before + 1


def test_an_item_written_by_hand_without_a_version_can_be_changed(api: Fixture, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    api.table.update_item(Key={"pk": "ORDER#o-1", "sk": "ORDER"}, UpdateExpression="REMOVE #v",
                          ExpressionAttributeNames={"#v": "_version"})  # fmt: skip
    assert api("PATCH", "/orders/o-1", {"status": "paid"}).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("entity", ["orders", "payments", "estimates"])
def test_a_write_for_another_version_is_refused(
    api: Fixture,
    order: dict[str, Any],
    payment: dict[str, Any],
    estimate: dict[str, Any],
    method: str,
    entity: str,
) -> None:
    bodies = {"orders": order, "payments": payment, "estimates": estimate}
    api("POST", "/orders", order)
    if entity != "orders":
        assert api("POST", f"/{entity}", bodies[entity]).status == 201
    path = f"/{entity}/{bodies[entity][entity[:-1] + '_id']}"
    body = {"PUT": bodies[entity], "PATCH": {"status": bodies[entity]["status"]}, "DELETE": None}[method]
    stale = api(method, path, body, headers={"If-Match": '"12"'})
    assert (stale.status, stale.body["type"]) == (409, "urn:gavel:problem:version-conflict")
    current = api("GET", path)
    version = (current.body["order"] if entity == "orders" else current.body)["_version"]
    assert api(method, path, body, headers={"if-match": str(version)}).status in (200, 204)


def test_a_version_of_an_item_that_is_not_there_is_a_conflict(api: Fixture, order: dict[str, Any]) -> None:
    assert api("PUT", "/orders/o-1", order, headers={"If-Match": "1"}).status == 409


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("entity", "field", "value"),
    [
        ("orders", "placed_at", "2025-01-01T00:00:00Z"),
        ("orders", "order_id", "o-2"),
        ("payments", "order_id", "o-2"),
        ("payments", "created_at", "2025-01-01T00:00:00Z"),
        ("estimates", "estimate_id", "e-2"),
    ],
)
def test_an_immutable_field_never_changes(
    api: Fixture,
    order: dict[str, Any],
    payment: dict[str, Any],
    estimate: dict[str, Any],
    method: str,
    entity: str,
    field: str,
    value: str,
) -> None:
    bodies = {"orders": order, "payments": payment, "estimates": estimate}
    for name in dict.fromkeys(("orders", entity)):
        assert api("POST", f"/{name}", bodies[name]).status == 201
    path = f"/{entity}/{bodies[entity][entity[:-1] + '_id']}"
    before = api("GET", path).body
    reply = api(method, path, (bodies[entity] if method == "PUT" else {}) | {field: value})
    assert (reply.status, reply.body["type"]) == (422, "urn:gavel:problem:immutable-field")
    assert [e["field"] for e in reply.body["errors"]] == [field]
    assert api("GET", path).body == before


def test_an_immutable_field_may_be_repeated(api: Fixture, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    same = {"order_id": "o-1", "placed_at": "2026-11-21T02:02:03.456+01:00", "status": "paid"}
    assert api("PATCH", "/orders/o-1", same).status == 200


def test_a_deleted_item_is_marked_and_is_gone_for_readers(api: Fixture, clock: Fixture, order: dict[str, Any]) -> None:
    version = api("POST", "/orders", order).body["_version"]
    reply = api("DELETE", "/orders/o-1")
    assert (reply.status, reply.body) == (204, None)
    item = api.item("ORDER#o-1", "ORDER")
    assert item["_deleted"] == {"BOOL": True}
    assert int(item["_version"]["N"]) > version
    assert int(item["ttl"]["N"]) == clock.now // 1_000_000 + 86_400
    assert item["hammer_price"] == {"N": "1250"} or item["hammer_price"] == {"N": "1250.00"}
    assert api("GET", "/orders/o-1").status == 404
    assert api("PATCH", "/orders/o-1", {"status": "paid"}).status == 404
    assert api("DELETE", "/orders/o-1").status == 404
    assert api("GET", "/parties/c-1/orders", query={"role": "buyer"}).body["orders"] == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_deleted_item_can_be_created_again_above_its_last_version(
    api: Fixture, order: dict[str, Any], method: str
) -> None:
    api("POST", "/orders", order)
    api("DELETE", "/orders/o-1")
    last = int(api.item("ORDER#o-1", "ORDER")["_version"]["N"])
    # A wrong date is put right by deleting and creating: the new item is another row of the same key.
    again = order | {"placed_at": "2026-10-01T00:00:00Z"}
    reply = api(method, "/orders" if method == "POST" else "/orders/o-1", again)
    assert reply.status == 201
    assert reply.body["_version"] > last
    item = api.item("ORDER#o-1", "ORDER")
    assert "_deleted" not in item
    assert "ttl" not in item


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/orders/o-9", "/payments/p-9", "/estimates/e-9", "/order_lines/o-9/1"])
def test_what_is_not_there_is_not_changed(api: Fixture, method: str, path: str) -> None:
    field = {"order_lines": {"quantity": 2}}.get(path.split("/")[1], {"currency": "EUR"})
    assert api(method, path, field if method == "PATCH" else None).status == 404


def test_one_id_is_never_in_two_orders(api: Fixture, payment: dict[str, Any]) -> None:
    assert api("POST", "/payments", payment).status == 201
    for method, path in (("POST", "/payments"), ("PUT", "/payments/p-1")):
        assert api(method, path, payment | {"order_id": "o-2"}).status in (409, 422)
    api("DELETE", "/payments/p-1")
    reply = api("POST", "/payments", payment | {"order_id": "o-2"})
    assert (reply.status, reply.body["errors"][0]["field"]) == (409, "order_id")
    assert api.item("ORDER#o-2", "PAYMENT#p-1") is None
    assert api("POST", "/payments", payment).status == 201


def test_an_item_within_an_order_is_found_by_its_own_id(api: Fixture, payment: dict[str, Any]) -> None:
    assert api("PUT", "/payments/p-1", payment).status == 201
    assert api("PUT", "/payments/p-1", payment | {"status": "failed"}).status == 200
    assert api("PATCH", "/payments/p-1", {"status": "settled"}).status == 200
    assert api("GET", "/payments/p-1").body["status"] == "settled"
    assert api("DELETE", "/payments/p-1").status == 204
    assert api("GET", "/payments/p-1").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_estimate_writes_the_quote_of_its_order(
    api: Fixture, order: dict[str, Any], estimate: dict[str, Any], method: str
) -> None:
    before = api("POST", "/orders", order).body["_version"]
    assert api(method, "/estimates" if method == "POST" else "/estimates/e-1", estimate).status == 201
    changed = api("GET", "/orders/o-1").body["order"]
    assert (changed["quote_number"], changed["quote_version"]) == ("Q-7", 2)
    assert changed["_version"] > before
    assert api("PATCH", "/estimates/e-1", {"quote_version": 3}).body["quote_version"] == 3
    assert api("GET", "/orders/o-1").body["order"]["quote_version"] == 3


@pytest.mark.parametrize("deleted", [False, True])
def test_an_estimate_without_its_order_is_not_written(
    api: Fixture, order: dict[str, Any], estimate: dict[str, Any], deleted: bool
) -> None:
    if deleted:
        api("POST", "/orders", order)
        api("DELETE", "/orders/o-1")
    reply = api("POST", "/estimates", estimate)
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "order_id")
    assert api("GET", "/estimates/e-1").status == 404


def test_an_estimate_is_written_even_if_its_order_has_a_version_from_the_future(
    api: Fixture, clock: Fixture, order: dict[str, Any], estimate: dict[str, Any]
) -> None:
    ahead = api("POST", "/orders", order).body["_version"]
    clock.now, clock.step = ahead - 60_000_000, 0
    assert api("POST", "/estimates", estimate).status == 201
    assert api("GET", "/orders/o-1").body["order"]["_version"] == ahead + 1


def test_the_indexes_follow_a_new_buyer(api: Fixture, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    assert api("PATCH", "/orders/o-1", {"buyer_id": "c-9"}).status == 200
    assert api("GET", "/parties/c-1/orders", query={"role": "buyer"}).body["orders"] == []
    (moved,) = api("GET", "/parties/c-9/orders", query={"role": "buyer"}).body["orders"]
    assert moved["order_id"] == "o-1"
    assert api.item("ORDER#o-1", "ORDER")["seller_pk"] == {"S": "SELLER#c-2"}


def test_a_closed_bid_leaves_the_table_after_ninety_days(api: Fixture) -> None:
    bid = {
        "bid_id": "b-1",
        "lot_id": "l-1",
        "bidder_id": "c-1",
        "amount": "10",
        "currency": "EUR",
        "status": "accepted",
        "placed_at": "2026-11-21T01:02:03Z",
    }
    api("POST", "/bids", bid)
    assert "ttl" not in api.item("BID#b-1", "BID")
    api("PATCH", "/bids/b-1", {"closed_at": "2026-11-22T00:00:00Z"})
    assert api.item("BID#b-1", "BID")["ttl"] == {"N": str(1_795_305_600 + 90 * 86_400)}
    api("PATCH", "/bids/b-1", {"closed_at": None})
    assert "ttl" not in api.item("BID#b-1", "BID")


def test_an_item_stays_for_a_day_after_each_version_though_its_time_is_over(api: Fixture) -> None:
    """Else a writer whose clock is behind could write it again with a version below the one that expired."""
    bid = {"lot_id": "l-1", "bidder_id": "c-1", "amount": "10", "currency": "EUR", "status": "accepted"}
    bid |= {"bid_id": "b-2", "placed_at": "2025-01-01T00:00:00Z", "closed_at": "2025-01-02T00:00:00Z"}
    written = [api("POST", "/bids", bid), api("PATCH", "/bids/b-2", {"closed_at": "2025-01-03T00:00:00Z"})]
    written.append(api("PUT", "/bids/b-2", bid))
    for answer in written:
        assert answer.status in (200, 201)
    version = written[-1].body["_version"]
    assert api.item("BID#b-2", "BID")["ttl"] == {"N": str(version // 1_000_000 + 86_400)}
    api("DELETE", "/bids/b-2")
    item = api.item("BID#b-2", "BID")
    assert item["ttl"] == {"N": str(int(item["_version"]["N"]) // 1_000_000 + 86_400)}


def test_a_write_is_one_request_to_the_table(
    api: Fixture, order: dict[str, Any], payment: dict[str, Any], estimate: dict[str, Any]
) -> None:
    def calls(*request: Any) -> list[str]:
        assert api(*request).status < 300
        return list(api.calls)

    assert calls("POST", "/orders", order) == ["put_item"]
    assert calls("PUT", "/orders/o-1", order) == ["put_item"]
    assert calls("PATCH", "/orders/o-1", {"status": "paid"}) == ["update_item"]
    assert calls("POST", "/payments", payment) == ["transact_write_items"]
    assert calls("POST", "/estimates", estimate) == ["transact_write_items"]
    assert calls("GET", "/orders/o-1") == ["query"]
    assert calls("DELETE", "/orders/o-1") == ["update_item"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_write_that_the_client_sends_again_after_a_lost_answer_is_done_once_and_accepted(
    api: Fixture, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    if method != "POST":
        api("POST", "/orders", order)
    client = api.client
    for name in ("put_item", "update_item"):
        once = getattr(client, name)

        def twice(once: Any = once, **parameters: Any) -> Any:
            once(**parameters)
            return once(**parameters)

        monkeypatch.setattr(client, name, twice)
    body = {"PATCH": {"status": "paid", "buyers_premium": None}, "DELETE": None}.get(method, order)
    reply = api(method, "/orders" if method == "POST" else "/orders/o-1", body)
    assert reply.status in (200, 201, 204)
    if method != "DELETE":
        assert api("GET", "/orders/o-1").body["order"]["_version"] == reply.body["_version"]
