"""An order of any size is read page by page, and what is not the reader's looks like what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.item import item_keys
from realtime.api import order_pages as rules
from realtime.api.items import new_item

Fixture = Any

BUYER, SELLER, STRANGER = "c-1", "c-2", "c-3"
PLACED = "2026-11-21T01:02:03Z"


def party(party_id: str) -> dict[str, Any]:
    return {"claims": {"sub": f"u-{party_id}", "cognito:groups": "party", "custom:party_id": party_id}}


def fill(api: Fixture, contracts: Any, entity: str, rows: list[dict[str, Any]]) -> None:
    """Put items past the API, many at once."""
    contract = contracts[entity]
    for start in range(0, len(rows), 25):
        written = [new_item(contract, row, item_keys(contract, row), 1) for row in rows[start : start + 25]]
        puts = [{"PutRequest": {"Item": item}} for item in written]
        api.whole.batch_write_item(RequestItems={api.table.name: puts})


def lines(count: int, text: str = "l-1") -> list[dict[str, Any]]:
    same = {"order_id": "o-1", "lot_id": text, "quantity": 1, "hammer_price": "5", "placed_at": PLACED}
    return [same | {"line_number": n} for n in range(1, count + 1)]


def walk(api: Fixture, query: dict[str, str], authorizer: Any = None) -> list[dict[str, Any]]:
    pages = []
    while True:
        reply = api("GET", "/orders/o-1", query=query, authorizer=authorizer)
        assert reply.status == 200, reply.body
        assert len(api.calls) <= 2 + rules.PARTYS_BELONGINGS
        pages.append(reply.body)
        if "cursor" not in reply.body:
            return pages
        query = query | {"cursor": reply.body["cursor"]}


def test_an_order_of_thousands_of_lines_is_paged(api: Fixture, contracts: Any, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    fill(api, contracts, "order_lines", lines(2500))
    first = api("GET", "/orders/o-1")
    assert len(first.body["order_lines"]) <= rules.MAX_BELONGINGS
    assert first.headers["Content-Type"] == "application/json"
    pages = walk(api, {})
    assert [line["line_number"] for page in pages for line in page["order_lines"]] == list(range(1, 2501))
    assert {page["order"]["order_id"] for page in pages} == {"o-1"}
    assert len(pages) == 3


@pytest.mark.parametrize("who", [None, BUYER, SELLER])
@pytest.mark.parametrize("limit", ["1", "2", "3", "7"])
def test_pages_of_any_size_make_up_the_order(
    api: Fixture, contracts: Any, order: dict[str, Any], payment: dict[str, Any], who: str | None, limit: str
) -> None:
    invoice = {"order_id": "o-1", "currency": "EUR", "total_amount": "9", "tax_amount": "1", "status": "issued"}
    invoice |= {"issued_at": PLACED}
    line = {"order_id": "o-1", "kind": "fee", "amount": "9", "issued_at": PLACED}
    api("POST", "/orders", order)
    fill(api, contracts, "order_lines", lines(5))
    for name, owner, role in (("i-b", BUYER, "buyer"), ("i-s", SELLER, "seller")):
        api("PUT", f"/invoices/{name}", invoice | {"party_id": owner, "role": role})
        for number in (1, 2, 3):
            api("PUT", f"/invoice_lines/{name}/{number}", line)
        api("PUT", f"/payments/p-{name}", payment | {"payment_id": f"p-{name}", "invoice_id": name})
    api("PUT", "/payments/p-gone", payment | {"payment_id": "p-gone", "invoice_id": "i-gone"})
    api("DELETE", "/order_lines/o-1/3")
    authorizer = None if who is None else party(who)
    whole = api("GET", "/orders/o-1", authorizer=authorizer).body
    assert "cursor" not in whole
    pages = walk(api, {"limit": limit}, authorizer)
    joined = {name: [i for page in pages for i in page[name]] for name in whole if name != "order"}
    assert joined == {name: items for name, items in whole.items() if name != "order"}
    assert {page["order"]["_version"] for page in pages} == {whole["order"]["_version"]}


def test_a_page_of_odd_characters_fits_into_an_answer(api: Fixture, contracts: Any, order: dict[str, Any]) -> None:
    """A megabyte of the table can be six as JSON."""
    api("POST", "/orders", order)
    odd = lines(12, "\x01" * 80_000)
    fill(api, contracts, "order_lines", odd)
    pages = walk(api, {})
    assert [line["line_number"] for page in pages for line in page["order_lines"]] == list(range(1, 13))
    assert len(pages) > 1


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "01"}, {"cursor": "x"}, {"page": "2"}])
def test_a_bad_parameter_of_an_order_is_named(api: Fixture, order: dict[str, Any], query: dict[str, str]) -> None:
    api("POST", "/orders", order)
    reply = api("GET", "/orders/o-1", query=query)
    assert (reply.status, reply.body["errors"][0]["field"]) == (400, next(iter(query)))


def test_a_cursor_of_an_order_opens_no_other_one(api: Fixture, contracts: Any, order: dict[str, Any]) -> None:
    for name in ("o-1", "o-2"):
        api("POST", "/orders", order | {"order_id": name, "seller_id": STRANGER if name == "o-2" else SELLER})
    fill(api, contracts, "order_lines", lines(3))
    cursor = api("GET", "/orders/o-1", query={"limit": "1"}).body["cursor"]
    assert api("GET", "/orders/o-2", query={"cursor": cursor}).status == 400
    assert api("GET", "/orders/o-1", query={"cursor": cursor}, authorizer=party(STRANGER)).status == 404
    assert api("GET", "/customers/c-1", query={"cursor": cursor}).status == 400


READS = [
    ("/orders/{}", "o-1", "o-404"),
    ("/order_lines/{}/1", "o-1", "o-404"),
    ("/invoices/{}", "i-s", "i-404"),
    ("/invoice_lines/{}/1", "i-s", "i-404"),
    ("/payments/{}", "p-1", "p-404"),
    ("/payments/{}", "p-s", "p-404"),
    ("/shipments/{}", "s-1", "s-404"),
]


@pytest.mark.parametrize(("path", "foreign", "missing"), READS)
@pytest.mark.parametrize("who", [STRANGER, BUYER])
def test_what_is_not_the_partys_takes_the_calls_of_what_is_not_there(
    api: Fixture, contracts: Any, order: dict[str, Any], payment: dict[str, Any], who: str, path: str, foreign: str,
    missing: str,
) -> None:  # fmt: skip
    api("POST", "/orders", order)
    fill(api, contracts, "order_lines", lines(rules.PARTYS_BELONGINGS + 50))  # more than one page of a party's
    invoice = {"order_id": "o-1", "currency": "EUR", "total_amount": "9", "tax_amount": "1", "status": "issued"}
    api("PUT", "/invoices/i-s", invoice | {"party_id": SELLER, "role": "seller", "issued_at": PLACED})
    line = {"order_id": "o-1", "kind": "fee", "amount": "9", "issued_at": PLACED}
    api("PUT", "/invoice_lines/i-s/1", line)
    api("PUT", "/payments/p-1", payment)
    api("PUT", "/payments/p-s", payment | {"payment_id": "p-s", "invoice_id": "i-s"})
    shipment = {"order_id": "o-1", "carrier": "dhl", "cost": "5", "currency": "EUR", "status": "packed"}
    api("PUT", "/shipments/s-1", shipment | {"created_at": PLACED})
    api("GET", path.format(missing), authorizer=party(who))
    calls = list(api.calls)
    reply = api("GET", path.format(foreign), authorizer=party(who))
    if reply.status == 404:
        assert api.calls == calls
    else:
        assert who == BUYER


def test_every_item_that_a_party_cannot_see_is_among_those_that_were_timed(api: Fixture) -> None:
    timed = {path.split("/")[1] for path, _, _ in READS}
    assert timed == {c.name for c in api.api._writer.entities.kept_with_orders.values()}
