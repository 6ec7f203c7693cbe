"""Imported events end in the same item, in whatever order and however often they come.

The writer and the store are the real ones; DynamoDB is a model. The expected item is computed from the events alone:
each field has the value of the latest event that carries it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.item import FIELD_TIMESTAMPS, item_keys
from realtime.api.entities import Entities
from realtime.api.problems import ApiError
from realtime.api.representation import represent
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.imports.events import read_event
from realtime.imports.field_timestamps import sequence_text
from realtime.imports.merge import merge
from tests.support.depth import examples
from tests.support.dynamodb_model import TableModel

CONTRACTS = load_contracts()
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RECEIVED = NOON + timedelta(days=1)

WHOLE_ORDER = {
    "ORDER_NO": "o-1", "BUYER_NO": "c-1", "SELLER_NO": "c-2", "CURR": "EUR", "HAMMER": "10.00", "STATUS": "placed",
    "ORDER_TS": "2026-11-20T10:00:00Z",
}  # fmt: skip
WHOLE_ESTIMATE = {
    "ORDER_NO": "o-1", "QUOTE_NO": "Q-0", "QUOTE_VER": 1, "CURR": "EUR", "AMOUNT": "5.00", "STATUS": "sent",
    "CREATED_TS": "2026-11-20T10:00:00Z",
}  # fmt: skip
ALIASES = {"STATUS": "status", "HAMMER": "hammer_price", "PREMIUM": "buyers_premium", "SHIP_ADDR": "address_id"}


def event(minute: int, sequence: str, data: dict[str, Any]) -> dict[str, Any]:
    time = (NOON + timedelta(minutes=minute)).isoformat()
    return {
        "specversion": "1.0", "id": "e", "source": "/erp", "type": "changed", "time": time, "sequence": sequence,
        "data": data,
    }  # fmt: skip


orders = st.fixed_dictionaries(
    {},
    optional={
        "STATUS": st.sampled_from(["invoiced", "paid", "shipped"]),
        "HAMMER": st.sampled_from(["11.00", "12.00", "13.00"]),
        "PREMIUM": st.sampled_from(["1.00", "2.00", None]),
        "SHIP_ADDR": st.sampled_from(["a-1", "a-2", None]),
    },
)
estimates = st.fixed_dictionaries(
    {"EST_NO": st.sampled_from(["e-1", "e-2"])},
    optional={
        "QUOTE_NO": st.sampled_from(["Q-1", "Q-2", "Q-3"]),
        "QUOTE_VER": st.integers(2, 9),
        "STATUS": st.sampled_from(["sent", "accepted"]),
    },
)


class Imported:
    """A table that events are imported into, until none of them waits for another."""

    def __init__(self, table: Callable[[Callable[[], int]], TableModel] = TableModel) -> None:
        self.clock = int(RECEIVED.timestamp() * 1_000_000)
        self.table = table(lambda: self.clock)
        self.writer = Writer(Entities(CONTRACTS), Store(self.table, "t"), now=lambda: self.clock, pause=lambda _: None)  # type: ignore[arg-type]

    def take(self, entity: str, raw: dict[str, Any]) -> bool:
        """Whether the event was taken; an event that came too early was not."""
        self.clock += 1
        found = read_event(raw, RECEIVED, "n")
        try:
            merge(self.writer, CONTRACTS[entity], found.fields, found.timestamp)
        except ApiError as refusal:
            if refusal.kind != "incomplete":
                raise
            return False
        return True

    def item(self, entity: str, **key: str) -> dict[str, Any]:
        keys = item_keys(CONTRACTS[entity], key)  # type: ignore[arg-type]
        stored = self.table.items[keys["pk"], keys["sk"]]
        assert FIELD_TIMESTAMPS in stored
        body = represent(CONTRACTS[entity], stored)
        del body["_version"]
        return body


def until_nothing_waits(imported: Imported, events: list[tuple[str, dict[str, Any]]]) -> None:
    waiting = events
    while waiting:
        left = [e for e in waiting if not imported.take(*e)]
        assert len(left) < len(waiting), "an event waits for ever"
        waiting = left


@given(st.data(), st.lists(orders, max_size=5))
def test_each_field_of_an_order_ends_as_the_latest_event_says(
    data: st.DataObject, patches: list[dict[str, Any]]
) -> None:
    """Events of one minute are distinguished by their sequence."""
    events = [event(0, "0", WHOLE_ORDER)]
    events += [event(1 + n // 2, str(n), {"ORDER_NO": "o-1", **patch}) for n, patch in enumerate(patches)]
    came = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4))))
    imported = Imported()
    until_nothing_waits(imported, [("orders", e) for e in came])
    expected = {"order_id": "o-1", "buyer_id": "c-1", "seller_id": "c-2", "currency": "EUR", "hammer_price": "10.00",
                "status": "placed", "placed_at": "2026-11-20T10:00:00Z"}  # fmt: skip
    for patch in patches:
        expected |= {ALIASES[name]: value for name, value in patch.items()}
    assert imported.item("orders", order_id="o-1") == {n: v for n, v in expected.items() if v is not None}
    before = imported.table.items.copy()
    until_nothing_waits(imported, [("orders", e) for e in came])
    assert imported.table.items == before, "the same events again change nothing, not even a version"


integers = st.one_of(
    st.integers(-120, 120).map(str), st.sampled_from(["007", "+7", "-0", "0", "9" * 64, "-" + "9" * 63])
)
sequences = st.one_of(st.none(), integers, st.sampled_from(["a", "b", "9a", "-", "1.5", "x-10", "x-9"]))
SequenceRank = tuple[int, int, str]


def rank(sequence: str | None) -> SequenceRank:
    """How sequences compare: none, then integers by value, then other texts as text."""
    if sequence is None:
        return 0, 0, ""
    try:
        return 1, int(sequence), ""
    except ValueError:
        return 2, 0, sequence


@given(
    st.data(),
    st.lists(
        st.tuples(st.integers(1, 2), sequences, st.sampled_from(["e", "f"]), st.sampled_from(["/a", "/b", "/b/c"])),
        min_size=2,
        max_size=6,
        unique_by=lambda e: (e[2], e[3]),
    ),
)
def test_events_of_several_sources_end_as_the_latest_says(data: st.DataObject, named: list[Any]) -> None:
    """An event is identified by source and id; time, then sequence, then id, then source say which is the later one."""
    events = [event(0, "0", WHOLE_ORDER)]
    for number, (minute, sequence, name, source) in enumerate(named):
        values = {"ORDER_NO": "o-1", "SHIP_ADDR": f"a-{number}", "PREMIUM": f"{number}.00" if number % 2 else None}
        raw = event(minute, "0", values) | {"id": name, "source": source, "sequence": sequence}
        events.append(raw if number % 3 else {**raw, "data": {k: v for k, v in values.items() if k != "PREMIUM"}})
    came = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4))))
    imported = Imported()
    until_nothing_waits(imported, [("orders", e) for e in came])
    expected: dict[str, Any] = {}
    for raw in sorted(events[1:], key=lambda e: (e["time"], rank(e["sequence"]), e["id"], e["source"])):
        expected |= {ALIASES[name]: value for name, value in raw["data"].items() if name in ALIASES}
    found = imported.item("orders", order_id="o-1")
    assert {name: found.get(name) for name in expected} == expected


@example(["-1", "-10", "-9", "0", "-007", "+7", "10", "9", "x"])
@given(st.lists(sequences.filter(lambda s: s is not None), max_size=8))
def test_sequences_sort_as_integers_do_or_as_text(found: list[str]) -> None:
    assert sorted(found, key=lambda s: (sequence_text(s), s)) == sorted(found, key=lambda s: (rank(s), s))


@settings(max_examples=examples(60))
@given(st.data(), st.lists(estimates, min_size=1, max_size=5))
def test_an_order_ends_with_the_quote_of_the_latest_estimate(
    data: st.DataObject, patches: list[dict[str, Any]]
) -> None:
    events = [("orders", event(0, "0", WHOLE_ORDER))]
    events += [("estimates", event(1, str(n), {"EST_NO": f"e-{n}", **WHOLE_ESTIMATE})) for n in (1, 2)]
    events += [("estimates", event(2 + n, "0", patch)) for n, patch in enumerate(patches)]
    came = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=3))))
    imported = Imported()
    until_nothing_waits(imported, list(came))
    quotes: dict[str, dict[str, Any]] = {key: {"QUOTE_NO": "Q-0", "QUOTE_VER": 1} for key in ("e-1", "e-2")}
    latest = "e-2"
    for patch in patches:
        part = {name: patch[name] for name in ("QUOTE_NO", "QUOTE_VER") if name in patch}
        quotes[patch["EST_NO"]] |= part
        latest = patch["EST_NO"] if part else latest
    order = imported.item("orders", order_id="o-1")
    quote = quotes[latest]
    assert (order["quote_number"], order["quote_version"]) == (quote["QUOTE_NO"], quote["QUOTE_VER"])
    for key, expected in quotes.items():
        estimate = imported.item("estimates", estimate_id=key)
        assert (estimate["quote_number"], estimate["quote_version"]) == (expected["QUOTE_NO"], expected["QUOTE_VER"])


class Crowded(TableModel):
    """A table where somebody else writes between our reading and our writing, `meddle`, once."""

    meddle: Callable[[], Any] | None = None

    def _between(self) -> None:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()

    def put_item(self, **parameters: Any) -> dict[str, Any]:
        self._between()
        return super().put_item(**parameters)

    def update_item(self, **parameters: Any) -> dict[str, Any]:
        self._between()
        return super().update_item(**parameters)

    def transact_write_items(self, **parameters: Any) -> dict[str, Any]:
        self._between()
        return super().transact_write_items(**parameters)


@given(st.data(), st.lists(estimates, min_size=2, max_size=6))
def test_events_that_are_written_at_the_same_time_end_the_same(
    data: st.DataObject, patches: list[dict[str, Any]]
) -> None:
    start = [("orders", event(0, "0", WHOLE_ORDER))]
    start += [("estimates", event(1, str(n), {"EST_NO": f"e-{n}", **WHOLE_ESTIMATE})) for n in (1, 2)]
    events = [("estimates", event(2 + n, "0", patch)) for n, patch in enumerate(patches)]
    alone, crowded = Imported(), Imported(Crowded)
    assert isinstance(crowded.table, Crowded)
    for imported in (alone, crowded):
        until_nothing_waits(imported, start)
    until_nothing_waits(alone, events)
    came = data.draw(st.permutations(events))
    for first, second in zip(came[::2], came[1::2], strict=False):

        def meddle(other: tuple[str, dict[str, Any]] = second) -> None:
            crowded.clock -= 1000  # whoever meddles has a clock that is behind, so that versions alone do not tell
            assert crowded.take(*other)

        crowded.table.meddle = meddle
        crowded.clock += 1000
        assert crowded.take(*first)
        if crowded.table.meddle is not None:  # the first had nothing to write
            crowded.table.meddle = None
            meddle()
    if len(came) % 2:
        assert crowded.take(*came[-1])
    for entity, key in (("orders", {"order_id": "o-1"}), *(("estimates", {"estimate_id": e}) for e in ("e-1", "e-2"))):
        assert crowded.item(entity, **key) == alone.item(entity, **key)
