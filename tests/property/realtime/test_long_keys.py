"""Whatever is written or requested, no key reaches the table that it would not take: that is the client's fault."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import Contracts, load_contracts
from contracts.types import IntegerType
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.idempotency import Receipts
from realtime.api.problems import ApiError
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.imports.field_timestamps import timestamp_of
from realtime.imports.merge import merge
from tests.support.depth import examples
from tests.support.dynamodb_model import TableModel

CONTRACTS = Contracts(
    {
        name: replace(contract, fields=tuple(replace(f, max_length=None) for f in contract.fields))
        for name, contract in load_contracts().items()
    }
)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENTITIES = [c.name for c in CONTRACTS.of_origin("stream")]
SAMPLES = {"placed_at": "2026-11-20T01:02:03Z", "currency": "EUR", "country": "GB", "line_number": 1}

texts = st.builds(
    lambda c, n: c * n, st.sampled_from(["x", "é", "#", "\U0001f600"]), st.sampled_from([1, 340, 700, 1100, 2100])
)


def sample(contract: Any, long: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for f in contract.fields:
        if f.required or f.name.endswith("_id"):
            plain = (
                f.enum[0] if f.enum else SAMPLES.get(f.name, "2026-11-20T01:02:03Z" if f.name.endswith("_at") else "1")
            )
            values[f.name] = int(plain) if isinstance(f.type, IntegerType) else plain
    return values | {
        n: t for n, t in long.items() if n in values and not isinstance(contract.field(n).type, IntegerType)
    }


@settings(max_examples=examples(150), deadline=None)
@given(
    st.sampled_from(ENTITIES),
    st.dictionaries(
        st.sampled_from(sorted({n for e in ENTITIES for n in CONTRACTS[e].field_names if n.endswith("_id")})),
        texts,
        min_size=1,
        max_size=3,
    ),
    texts,
)
def test_a_key_that_is_too_long_is_refused_before_the_table_is_read(
    entity: str, long: dict[str, str], party: str
) -> None:
    contract = CONTRACTS[entity]
    table = TableModel(lambda: 1_795_222_923_000_000)
    writer = Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    api = Api(writer, Receipts(Store(TableModel(lambda: 0), "r")))  # type: ignore[arg-type]
    short, body = sample(contract, {}), sample(contract, long)
    paths = ["/".join(quote(str(v[n]), safe="") for n in contract.primary_key) for v in (short, body)]
    patch = {n: v for n, v in body.items() if n in long and n not in contract.immutable}

    def ask(method: str, resource: str, parameters: dict[str, str], content: Any = None, **query: list[str]) -> int:
        answer = api.answer(
            {
                "resource": resource, "httpMethod": method, "pathParameters": parameters, "headers": {},
                "requestContext": {"requestId": "r", "authorizer": {"claims": {"sub": "u", "cognito:groups": "staff"}}},
                "multiValueQueryStringParameters": query or None,
                "body": None if content is None else json.dumps(content),
            }
        )  # fmt: skip
        return int(answer["statusCode"])

    found = [ask("POST", "/{entity}", {"entity": entity}, v) for v in (short, body)]
    for path in paths:
        here = {"entity": entity, "key": path}
        found += [ask("GET", "/{entity}/{key+}", here), ask("PATCH", "/{entity}/{key+}", here, patch or {"x": 1})]
        found += [ask("PUT", "/{entity}/{key+}", here, body), ask("DELETE", "/{entity}/{key+}", here)]
    if len(party) > 500:
        found.append(ask("GET", "/parties/{party_id}/orders", {"party_id": quote("é" * 1100)}, role=["buyer"]))
    assert 500 not in found, found
    for values in (short, body, {**short, **patch}):
        with suppress(ApiError):
            merge(writer, contract, values, timestamp_of(NOON, "1"))
