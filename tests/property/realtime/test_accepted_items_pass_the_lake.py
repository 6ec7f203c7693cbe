"""What the API accepts lands, and passes the lake's validation: of no writer's item is a row set aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from contracts import Contracts, Field, load_contracts
from contracts.model import DynamoKeys
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
)
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from realtime.api import writes
from realtime.api.entities import Entities
from realtime.api.problems import ApiError
from realtime.api.store import Store
from realtime.api.strict_json import decode
from realtime.api.writer import Writer
from realtime.relay.batch import transform
from tests.support.depth import seeds
from tests.support.dynamodb_model import TableModel
from tests.support.lakes import PARCELS, Clock, Landing, local_lake, published_changes, published_rows


def record(first: int) -> StructType:
    """A record of most types, with ids of fields from `first` on."""
    return StructType(
        (
            Field("name", first, StringType(), required=True, max_length=5),
            Field("count", first + 1, IntegerType(), required=True),
            Field("worth", first + 2, DecimalType(38, 38)),
            Field("day", first + 3, DateType()),
            Field("kind", first + 4, StringType(), enum=("a", "b")),
            Field("deep", first + 5, ListType(first + 6, MapType(first + 7, first + 8, DecimalType(5, 2)))),
        )
    )


CONTRACT = replace(
    PARCELS,
    keys=DynamoKeys(pk="PARCEL#{parcel_id}", sk="PART#{part}"),
    fields=(
        *(f for f in PARCELS.fields if f.name != "items"),
        Field("whole", 50, DecimalType(38, 0)),
        Field("tiny", 51, DecimalType(1, 1)),
        Field("bounded", 52, DecimalType(14, 2), minimum=Decimal(0), maximum=Decimal("9.99")),
        Field("code", 53, StringType(), pattern="^[A-Z]{2}$"),
        Field("record", 54, record(100)),
        Field("records", 55, ListType(56, record(120))),
        Field("named", 57, MapType(58, 59, record(140))),
        Field("seen", 70, ListType(71, BooleanType())),
        Field("number", 72, IntegerType()),
    ),
)
CONTRACTS = Contracts({**load_contracts(), "parcels": CONTRACT})

TEXTS = [
    "",
    " ",
    "a",
    "Ab",
    "EUR",
    "\ufeffx",
    "\u00a0",
    "\u2028",
    "\x01",
    "\x1f",
    "\x7f",
    "\x85",
    "\ue000",
    "\ufffe",
    "\U0010ffff",
    "e\u0301",
    "\U0001f468\u200d\U0001f469",
    "\ud7ff",
    "null",
    "NULL",
    "None",
    "true",
    "'",
    '"',
    "\\",
    "\\u0000",
    "{}",
    "[]",
    "\r\n",
    "\t",
    "-0",
    "NaN",
    "a" * 41,
]
NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "0e5",
    "-0E-3",
    "1",
    "-1",
    "1.0",
    "1.50",
    "1e2",
    "1E-1",
    "1.5e1",
    "100e-2",
    "1e37",
    "1e38",
    "-9.99",
    "9.99",
    "9" * 38,
    "-" + "9" * 38,
    "0." + "9" * 38,
    "-0." + "0" * 37 + "1",
    "99999999999.99",
    "999999999999.99",
    "1000000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775807",
    "9223372036854775808",
    "0.1",
    "-0.9",
    "1" + "0" * 27 + ".0",
    "9" * 28 + ".0123456789",
    "00.5",
    "0.10",
    "5e-1",
    "1e-38",
]
MOMENTS = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.000001Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59+23:59",
    "1969-12-31T23:59:59.9Z",
    "1970-01-01T00:00:00-00:00",
    "2026-11-21T01:02:03.4+05:30",
    "1582-10-10T00:00:00Z",
    "2000-02-29T12:00:00Z",
    "2262-04-12T00:00:00Z",
    "1677-09-21T00:00:00Z",
    "0999-06-01T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "0001-01-01T00:00:00+00:01",
]
DAYS = ["0001-01-01", "9999-12-31", "1582-10-10", "2000-02-29", "1900-02-29", "1970-01-01", "0999-12-31"]


def text_of(random: Random, type_: FieldType, depth: int = 0) -> str:
    """The JSON of a value that a field of the type may be sent, valid or just not."""
    if random.random() < 0.05:
        return random.choice(["null", "true", '""', "[]", "{}", "0"])
    match type_:
        case StringType():
            return json.dumps(random.choice(TEXTS), ensure_ascii=random.random() < 0.5)
        case IntegerType() | DecimalType():
            number = random.choice(NUMBERS)
            is_text = random.random() < 0.5 or (number.lstrip("-").startswith("00"))
            return json.dumps(number) if is_text and not isinstance(type_, IntegerType) else number
        case BooleanType():
            return random.choice(["true", "false"])
        case DateType():
            return json.dumps(random.choice(DAYS))
        case ListType(element=inner):
            return f"[{','.join(text_of(random, inner, depth + 1) for _ in range(random.choice((0, 1, 3))))}]"
        case MapType(value=inner):
            keys = random.sample([t for t in TEXTS if t], random.choice((0, 1, 3)))
            return "{" + ",".join(f"{json.dumps(k)}:{text_of(random, inner, depth + 1)}" for k in keys) + "}"
        case StructType(fields):
            return object_of(random, [f for f in fields if f.required or random.random() < 0.6], depth)
        case _:
            return json.dumps(random.choice(MOMENTS))


def object_of(random: Random, fields: list[Field], depth: int = 0) -> str:
    def value(field: Field) -> str:
        if random.random() < 0.6 and (field.enum or field.pattern):
            return json.dumps(random.choice(field.enum) if field.enum else "DE")
        return text_of(random, field.type, depth)

    return "{" + ",".join(f"{json.dumps(f.name)}:{value(f)}" for f in fields) + "}"


def written(random: Random, count: int) -> TableModel:
    """The table after so many items of random bodies, each created with few fields and patched field by field."""
    table = TableModel(lambda: 1_795_222_923_000_000)
    writer = Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    optional = [f for f in CONTRACT.fields if not f.required]
    for number in range(count):
        moment = random.choice(MOMENTS)
        body = {"parcel_id": f"p-{number}", "part": number, "sent_at": moment}
        calls: list[Callable[[], Any]] = [lambda body=body: writes.create(writer, CONTRACT, body)]  # type: ignore[misc]
        key = {"parcel_id": f"p-{number}", "part": number}
        for field in random.sample(optional, 8):
            text = object_of(random, [field])
            calls.append(lambda text=text, key=key: writes.change(writer, CONTRACT, key, decode(text), None))  # type: ignore[misc]
        for call in calls:
            try:
                call()
            except ApiError as refusal:
                assert refusal.status in (400, 404, 413, 422), refusal.kind  # noqa: PT017
    return table


@pytest.mark.parametrize("seed", seeds(3))
def test_no_row_of_what_the_api_accepted_is_set_aside(tmp_path: Path, seed: int) -> None:
    table = written(Random(seed), 150)
    batch = transform(table.records, CONTRACTS)
    assert batch.rejected == []
    lines = [
        orjson.loads(line) for record in batch.aggregations["parcels"].records() for line in record.data.splitlines()
    ]
    lake = local_lake(tmp_path / "lake", Clock())
    Landing(lake, CONTRACT).land(lines)
    result = compact(lake, CONTRACT, Scope.everything())
    publish(lake, CONTRACT)
    assert (result.held, result.failing) == ((), ())
    assert result.counts.quarantined == 0
    assert result.counts.read == len(lines) == len(table.records) > 500
    assert len(published_rows(lake, CONTRACT)) == len(table.items)
    assert len(published_changes(lake, CONTRACT)) == len(lines)
