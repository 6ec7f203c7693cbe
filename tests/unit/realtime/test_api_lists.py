"""Lists across all parties: what was written last, by status, by name, and who wrote what of an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema_rs import validator_for

from realtime.api import openapi
from realtime.api.handler import Api
from realtime.listing.lists import Lists
from realtime.listing.routes import routes

STAFF = {"claims": {"sub": "u-1", "cognito:groups": "staff"}}
AT = "2026-11-21T01:02:03Z"


class Listed:
    """The API with its lists; what it answers fits its description."""

    def __init__(self, api: Any) -> None:
        self.write = api
        entities = api.api._entities
        api.api = Api(api.api._writer, api.receipts, routes(Lists(entities, api.api._writer.store), entities))
        self._document = openapi.describe(api.api.routes, entities)

    def get(
        self, resource: str, query: Mapping[str, str] | None = None, who: Any = STAFF, **path: str
    ) -> tuple[int, dict[str, Any]]:
        event = {"resource": resource, "httpMethod": "GET", "pathParameters": path or None, "headers": {}}
        event |= {"multiValueQueryStringParameters": {k: [v] for k, v in (query or {}).items()} or None}
        reply = self.write.send({**event, "requestContext": {"requestId": "r", "authorizer": who}})
        if reply.status == 200:
            answer = self._document["paths"][resource]["get"]["responses"]["200"]["content"]["application/json"]
            validator_for(answer["schema"]).validate(reply.body)
        return reply.status, reply.body

    def keys(self, resource: str, query: Mapping[str, str] | None = None, **path: str) -> list[str]:
        status, body = self.get(resource, query, **path)
        assert status == 200, body
        return [f"{row['entity']} {row['key']}" for row in body["rows"]]


@pytest.fixture
def listed(api: Any) -> Listed:
    return Listed(api)


def order(status: str, buyer: str = "c-1") -> dict[str, Any]:
    amounts = {"hammer_price": "5", "currency": "EUR"}
    return {"buyer_id": buyer, "seller_id": "c-2", "status": status, "placed_at": AT, **amounts}


def customer(name: str) -> dict[str, Any]:
    return {"name": name, "email": "a@example.com", "status": "active", "registered_at": AT}


def test_what_was_written_last_comes_first_and_only_once(listed: Listed) -> None:
    listed.write("PUT", "/orders/o-1", order("placed"))
    listed.write("PUT", "/orders/o-2", order("placed"))
    listed.write("PUT", "/customers/c-1", customer("Ann"))
    listed.write("PATCH", "/orders/o-1", {"status": "paid"})
    assert listed.keys("/activity") == ["orders o-1", "customers c-1", "orders o-2"]
    _, body = listed.get("/activity", {"limit": "1"})
    assert (len(body["rows"]), body["more"]) == (1, True)
    first = body["rows"][0]
    assert (first["by"], first["item"]["status"]) == ("user:u-1", "paid")
    listed.write("PATCH", "/orders/o-2", {"hammer_price": "6"})
    assert listed.keys("/activity", {"since": str(first["version"])}) == ["orders o-2"], (
        "a change of another field, too"
    )
    listed.write("DELETE", "/orders/o-2")
    assert "orders o-2" not in listed.keys("/activity")


def test_an_item_is_in_the_list_of_its_status_and_in_no_other(listed: Listed) -> None:
    for number in range(5):
        listed.write("PUT", f"/orders/o-{number}", order("paid"))
    listed.write("PATCH", "/orders/o-3", {"status": "shipped"})
    assert listed.keys("/lists/{entity}", {"status": "shipped"}, entity="orders") == ["orders o-3"]
    seen, cursor = [], None
    while True:
        query = {"status": "paid", "limit": "3", **({"cursor": cursor} if cursor else {})}
        _, body = listed.get("/lists/{entity}", query, entity="orders")
        seen += [row["key"] for row in body["rows"]]
        cursor = body["cursor"]
        if cursor is None:
            break
    assert seen == ["o-4", "o-2", "o-1", "o-0"]
    _, page = listed.get("/lists/{entity}", {"status": "paid", "limit": "1"}, entity="orders")
    other = {"status": "shipped", "cursor": page["cursor"]}
    assert listed.get("/lists/{entity}", other, entity="orders")[0] == 400, "a cursor is good for its own list"


@pytest.mark.parametrize("typed", ["müller", "MULLER an", "Mu\u0308ller  Ann"])
def test_a_party_is_found_by_how_its_name_begins_whatever_the_case_and_accents(listed: Listed, typed: str) -> None:
    listed.write("PUT", "/customers/c-1", customer("Müller Anna"))
    listed.write("PUT", "/customers/c-2", customer("Anna Müller"))
    assert listed.keys("/lists/{entity}", {"name": typed}, entity="customers") == ["customers c-1"]
    listed.write("PATCH", "/customers/c-1", {"name": "Maier"})
    assert listed.keys("/lists/{entity}", {"name": typed}, entity="customers") == [], "the name that it had is gone"


def test_names_of_every_script_and_length_are_found(listed: Listed) -> None:
    title = "مزهرية زجاجية نادرة " * 15
    lot = {"seller_id": "c-2", "category": "glass", "currency": "EUR", "status": "open", "listed_at": AT}
    assert listed.write("PUT", "/lots/l-1", {**lot, "title": title[:300]}).status == 201
    assert listed.write("PUT", "/lots/l-2", {**lot, "title": "50% of #1 {x}"}).status == 201
    assert listed.keys("/lists/{entity}", {"name": "مزهرية"}, entity="lots") == ["lots l-1"]
    assert listed.keys("/lists/{entity}", {"name": "50% of #"}, entity="lots") == ["lots l-2"]


def test_lists_carry_no_personal_data_but_the_name_that_was_searched(listed: Listed) -> None:
    listed.write("PUT", "/customers/c-1", customer("Ann"))
    for resource, query, path, shown in (
        ("/activity", {}, {}, set()),
        ("/lists/{entity}", {"status": "active"}, {"entity": "customers"}, set()),
        ("/lists/{entity}", {"name": "an"}, {"entity": "customers"}, {"name"}),
    ):
        _, body = listed.get(resource, query, **path)
        assert {"name", "email", "phone"}.intersection(body["rows"][0]["item"]) == shown


@pytest.mark.parametrize(
    ("resource", "path"),
    [("/activity", {}), ("/activity/{order_id}", {"order_id": "o-1"}), ("/lists/{entity}", {"entity": "orders"})],
)
def test_a_party_lists_nothing_not_even_its_own(listed: Listed, resource: str, path: dict[str, str]) -> None:
    listed.write("PUT", "/orders/o-1", order("paid"))
    party = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "c-1"}}
    assert listed.get(resource, {"status": "paid"} if "entity" in path else None, who=party, **path)[0] == 403


def test_a_party_whose_id_is_a_status_owns_no_order_of_that_status(listed: Listed) -> None:
    listed.write("PUT", "/orders/o-1", order("paid"))
    party = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "paid"}}
    assert listed.write("GET", "/orders/o-1", authorizer=party).status == 404


def test_who_wrote_each_item_of_an_order_last_is_known_of_deleted_ones_too(listed: Listed) -> None:
    listed.write("PUT", "/orders/o-1", order("paid"))
    payment = {"order_id": "o-1", "kind": "capture", "method": "card", "currency": "EUR", "amount": "5"}
    payment |= {"status": "settled", "created_at": AT}
    other = {"claims": {"sub": "u-9", "cognito:groups": "staff"}}
    assert listed.write("PUT", "/payments/p-1", payment, authorizer=other).status == 201
    listed.write("DELETE", "/payments/p-1", authorizer=other)
    _, body = listed.get("/activity/{order_id}", order_id="o-1")
    found = {(row["entity"], row["key"], row["by"], row["deleted"]) for row in body["rows"]}
    assert found == {("orders", "o-1", "user:u-1", False), ("payments", "p-1", "user:u-9", True)}
    assert listed.get("/activity/{order_id}", order_id="o-2")[0] == 404


@pytest.mark.parametrize(
    ("entity", "query"),
    [
        ("orders", {"status": "no"}),
        ("orders", {"name": "ann"}),
        ("bids", {"status": "accepted"}),
        ("customers", {"name": " a"}),
        ("customers", {}),
        ("customers", {"name": "ann", "status": "active"}),
        ("customers", {"status": "active", "limit": "101"}),
        ("customers", {"status": "active", "cursor": "AAAA"}),
    ],
)
def test_what_no_index_answers_is_refused(listed: Listed, entity: str, query: dict[str, str]) -> None:
    assert listed.get("/lists/{entity}", query, entity=entity)[0] == 400
