"""The description that the API serves: of every route and entity, in step with the template, and valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from contracts import Contracts
from contracts.compact import dump_compact
from realtime.api import handler

Fixture = Any


@pytest.fixture
def document(api: Fixture) -> dict[str, Any]:
    reply = api.send(
        {
            "resource": "/openapi.json",
            "httpMethod": "GET",
            "requestContext": {"authorizer": {"tenant": "acme", "group": "party", "party_id": "c-1"}},
        }
    )
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    return reply.body


@pytest.fixture
def wired(contracts: Contracts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: dict[str, Any]) -> Any:
    """The API as the function makes it from what the template tells it."""
    variables = template["Resources"]["ApiFunction"]["Properties"]["Environment"]["Variables"]
    for name in variables:
        monkeypatch.setenv(name, "test")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_LAMBDA_FUNCTION_VERSION"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    path = tmp_path / "contracts.json"
    path.write_bytes(dump_compact(contracts))
    monkeypatch.setattr(handler, "CONTRACTS", path)
    return handler._api.__wrapped__()


def test_the_gateway_has_the_routes_that_the_function_serves(wired: handler.Api, template: dict[str, Any]) -> None:
    events = template["Resources"]["ApiFunction"]["Properties"]["Events"].values()
    in_template = {(e["Properties"]["Method"], e["Properties"]["Path"]) for e in events if e["Type"] == "Api"}
    assert in_template == {(r.method, r.resource) for r in wired.routes}


def test_every_entity_has_its_operations(document: dict[str, Any], contracts: Contracts) -> None:
    for contract in contracts.of_origin("stream"):
        key = "/".join("{" + n + "}" for n in contract.primary_key)
        assert set(document["paths"][f"/{contract.name}"]) == {"post"}
        assert set(document["paths"][f"/{contract.name}/{key}"]) == {"get", "put", "patch", "delete"}
    for contract in contracts.of_origin("files"):
        assert f"/{contract.name}" not in document["paths"]
    assert not [path for path in document["paths"] if "{entity}" in path]


def test_names_of_operations_are_unique(document: dict[str, Any]) -> None:
    names = [o["operationId"] for operations in document["paths"].values() for o in operations.values()]
    assert len(names) == len(set(names))


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}), name


def test_every_write_takes_an_idempotency_key_and_tells_of_it(document: dict[str, Any]) -> None:
    writes = [
        o
        for operations in document["paths"].values()
        for method, o in operations.items()
        if method in ("post", "put", "patch", "delete")
    ]
    assert writes
    for operation in writes:
        assert "Idempotency-Key" in {p["name"] for p in operation["parameters"]}
        done = [a for status, a in operation["responses"].items() if status.startswith("2")]
        assert all("Idempotency-Replayed" in a["headers"] for a in done)


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ("orders.whole", {}, False),
        ("orders.rest", {"order_id": "o-1"}, False),
        ("orders.partial", {"status": "paid"}, True),
        ("orders.partial", {"status": None}, False),
        ("orders.partial", {"buyers_premium": None}, True),
        ("orders.partial", {}, False),
        ("orders.partial", {"curency": "EUR"}, False),
        ("problem", {"type": "urn:gavel:problem:x", "title": "t", "status": 400, "detail": "d", "instance": "i"}, True),
        ("problem", {"type": "about:blank", "title": "t", "status": 400, "detail": "d", "instance": "i"}, False),
    ],
)
def test_schemas_say_what_the_api_does(document: dict[str, Any], schema: str, value: Any, fits: bool) -> None:
    assert jsonschema_rs.is_valid(document["components"]["schemas"][schema], value) is fits


def test_what_the_api_answers_fits_its_schemas(
    api: Fixture, document: dict[str, Any], order: dict[str, Any], payment: dict[str, Any]
) -> None:
    root = {"components": document["components"]}
    created = api(
        "POST", "/orders", order | {"hammer_price": "1250.000", "fees": [{"kind": "x", "payer": "buyer", "amount": 0}]}
    )
    api("POST", "/payments", payment)
    answers = {
        "orders.item": created.body,
        "orders.read": api("GET", "/orders/o-1").body,
        "payments.read": api("GET", "/payments/p-1").body,
        "page": api("GET", "/parties/c-1/orders", query={"role": "buyer"}).body,
        "problem": api("POST", "/orders", order).body,
    }
    for name, body in answers.items():
        jsonschema_rs.validate({**root, "$ref": f"#/components/schemas/{name}"}, body)
    assert created.body["hammer_price"] == "1250.00"
