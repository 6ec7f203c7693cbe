"""What a party may do: read its own orders, and nothing that it guesses."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from contracts import Contracts
from realtime.api import cursors
from realtime.api.ownership import Ownership

Fixture = Any

BUYER, SELLER, STRANGER = "c-1", "c-2", "c-3"


def party(party_id: str) -> dict[str, Any]:
    """What the gateway says of a user of the group party."""
    return {"claims": {"sub": f"u-{party_id}", "cognito:groups": "party", "custom:party_id": party_id}}


@pytest.fixture
def trades(api: Fixture, order: dict[str, Any], payment: dict[str, Any], estimate: dict[str, Any]) -> dict[str, Any]:
    """An order of c-1 and c-2 with an invoice for each of them, and one of others; answers by path."""
    invoice = {"order_id": "o-1", "currency": "EUR", "total_amount": "9", "tax_amount": "1", "status": "issued"}
    invoice |= {"issued_at": "2026-11-21T01:02:03Z"}
    line = {"order_id": "o-1", "kind": "fee", "amount": "9", "issued_at": "2026-11-21T01:02:03Z"}
    written = {
        "/orders/o-1": order,
        "/orders/o-2": order | {"order_id": "o-2", "buyer_id": "c-8", "seller_id": "c-9"},
        "/order_lines/o-1/1": {"lot_id": "l-1", "quantity": 1, "hammer_price": "5", "placed_at": order["placed_at"]},
        "/invoices/i-b": invoice | {"invoice_id": "i-b", "party_id": BUYER, "role": "buyer"},
        "/invoices/i-s": invoice | {"invoice_id": "i-s", "party_id": SELLER, "role": "seller"},
        "/invoice_lines/i-b/1": line,
        "/invoice_lines/i-s/1": line,
        "/payments/p-1": payment,
        "/payments/p-b": payment | {"payment_id": "p-b", "invoice_id": "i-b"},
        "/payments/p-s": payment | {"payment_id": "p-s", "invoice_id": "i-s"},
        "/payments/p-gone": payment | {"payment_id": "p-gone", "invoice_id": "i-gone"},
        "/payments/p-2": payment | {"payment_id": "p-2", "order_id": "o-2"},
        "/shipments/s-1": {"order_id": "o-1", "carrier": "dhl", "cost": "5", "currency": "EUR", "status": "packed"}
        | {"created_at": "2026-11-21T01:02:03Z"},
        "/estimates/e-1": estimate,
        "/customers/c-1": {"status": "active", "registered_at": "2026-11-21T01:02:03Z"},
    }
    for path, body in written.items():
        reply = api("PUT", path, body)
        assert reply.status == 201, reply.body
    return written


SHARED = {"/order_lines/o-1/1", "/payments/p-1", "/shipments/s-1"}
VISIBLE = {
    BUYER: SHARED | {"/invoices/i-b", "/invoice_lines/i-b/1", "/payments/p-b"},
    SELLER: SHARED | {"/invoices/i-s", "/invoice_lines/i-s/1", "/payments/p-s"},
    STRANGER: set(),
}


@pytest.mark.parametrize("who", [BUYER, SELLER, STRANGER])
def test_a_party_reads_what_is_its_own_and_nothing_else_exists(api: Fixture, trades: dict[str, Any], who: str) -> None:
    for path in trades:
        if path.split("/")[1] in ("estimates", "customers", "orders"):
            continue
        reply = api("GET", path, authorizer=party(who))
        missing = api("GET", "/".join([*path.split("/")[:2], "x", *path.split("/")[3:]]), authorizer=party(who))
        if path in VISIBLE[who]:
            assert (reply.status, reply.body) == (200, api("GET", path).body), path
        else:
            assert (reply.status, reply.body) == (404, missing.body), "a guessed key tells nothing"


@pytest.mark.parametrize("who", [BUYER, SELLER])
def test_an_order_comes_with_what_is_the_partys_own(api: Fixture, trades: dict[str, Any], who: str) -> None:
    tree = api("GET", "/orders/o-1", authorizer=party(who)).body
    whole = api("GET", "/orders/o-1").body
    assert tree["order"] == whole["order"]
    assert {k: len(v) for k, v in tree.items() if k != "order"} == {
        "order_lines": 1, "invoices": 1, "invoice_lines": 1, "payments": 2, "shipments": 1,
    }  # fmt: skip
    assert [i["party_id"] for i in tree["invoices"]] == [who]
    assert {line["invoice_id"] for line in tree["invoice_lines"]} == {tree["invoices"][0]["invoice_id"]}


def test_the_orders_of_others_are_as_if_they_were_not_there(api: Fixture, trades: dict[str, Any]) -> None:
    for who, path in ((STRANGER, "/orders/o-1"), (BUYER, "/orders/o-2")):
        reply = api("GET", path, authorizer=party(who))
        assert (reply.status, reply.body) == (404, api("GET", "/orders/o-404", authorizer=party(who)).body)


def test_belongings_of_an_order_that_is_gone_are_nobodys(api: Fixture, trades: dict[str, Any]) -> None:
    api("DELETE", "/orders/o-1")
    for path in ("/orders/o-1", "/invoices/i-b", "/payments/p-1"):
        assert api("GET", path, authorizer=party(BUYER)).status == 404


@pytest.mark.parametrize("path", ["/customers/c-1", "/customers/c-404", "/estimates/e-1", "/lots/l-1"])
def test_what_does_not_belong_to_orders_is_for_staff(api: Fixture, trades: dict[str, Any], path: str) -> None:
    reply = api("GET", path, authorizer=party(BUYER))
    assert (reply.status, reply.body["type"]) == (403, "urn:gavel:problem:forbidden")
    assert api.calls == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/orders"), ("PUT", "/orders/o-1"), ("PATCH", "/orders/o-1"), ("DELETE", "/orders/o-1")],
)
def test_a_party_writes_nothing(api: Fixture, trades: dict[str, Any], method: str, path: str) -> None:
    headers = {"Idempotency-Key": "k"}
    reply = api(method, path, trades["/orders/o-1"], headers=headers, authorizer=party(BUYER))
    assert (reply.status, reply.body["type"], api.calls) == (403, "urn:gavel:problem:forbidden", [])


def test_a_party_has_one_list_in_each_role(api: Fixture, trades: dict[str, Any]) -> None:
    def listed(of: str, role: str, who: str) -> Any:
        return api("GET", f"/parties/{of}/orders", query={"role": role}, authorizer=party(who))

    assert [o["order_id"] for o in listed(BUYER, "buyer", BUYER).body["orders"]] == ["o-1"]
    assert listed(BUYER, "seller", BUYER).body["orders"] == []
    for other in (SELLER, "c-8", "c-404", "", "c-1%20", "C-1"):
        assert listed(other, "buyer", BUYER).status == 403
        assert api.calls == []


def test_a_guessed_cursor_opens_no_other_list(api: Fixture, trades: dict[str, Any], order: dict[str, Any]) -> None:
    """A cursor says where to begin in the list that the path names: even a well-made one leads nowhere else."""
    for number in range(3):
        api("PUT", f"/orders/m-{number}", order | {"order_id": f"m-{number}"})
        api("PUT", f"/orders/x-{number}", order | {"order_id": f"x-{number}", "buyer_id": "c-8"})
    mine = {o["order_id"] for o in page(api, BUYER, {}, party(BUYER)).body["orders"]}
    theirs = page(api, "c-8", {"limit": "1"}).body["cursor"]
    assert page(api, BUYER, {"cursor": theirs}, party(BUYER)).status == 400
    position = ["2026-11-21T01:02:03.456000Z#x-1", "ORDER#x-1", "ORDER"]
    for guess in (position, ["9", "ORDER#x-1", "ORDER"], ["0", "ORDER#x-1", "ORDER"], ["~" * 900, "~", "~"]):
        forged = cursors.encode(guess, of="buyer BUYER#c-1")
        reply = page(api, BUYER, {"cursor": forged}, party(BUYER))
        assert reply.status in (200, 400)
        assert {o["order_id"] for o in reply.body.get("orders", ())} <= mine
    assert page(api, "c-8", {"cursor": cursors.encode(position, of="buyer BUYER#c-8")}, party(BUYER)).status == 403


def page(api: Fixture, of: str, query: dict[str, str], authorizer: Any = None) -> Any:
    return api("GET", f"/parties/{of}/orders", query={"role": "buyer", **query}, authorizer=authorizer)


@pytest.mark.parametrize("part", ["x" * 1025, "\ud800", ""])
def test_a_forged_cursor_that_dynamodb_would_not_take_is_refused(api: Fixture, part: str) -> None:
    for place in range(3):
        position = ["a", "b", "c"]
        position[place] = part * 2 if place == 1 else part
        payload = json.dumps(position).encode()
        raw = cursors._checksum(payload, "buyer BUYER#c-1") + payload
        cursor = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        reply = page(api, BUYER, {"cursor": cursor}, party(BUYER))
        assert (reply.status, reply.body["errors"][0]["field"]) == (400, "cursor")


@pytest.mark.parametrize("authorizer", [{"claims": {"sub": "u-1"}}, {"tenant": "acme"}, {"principalId": "x"}])
def test_whoever_is_in_no_group_reads_nothing(api: Fixture, trades: dict[str, Any], authorizer: dict[str, Any]) -> None:
    for path in ("/orders/o-1", "/orders/o-404", "/parties/c-1/orders"):
        reply = api("GET", path, authorizer=authorizer)
        assert (reply.status, reply.body["type"], api.calls) == (403, "urn:gavel:problem:forbidden", [])


def test_a_tenant_of_the_partner_api_is_a_party_like_any_other(api: Fixture, trades: dict[str, Any]) -> None:
    tenant = {"tenant": "acme", "group": "party", "party_id": BUYER}
    assert api("GET", "/invoices/i-b", authorizer=tenant).status == 200
    assert api("GET", "/invoices/i-s", authorizer=tenant).status == 404


def test_nobody_says_himself_which_party_he_is(template: dict[str, Any]) -> None:
    """A client of the pool may write every attribute, unless the template says which."""
    client = template["Resources"]["UserPoolClient"]["Properties"]
    assert client["WriteAttributes"] == ["email"]
    assert "custom:party_id" in client["ReadAttributes"]
    assert template["Resources"]["UserPool"]["Properties"]["AdminCreateUserConfig"] == {
        "AllowAdminCreateUserOnly": True
    }


def test_what_is_kept_with_an_order_is_hidden_with_it_even_if_it_does_not_refer_to_it(contracts: Contracts) -> None:
    shipments = replace(contracts["shipments"], relations=())
    ownership = Ownership(contracts["orders"], {"orders": contracts["orders"], "shipments": shipments})
    tree = {"orders": [{"order_id": "o-1", "buyer_id": BUYER, "seller_id": SELLER}], "shipments": [{"order_id": "o-1"}]}
    assert ownership.visible(tree, BUYER) == tree
    assert ownership.visible(tree, STRANGER) == {"orders": [], "shipments": []}
