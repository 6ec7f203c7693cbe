"""What the log says of whom an answer was shown to, and of which items: by pseudonyms, for staff and auditors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.api.handler import Api
from realtime.api.shown import key_text, named
from realtime.api.store import Store, Unavailable
from realtime.api.summaries import Summaries
from realtime.api.summaries import routes as summary_routes
from realtime.api.trail import Trail
from realtime.api.written import KEY_PLACE
from realtime.listing.lists import Lists
from realtime.listing.routes import routes as list_routes

Fixture = Any
KEY = b"k" * 32
PARTY = {"claims": {"sub": "u-3", "cognito:groups": "party", "custom:party_id": "c-1"}}
CUSTOMER = {
    "customer_id": "c-1", "name": "Ada Example", "email": "ada@example.org", "status": "active",
    "registered_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def desk(api: Fixture, requests_table: Any, order: dict[str, Any]) -> Fixture:
    """The API with all that staff call, a customer and an order with a line; the trail's key is known."""
    store = Store(api.client, requests_table.name)
    requests_table.delete_item(Key={"pk": KEY_PLACE})
    writer = api.api._writer
    more = (
        *list_routes(Lists(writer.entities, writer.store), writer.entities),
        *summary_routes(Summaries(store)),
    )
    api.api = Api(writer, api.receipts, more, trail=Trail(store, new_key=lambda: KEY))
    line = {"order_id": "o-1", "line_number": 2, "lot_id": "l-1", "quantity": 1, "hammer_price": "1250.00"}
    for path, body in (
        ("/customers", CUSTOMER),
        ("/orders", order),
        ("/order_lines", line | {"placed_at": order["placed_at"]}),
    ):
        assert api("POST", path, body).status == 201, path
    return api


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last line of a request."""
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert not any(word in json.dumps(line) for word in ("o-1", "c-1", "Ada", "example.org"))
    return dict(line)


def get(desk: Fixture, resource: str, query: dict[str, str] | None = None, **path: str) -> int:
    event = {
        "resource": resource, "httpMethod": "GET", "pathParameters": path, "headers": {}, "body": None,
        "multiValueQueryStringParameters": {k: [v] for k, v in (query or {}).items()} or None,
        "requestContext": {"requestId": "r-9", "authorizer": desk.authorizer},
    }  # fmt: skip
    return int(desk.send(event).status)


ORDER, LINE, PERSON = ("orders", "o-1"), ("order_lines", "o-1/2"), ("customers", "c-1")


@pytest.mark.parametrize(
    ("resource", "query", "path", "shown"),
    [
        ("/{entity}/{key+}", None, {"entity": "customers", "key": "c-1"}, {PERSON}),
        ("/{entity}/{key+}", None, {"entity": "orders", "key": "o-1"}, {ORDER, LINE}),
        ("/{entity}/{key+}", None, {"entity": "order_lines", "key": "o-1/2"}, {LINE}),
        ("/parties/{party_id}/orders", {"role": "buyer"}, {"party_id": "c-1"}, {PERSON, ORDER}),
        ("/activity", None, {}, {ORDER, PERSON}),
        ("/activity/{order_id}", None, {"order_id": "o-1"}, {ORDER, LINE}),
        ("/lists/{entity}", {"status": "placed"}, {"entity": "orders"}, {ORDER}),
        ("/lists/{entity}", {"name": "Ad"}, {"entity": "customers"}, {PERSON}),
    ],
)
def test_each_read_of_staff_says_who_and_of_which_items(
    desk: Fixture, resource: str, query: Any, path: dict[str, str], shown: set[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(desk, resource, query, **path) == 200
    line = read(capsys)
    expected: dict[str, list[str]] = {}
    for entity, key in sorted(shown):
        expected.setdefault(entity, []).append(named(KEY, entity, key))
    assert {entity: sorted(names) for entity, names in line["read"].items()} == expected
    assert (line["by"], line["group"], line["request_id"]) == ("user:u-1", "staff", "r-9")


def test_an_answer_to_a_write_shows_the_item_too(desk: Fixture, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk("PATCH", "/customers/c-1", {"status": "closed"}).status == 200
    assert read(capsys)["read"] == {"customers": [named(KEY, "customers", "c-1")]}


def test_what_was_not_shown_is_not_said(desk: Fixture, capsys: pytest.CaptureFixture[str]) -> None:
    assert get(desk, "/{entity}/{key+}", entity="customers", key="c-404") == 404
    assert "read" not in read(capsys)
    assert get(desk, "/parties/{party_id}/summary", party_id="c-1") == 404
    assert "read" not in read(capsys)
    desk.authorizer = PARTY
    assert get(desk, "/{entity}/{key+}", entity="orders", key="o-1") == 200
    line = read(capsys)
    assert "read" not in line, "a party reads its own"
    assert (line["by"], line["group"]) == ("user:u-3", "party")


def test_a_key_that_is_not_to_be_had_leaves_how_many_were_shown(
    desk: Fixture, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any) -> None:
        raise Unavailable("throttled")

    monkeypatch.setattr(Trail, "_stored", unavailable)
    monkeypatch.setattr(desk.api._trail, "_key", None)
    assert get(desk, "/{entity}/{key+}", entity="orders", key="o-1") == 200
    line = read(capsys)
    assert line["unsaid"] == 2
    assert "read" not in line


def test_keys_are_distinguished_and_written_as_in_an_address() -> None:
    assert named(KEY, "orders", "o-1") != named(KEY, "orders", "o-10")
    assert named(KEY, "orders", "o-1") != named(KEY, "estimates", "o-1")
    assert key_text(["a/b", 2]) == "a%2Fb/2"
