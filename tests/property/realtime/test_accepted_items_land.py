"""What the API and the imports accept, the relay can send: no item waits among its failures for ever."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from contracts import Contracts, load_contracts
from contracts.change import CHANGE_COLUMNS, change_from_record
from contracts.item import landed_size
from contracts.model import Contract
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from realtime.api import items, writes
from realtime.api.entities import Entities
from realtime.api.problems import ApiError
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.imports.field_timestamps import timestamp_of
from realtime.imports.merge import merge
from realtime.relay.batch import MAX_RECORD_BYTES, transform
from tests.support.depth import examples
from tests.support.dynamodb_model import TableModel


def without_lengths(contract: Contract) -> Contract:
    """The contract with text of any length, as another entity may have it, but for what keys are made of."""
    free = {f.name for f in contract.fields} - {*contract.immutable, *(r.field for r in contract.relations)}
    return replace(
        contract, fields=tuple(replace(f, max_length=None) if f.name in free else f for f in contract.fields)
    )


CONTRACTS = Contracts({name: without_lengths(contract) for name, contract in load_contracts().items()})
ENTITIES = {c.name: c for c in CONTRACTS.of_origin("stream")}
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WIDE = ("\u0001", '"', "\\", "\n", "\u007f", "é", "\U0001f600", "a")  # in JSON, and again in the JSON of a nested field
SIZES = (0, 1, 300, 600, 2_100, 60_000, 130_000, 250_000)


def accepted(draw: st.DrawFn, field: Field, type_: FieldType) -> Any:
    """A value that the field takes, of odd characters where it is free."""
    match type_:
        case IntegerType():
            return int(field.minimum or 1)
        case DecimalType():
            return "0.1" if field.maximum == 1 else "1"
        case TimestampType():
            return "2026-11-20T01:02:03Z"
        case DateType():
            return "2026-11-20"
        case BooleanType():
            return True
        case ListType(element=element):
            count = draw(st.sampled_from((0, 1, 40, 3_000)))
            return [accepted(draw, field, element)] * count
        case MapType(value=value):
            return {draw(st.sampled_from(WIDE)) * 200: accepted(draw, field, value)}
        case StructType(fields):
            return {f.name: accepted(draw, f, f.type) for f in fields}
        case _:
            if field.enum or field.pattern:
                known = {"^[A-Z]{3}$": "EUR", "^[A-Z]{2}$": "DE"}
                return field.enum[0] if field.enum else known.get(field.pattern or "", "a@b.example")
            size = draw(st.sampled_from(SIZES)) if type_ is field.type else draw(st.sampled_from((1, 40, 300)))
            return draw(st.sampled_from(WIDE)) * min(max(size, int(field.required)), field.max_length or size)


def values(draw: st.DrawFn, contract: Contract, *, only_some: bool) -> dict[str, Any]:
    fixed = {*contract.primary_key, *contract.immutable}
    chosen = {f.name: accepted(draw, f, f.type) for f in contract.fields if not only_some or draw(st.booleans())}
    ids = {n: "x" if not isinstance(contract.field(n).type, IntegerType) else 1 for n in contract.primary_key}
    owned = {n: "x" for n in fixed if n.endswith("_id")}
    parties = {n: "c-1" for n in chosen if n.endswith("_id") and n not in fixed and draw(st.booleans())}
    return {**chosen, **parties, **{n: v for n, v in {**owned, **ids}.items() if not only_some or n in ids}}


@st.composite
def histories(draw: st.DrawFn) -> tuple[Contract, list[tuple[str, dict[str, Any]]]]:
    contract = ENTITIES[draw(st.sampled_from(sorted(ENTITIES)))]
    steps: list[tuple[str, dict[str, Any]]] = []
    for number in range(draw(st.integers(1, 6))):
        way = draw(st.sampled_from(["put", "patch", "merge"] if number else ["put", "merge"]))
        steps.append((way, values(draw, contract, only_some=number > 0 and way != "put")))
    return contract, steps


@settings(max_examples=examples(60), deadline=None)
@given(histories())
def test_whatever_is_accepted_can_be_sent(history: tuple[Contract, list[tuple[str, dict[str, Any]]]]) -> None:
    contract, steps = history
    table = TableModel(lambda: 1_795_222_923_000_000)
    writer = Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    key = {n: 1 if isinstance(contract.field(n).type, IntegerType) else "x" for n in contract.primary_key}
    order = {f.name: accepted_plainly(f) for f in CONTRACTS["orders"].fields if f.required} | {"order_id": "x"}
    writes.create(writer, CONTRACTS["orders"], order)
    for number, (way, body) in enumerate(steps):
        with suppress(ApiError):
            if way == "put":
                writes.replace(writer, contract, key, body, None)
            elif way == "patch":
                patch = {n: v for n, v in body.items() if n not in contract.immutable}
                writes.change(writer, contract, key, patch, None)
            else:
                merge(writer, contract, body, timestamp_of(NOON, str(number)))
    event(f"written: {len(table.records) > 1}")
    assert transform(table.records, CONTRACTS).rejected == []
    for record in table.records:
        image = record["dynamodb"]["NewImage"]
        entity, row = change_from_record(record, CONTRACTS) or ("", {})
        if entity:
            fields = {n: v for n, v in row.items() if n in CONTRACTS[entity].field_names and v is not None}
            assert len(orjson.dumps(fields)) <= landed_size(CONTRACTS[entity], image) + 2


def accepted_plainly(field: Field) -> Any:
    known = {"currency": "EUR", "placed_at": "2026-11-20T01:02:03Z"}
    return field.enum[0] if field.enum else known.get(field.name, "1")


def grown_by_patches(character: str) -> tuple[TableModel, Contracts]:
    """An item as long as it may be, whose fields grow further one by one, unseen."""
    notes = tuple(Field(f"note_{n}", 900 + n, StringType()) for n in range(6))
    contract = replace(CONTRACTS["orders"], fields=(*CONTRACTS["orders"].fields, *notes))
    contracts = Contracts({**CONTRACTS, "orders": contract})
    table = TableModel(lambda: 1_795_222_923_000_000)
    writer = Writer(Entities(contracts), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    texts = ["quote_number", *(f"note_{n}" for n in range(6))]
    whole = {f.name: accepted_plainly(f) for f in contract.fields if f.required} | {"order_id": "x"}
    size = 149_000
    with pytest.raises(ApiError, match="too-large"):
        writes.replace(writer, contract, {"order_id": "x"}, whole | {texts[0]: character * 150_000}, None)
    while not table.records:
        size -= 500
        with suppress(ApiError):
            writes.replace(writer, contract, {"order_id": "x"}, whole | {texts[0]: character * size}, None)
    for name in texts[1:]:
        writes.change(writer, contract, {"order_id": "x"}, {name: character * 300}, None)
    return table, contracts


def test_small_changes_of_an_item_that_is_full_can_be_sent() -> None:
    table, contracts = grown_by_patches("\u0001")
    assert len(table.records) == 7
    assert transform(table.records, contracts).rejected == []


@pytest.mark.parametrize("entity", sorted(ENTITIES))
def test_the_margin_is_enough_for_every_field(entity: str) -> None:
    fields = len(ENTITIES[entity].fields)
    rest = sum(len(n) + 8 for n in (*ENTITIES[entity].field_names, *CHANGE_COLUMNS)) + 500
    assert items.MAX_LINE + (fields + 1) * items.SMALL + rest < MAX_RECORD_BYTES
