"""The summary of a party: who may read it, what it is true for, and that it is as the description says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import validator_for

from contracts import summaries
from realtime.api import openapi
from realtime.api.handler import Api
from realtime.api.store import Store
from realtime.api.summaries import Summaries, routes
from tests.support.summaries import create

Fixture = Any
PARTY = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "c-1"}}
TABLE = "gavel-summaries"
SALE = {
    "currency": "EUR",
    "party_group": "new",
    "first_sale_at": "2026-11-21T12:00:00.000000Z",
    "last_sale_at": "2026-11-21T12:00:00.000000Z",
    "sales": 2,
    "net_sales": "1250.00",
    "recent_net_sales": "1250.00",
    "open_invoices": 0,
    "open_amount": "0.00",
    "overdue_amount": "0.00",
}


@pytest.fixture
def served(api: Fixture, dynamodb: Any) -> Iterator[Fixture]:
    """The client of the API, with the routes of summaries over a table without any."""
    create(TABLE)
    api.api = Api(api.api._writer, api.receipts, routes(Summaries(Store(api.client, TABLE))))
    yield api
    dynamodb.plain.delete_table(TableName=TABLE)


def put(api: Fixture, pk: str, **texts: str) -> None:
    item = {"pk": {"S": pk}, **{name: {"S": text} for name, text in texts.items()}}
    api.client.put_item(TableName=TABLE, Item=item)


def summarized(api: Fixture, minute: int = 1) -> None:
    body = {"as_buyer": [SALE], "as_seller": []}
    moment = f"2026-11-21T12:0{minute}:00.000000Z"
    put(api, summaries.item_key("c-1"), summary=json.dumps(body), data_time=moment, digest="d")


def test_a_summary_is_as_described_and_true_for_the_last_run_that_wrote_all(served: Fixture) -> None:
    summarized(served)
    put(served, summaries.STATE, complete="2026-11-21T12:07:00.000000Z", data_time="2026-11-21T12:09:00.000000Z")
    reply = served("GET", "/parties/c-1/summary")
    assert (reply.status, reply.body["as_buyer"], reply.body["as_seller"]) == (200, [SALE], [])
    assert (reply.body["party_id"], reply.body["data_time"]) == ("c-1", "2026-11-21T12:07:00.000000Z")
    assert served.calls == ["get_item", "get_item"], "state first: what is written between is true for later"
    described = openapi.describe(served.api.routes, served.api._entities)
    operation = described["paths"]["/parties/{party_id}/summary"]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator_for({**schema, "components": described["components"]}).validate(reply.body)


def test_a_summary_that_a_run_under_way_has_written_is_true_for_its_data(served: Fixture) -> None:
    summarized(served, minute=8)
    put(served, summaries.STATE, complete="2026-11-21T12:07:00.000000Z")
    assert served("GET", "/parties/c-1/summary").body["data_time"] == "2026-11-21T12:08:00.000000Z"


def test_a_party_reads_its_own_summary_and_no_other(served: Fixture) -> None:
    put(served, summaries.STATE, complete="2026-11-21T12:07:00.000000Z")
    summarized(served)
    assert served("GET", "/parties/c-1/summary", authorizer=PARTY).body["as_buyer"] == [SALE]
    refused = served("GET", "/parties/c-2/summary", authorizer=PARTY)
    assert (refused.status, served.calls) == (403, [])


def test_who_has_nothing_gets_two_empty_lists(served: Fixture) -> None:
    put(served, summaries.STATE, complete="2026-11-21T12:07:00.000000Z")
    for party in ("c-2", "c" * 5000, "state"):
        body = served("GET", f"/parties/{party}/summary").body
        assert body == {"party_id": party, "data_time": "2026-11-21T12:07:00.000000Z", "as_buyer": [], "as_seller": []}


def test_before_the_first_run_nothing_is_said(served: Fixture) -> None:
    put(served, summaries.STATE, data_time="2026-11-21T12:07:00.000000Z")
    reply = served("GET", "/parties/c-1/summary")
    assert (reply.status, reply.body["type"]) == (404, "urn:gavel:problem:not-found")


def test_a_parameter_is_refused(served: Fixture) -> None:
    assert served("GET", "/parties/c-1/summary", query={"role": "buyer"}).status == 400
