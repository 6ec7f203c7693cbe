"""Who wrote an item: every write says it, in the item and in the log, and no client can say it for himself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.api import writes
from realtime.api.writer import Writer

Fixture = Any

OTHER = {"tenant": "acme", "group": "staff"}
NOBODY = {"claims": {"cognito:groups": "staff"}}


def by(api: Fixture, pk: str = "ORDER#o-1", sk: str = "ORDER") -> str | None:
    attribute = api.item(pk, sk).get("_by")
    return None if attribute is None else attribute["S"]


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k-1"}])
def test_every_write_says_who_wrote(api: Fixture, order: dict[str, Any], key: dict[str, str]) -> None:
    keys = ({name: f"{text}-{n}" for name, text in key.items()} for n in range(9))
    api("POST", "/orders", order, headers=next(keys))
    assert by(api) == "user:u-1"
    api("PATCH", "/orders/o-1", {"status": "paid"}, headers=next(keys), authorizer=OTHER)
    assert by(api) == "tenant:acme"
    api("PUT", "/orders/o-1", order, headers=next(keys))
    assert by(api) == "user:u-1"
    api("PATCH", "/orders/o-1", {"buyer_id": "c-9"}, headers=next(keys), authorizer=OTHER)  # reads the item first
    assert by(api) == "tenant:acme"
    api("DELETE", "/orders/o-1", headers=next(keys))
    assert by(api) == "user:u-1"


def test_a_write_says_it_of_the_item_that_it_copies_to(
    api: Fixture, order: dict[str, Any], estimate: dict[str, Any]
) -> None:
    api("POST", "/orders", order)
    for method, path, body in (
        ("POST", "/estimates", estimate),
        ("PUT", "/estimates/e-1", estimate),
        ("PATCH", "/estimates/e-1", {"quote_version": 3}),
    ):
        api("PATCH", "/orders/o-1", {"status": "paid"})
        assert by(api) == "user:u-1"
        assert api(method, path, body, authorizer=OTHER).status < 300
        assert by(api) == "tenant:acme", method


def test_a_write_of_nobody_leaves_no_earlier_name_behind(api: Fixture, contracts: Any, order: dict[str, Any]) -> None:
    api("POST", "/orders", order)
    writer: Writer = api.api._writer
    writes.change(writer, contracts["orders"], {"order_id": "o-1"}, {"status": "paid"}, None)
    assert by(api) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_client_can_set_it_and_no_answer_shows_it(api: Fixture, order: dict[str, Any], method: str) -> None:
    path = "/orders" if method == "POST" else "/orders/o-1"
    reply = api(method, path, order | {"_by": "user:somebody"})
    assert (reply.status, reply.body["errors"][0]["field"]) == (422, "_by")
    api("PUT", "/orders/o-1", order)
    assert "_by" not in json.dumps(api("GET", "/orders/o-1").body)


def test_the_log_says_who_called_by_pseudonym(
    api: Fixture, order: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    named = {"claims": {"sub": "u-1", "cognito:groups": "staff", "email": "a@b.example", "cognito:username": "anna"}}
    api("POST", "/orders", order, authorizer=named)
    api("GET", "/orders/o-1", authorizer=OTHER)
    assert api("GET", "/orders/o-1", authorizer=NOBODY).status == 403
    text = capsys.readouterr().out
    assert [json.loads(line)["by"] for line in text.splitlines()] == ["user:u-1", "tenant:acme", None]
    assert "anna" not in text
    assert "b.example" not in text
