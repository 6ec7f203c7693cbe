"""What the API promises about reading: an order with all that belongs to it, and a party's orders page by page."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

Fixture = Any


def test_an_order_comes_with_everything_that_belongs_to_it_in_one_query(
    api: Fixture, order: dict[str, Any], payment: dict[str, Any]
) -> None:
    line = {"order_id": "o-1", "lot_id": "l-1", "quantity": 1, "hammer_price": "5", "placed_at": order["placed_at"]}
    api("POST", "/orders", order)
    for number in (10, 9, 2):
        assert api("POST", "/order_lines", line | {"line_number": number}).status == 201
    for key in ("p-1", "p-2", "p-3"):
        assert api("POST", "/payments", payment | {"payment_id": key}).status == 201
    api("DELETE", "/payments/p-2")
    api("POST", "/payments", payment | {"payment_id": "p-9", "order_id": "o-10"})
    tree = api("GET", "/orders/o-1").body
    assert api.calls == ["query"]
    assert set(tree) == {"order", "order_lines", "invoices", "invoice_lines", "payments", "shipments"}
    assert tree["order"]["order_id"] == "o-1"
    assert [line["line_number"] for line in tree["order_lines"]] == [2, 9, 10]
    assert [p["payment_id"] for p in tree["payments"]] == ["p-1", "p-3"]
    assert tree["payments"][0]["amount"] == "5.00"


def test_belongings_without_their_order_are_no_order(api: Fixture, payment: dict[str, Any]) -> None:
    api("POST", "/payments", payment)
    assert api("GET", "/orders/o-1").status == 404


def test_a_composite_key_is_a_path(api: Fixture) -> None:
    line = {"lot_id": "l-1", "quantity": 1, "hammer_price": "5", "placed_at": "2026-11-21T01:02:03Z"}
    assert api("PUT", "/order_lines/o-1/2", line).status == 201
    reply = api("GET", "/order_lines/o-1/2")
    assert (reply.body["order_id"], reply.body["line_number"]) == ("o-1", 2)


def test_a_key_may_hold_any_printable_character(api: Fixture, order: dict[str, Any]) -> None:
    order_id = "a/b #{order_id}% é x"
    created = api("POST", "/orders", order | {"order_id": order_id})
    assert created.headers["Location"] == "/orders/a%2Fb%20%23%7Border_id%7D%25%20%C3%A9%20x"
    assert api("GET", created.headers["Location"]).body["order"]["order_id"] == order_id


@pytest.mark.parametrize(("role", "party"), [("buyer", "c-1"), ("seller", "c-2")])
def test_a_partys_orders_come_newest_first_page_by_page_without_gap_or_repetition(
    api: Fixture, order: dict[str, Any], role: str, party: str
) -> None:
    moments = [f"2026-11-{day:02d}T01:02:03{fraction}Z" for day in (3, 1, 2) for fraction in ("", ".5")]
    for number, moment in enumerate(moments):
        api("POST", "/orders", order | {"order_id": f"o-{number}", "placed_at": moment})
    api("POST", "/orders", order | {"order_id": "o-9", "buyer_id": "c-8", "seller_id": "c-9"})
    seen: list[str] = []
    query = {"role": role, "limit": "4"}
    cursors = []
    while True:
        page = api("GET", f"/parties/{party}/orders", query=query).body
        seen += [o["placed_at"] for o in page["orders"]]
        if page["cursor"] is None:
            break
        cursors.append(page["cursor"])
        query["cursor"] = page["cursor"]
    assert len(seen) == len(moments)
    assert seen == sorted(seen, key=lambda text: text.removesuffix("Z").ljust(26, "."), reverse=True)
    assert cursors
    assert party.encode() not in base64.urlsafe_b64decode(cursors[0] + "==")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[:-2],
        lambda c: "A" + c[1:] if c[0] != "A" else "B" + c[1:],
        lambda c: "",
        lambda c: "%%%",
        lambda c: "é",
        lambda c: c * 200,
        lambda c: "bm90IGEgY3Vyc29y",
    ],
)
def test_a_cursor_that_we_did_not_give_is_refused(api: Fixture, order: dict[str, Any], change: Any) -> None:
    for number in range(3):
        api("POST", "/orders", order | {"order_id": f"o-{number}"})
    cursor = api("GET", "/parties/c-1/orders", query={"role": "buyer", "limit": "1"}).body["cursor"]
    reply = api("GET", "/parties/c-1/orders", query={"role": "buyer", "cursor": change(cursor)})
    assert (reply.status, reply.body["errors"][0]["field"]) == (400, "cursor")


def test_a_cursor_belongs_to_one_list(api: Fixture, order: dict[str, Any]) -> None:
    for number in range(3):
        api("POST", "/orders", order | {"order_id": f"o-{number}", "seller_id": "c-1"})
    cursor = api("GET", "/parties/c-1/orders", query={"role": "buyer", "limit": "1"}).body["cursor"]
    for party, role in (("c-1", "seller"), ("c-2", "buyer")):
        assert api("GET", f"/parties/{party}/orders", query={"role": role, "cursor": cursor}).status == 400


def test_a_cursor_belongs_to_one_list_however_long_the_names_are(api: Fixture, order: dict[str, Any]) -> None:
    parties = ["é" * 63 + end for end in "ab"]
    for number, party in enumerate(parties * 2):
        api("POST", "/orders", order | {"order_id": f"o-{number}", "buyer_id": party})
    first, second = (f"/parties/{quote(party)}/orders" for party in parties)
    cursor = api("GET", first, query={"role": "buyer", "limit": "1"}).body["cursor"]
    assert api("GET", first, query={"role": "buyer", "cursor": cursor}).status == 200
    assert api("GET", second, query={"role": "buyer", "cursor": cursor}).status == 400


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "role"),
        ({"role": "auctioneer"}, "role"),
        ({"role": "buyer", "limit": "0"}, "limit"),
        ({"role": "buyer", "limit": "101"}, "limit"),
        ({"role": "buyer", "limit": "-1"}, "limit"),
        ({"role": "buyer", "limit": "ten"}, "limit"),
        ({"role": "buyer", "limit": "²"}, "limit"),
        ({"role": "buyer", "page": "2"}, "page"),
    ],
)
def test_a_bad_parameter_is_named(api: Fixture, query: dict[str, str], field: str) -> None:
    reply = api("GET", "/parties/c-1/orders", query=query)
    assert (reply.status, reply.body["errors"][0]["field"]) == (400, field)


def test_attributes_that_the_contract_does_not_know_are_not_answered(api: Fixture, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    api.table.update_item(
        Key={"pk": "ORDER#o-1", "sk": "ORDER"},
        UpdateExpression="SET secret = :s, lot_id = :b, currency = :n",
        ExpressionAttributeValues={":s": "x", ":b": b"\x00", ":n": None},
    )
    body = api("GET", "/orders/o-1").body["order"]
    assert "secret" not in body
    assert "currency" not in body
    assert api("PATCH", "/orders/o-1", {"status": "paid", "buyer_id": "c-5"}).status == 200
    assert api.item("ORDER#o-1", "ORDER")["secret"] == {"S": "x"}
