"""Whatever a message of the inbound queue says, it is written, waits for something, or is dead with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from contracts import load_contracts
from realtime.api.entities import Entities
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.deadline import Deadline
from realtime.imports.messages import Record, chunks, is_ours, read_chunk
from realtime.imports.status import Statuses
from realtime.inbound.dead_letters import DeadLetter, notice
from realtime.inbound.service import PATIENCE, Consumer
from tests.support.dynamodb_model import TableModel

CONTRACTS = load_contracts()
NAMES = [a for c in CONTRACTS.of_origin("stream") for f in c.fields for a in (f.name, *f.aliases)]

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["active", "EUR", "2026-11-21T01:02:03Z", "1.5", "o-1"]),
)  # fmt: skip
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3))
fields = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=4)), values, max_size=8)
customers = st.fixed_dictionaries(
    {"CUST_NO": st.just("c-1")},
    optional={"STATUS": st.just("active"), "REG_TS": st.just("2026-01-02T03:04:05Z"), "CUST_NAME": st.text(max_size=4)},
)
events = st.one_of(
    fields,
    values,
    st.fixed_dictionaries(
        {"specversion": st.just("1.0"), "id": st.one_of(st.just("e"), leaves), "data": st.one_of(fields, values)},
        optional={"source": st.just("/erp"), "type": st.just("t"), "time": leaves, "sequence": leaves},
    ),
)
right = st.fixed_dictionaries({"entity": st.just("customers"), "event": customers})
bodies = st.one_of(
    st.fixed_dictionaries({"entity": st.sampled_from([*CONTRACTS, "nothing"]), "event": events}),
    st.fixed_dictionaries({"entity": leaves, "records": values}, optional={"import": leaves, "chunk": leaves}),
    values,
)


texts = st.booleans().flatmap(
    lambda is_right: right.map(json.dumps) if is_right else st.one_of(bodies.map(json.dumps), st.text(max_size=50))
)


@given(texts, st.sampled_from([1, PATIENCE]))
@example('{"records": null, "import": "0"}', PATIENCE)
def test_a_message_ends_somewhere(text: str, count: int) -> None:
    table = TableModel(lambda: 1_795_222_923_000_000)
    writer = Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    dead: list[DeadLetter] = []
    waits: list[int] = []
    consumer = Consumer(
        writer,
        Statuses(Store(table, "r")),  # type: ignore[arg-type]
        claim=lambda key: "{}",
        wait=lambda _, seconds: waits.append(seconds),
        send_to_dlq=dead.extend,
    )
    attributes = {"ApproximateReceiveCount": str(count), "SentTimestamp": "1795222923123"}
    record = {"messageId": "m-1", "receiptHandle": "h", "body": text, "attributes": attributes}
    answer = consumer.run([record], Deadline(lambda: 60))
    again = len(answer["batchItemFailures"])
    assert again == len(waits)
    if "records" not in text:
        assert (again == 1) + (len(dead) == 1) + (len(table.items) > 0) == 1
    for letter in dead:
        message = letter.message()
        assert message.attributes["reason"]
        assert message.text == text or "records" in text
        assert notice("f", dead, "q", letter.received)["Message"]
    if again:
        assert count < PATIENCE, "nothing waits for ever, and nothing is a fault of ours"


@given(st.lists(st.integers(0, 300_000), max_size=250))
def test_chunks_hold_every_record_once_and_fit_into_messages(sizes: list[int]) -> None:
    records = [
        Record(n, f"s-{n}", {"name": "x" * (size if n % 50 == 0 else size % 300)}) for n, size in enumerate(sizes)
    ]
    parts = chunks("customers", "i-1", records)
    bodies = [json.loads(part.signed(b"key")) for part in parts]
    assert all(is_ours(body, b"key") and not is_ours(body, b"other") for body in bodies)
    found: list[Any] = [read_chunk(body) for body in bodies]
    assert [r for part in found for r in part.records] == records
    assert [part.chunk for part in found] == list(range(len(parts)))
    for part in parts:
        assert len(part.records) <= 100
        assert len(part.signed(b"key")) <= 240_000 or len(part.records) == 1


KEY = b"k" * 32


class Reports:
    """What is known of one import."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, int]] = []

    def key(self, import_id: str) -> bytes | None:
        return KEY if import_id == "i-1" else None

    def report(self, import_id: str, chunk: int, _: Any) -> bool:
        self.shown.append((import_id, chunk))
        return True


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in decoded JSON: what holds it, and its name or number there."""
    for name in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, name
        yield from spots(value[name])


@st.composite
def forgeries(draw: st.DrawFn) -> tuple[str, str]:
    """A chunk as the API function sent it, and one that differs from it at one place."""
    count = draw(st.integers(1, 3))
    contents = {"customer_id": "c-1", "status": "active", "registered_at": "2026-01-02T03:04:05Z", "tags": ["a", "b"]}
    found = [Record(n, f"2026-11-20T00:00:0{n}.000000Z  e /erp", {**contents, "name": "1.5"}) for n in range(count)]
    text = chunks("customers", "i-1", found, "user:u-1")[0].signed(KEY)
    body = json.loads(text)
    holder, name = draw(st.sampled_from(list(spots(body))))
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            holder[name] = draw(st.one_of(values, st.sampled_from([1.5, "1.5", None, True, 0, 1, "", [], {}])))
        case "remove":
            del holder[name]
        case _:
            place = holder[name] if isinstance(holder[name], dict | list) else holder
            if isinstance(place, dict):
                place[draw(st.text(min_size=1, max_size=4))] = draw(leaves)
            else:
                place.append(draw(leaves))
    assume(json.dumps(body) != json.dumps(json.loads(text)))
    return text, json.dumps(body)


@given(forgeries())
def test_a_chunk_that_was_changed_anywhere_is_dead_and_does_nothing(forged: tuple[str, str]) -> None:
    genuine, changed = forged
    table, statuses = TableModel(lambda: 1_795_222_923_000_000), Reports()
    writer = Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]
    dead: list[DeadLetter] = []
    consumer = Consumer(writer, statuses, claim=lambda _: "{}", wait=lambda *_: None, send_to_dlq=dead.extend)  # type: ignore[arg-type]
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1795222923123"}

    def take(text: str) -> Any:
        record = {"messageId": "m-1", "receiptHandle": "h", "body": text, "attributes": attributes}
        return consumer.run([record], Deadline(lambda: 60))

    assert take(changed) == {"batchItemFailures": []}
    (letter,) = dead
    assert (letter.text, letter.problem.shown != []) == (changed, True)
    assert (table.items, statuses.shown) == ({}, [])
    assert take(genuine) == {"batchItemFailures": []}
    assert (len(dead), len(table.items), statuses.shown) == (1, 1, [("i-1", 0)])
