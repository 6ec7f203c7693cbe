"""A lake is equal to its table at a moment, or what differs is named: by key, class and likely cause."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from contracts import Contracts
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.merge import writing
from lakehouse.merge.base import commit_work
from lakehouse.parity import corrections, traces
from lakehouse.parity.findings import Repaired
from lakehouse.parity.run import check_parity
from lakehouse.parity.wanted import Request
from lakehouse.publish import audit
from lakehouse.publish.audit import Audited
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.recovery.backfill import backfill, find
from lakehouse.results import AuditResult, Check
from lakehouse.storage.duck import connect
from lakehouse.table import iceberg, schemas, tables
from lakehouse.table.scan import live_rows
from lakehouse.table.tables import TableState, published_entry
from tests.support.exports import Layout, item_line, write_export
from tests.support.lakes import change, published_changes, published_rows, without
from tests.support.parity import CONTRACTS as PARITY_CONTRACTS
from tests.support.parity import LATE, TABLE, World


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_pause", lambda seconds: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.of(tmp_path)
    for number in range(30):
        world.put((f"p-{number}", 1), price={"N": str(number)}, labels={"M": {"b": {"S": "1"}, "a": {"S": "2"}}})
        world.forward(seconds=1)
    world.put(("p-1", 1), state={"S": "sent"})
    world.mark_deleted(("p-2", 1))
    world.remove(("p-3", 1), expired=True)
    world.settle()
    return world


def test_an_equal_lake_is_equal(world: World) -> None:
    address = world.export()
    world.settle()
    done = world.check(address)
    assert done.before.outcome == "equal", done
    assert (done.before.items, done.before.keys, done.before.rows) == (29, 30, 30)


def named(done: Repaired) -> list[tuple[str, str, str, str]]:
    """What a comparison named: table, key, class, cause."""
    return [(d.table, d.key, d.kind, d.cause) for d in done.before.differences]


def equal_after(world: World, address: str) -> Repaired:
    """Repair at the export's moment, which proves itself; twice changes nothing more."""
    done = world.check(address, repair=True)
    assert done.after is not None
    assert done.after.outcome == "equal", (str(done), done.after.differences)
    assert published(world.lake, TABLE).rows == done.after.rows
    again = world.check(address, repair=True)
    assert (again.before.outcome, again.after, again.corrections) == ("equal", None, 0)
    return done


def lose(world: World, what: Callable[[], None]) -> None:
    """Let something happen of which no record leaves the stream."""
    world.lost = True
    what()
    world.lost = False


HISTORY = "parcels_changes"


@pytest.mark.parametrize(
    ("what", "key", "kind", "cause"),
    [
        (lambda w: w.put(("new", 1)), "new / 1", "missed", "stream or relay"),
        (lambda w: w.put(("new", 1), around=True), "new / 1", "missed", "write around the API"),
        (lambda w: w.put(("p-5", 1), price={"N": "7"}), "p-5 / 1", "stale", "stream or relay"),
        (lambda w: w.put(("p-5", 1), price={"N": "7"}, around=True), "p-5 / 1", "unequal", "write around the API"),
        (lambda w: w.put(("p-5", 1), price={"S": "7"}, around=True), "p-5 / 1", "unequal type", "write around the API"),
        (lambda w: w.put(("p-5", 1), odd={"SS": ["b", "a"]}), "p-5 / 1", "stale", "stream or relay"),
        (lambda w: w.mark_deleted(("p-5", 1)), "p-5 / 1", "extra", "stream or relay"),
        (lambda w: w.remove(("p-5", 1)), "p-5 / 1", "extra", "write around the API"),
        (lambda w: w.put(("p-2", 1)), "p-2 / 1", "wrongly deleted", "stream or relay"),
        (lambda w: w.put(("p-3", 1)), "p-3 / 1", "wrongly expired", "stream or relay"),
        (lambda w: w.put(("p-3", 1), around=True), "p-3 / 1", "wrongly expired", "write around the API"),
    ],
)
def test_what_the_stream_lost_is_named_and_repaired(
    world: World, what: Callable[[World], None], key: str, kind: str, cause: str
) -> None:
    lose(world, lambda: what(world))
    world.forward(seconds=5)
    address = world.export()
    world.forward(seconds=3)
    world.put(("p-7", 1), price={"N": "99"})  # since then
    world.settle()
    assert named(world.check(address)) == [(HISTORY, key, kind, cause)]
    dry = world.check(address, repair=True, dry_run=True)
    assert (dry.corrections, dry.after, dry.objects) == (1, None, ())
    done = equal_after(world, address)
    assert (done.before.total, done.corrections, len(done.objects)) == (1, 1, 1)
    prices = {row["parcel_id"]: row["price"] for row in published_rows(world.lake, TABLE) if not row["_deleted"]}
    assert prices["p-7"] == 99


def test_what_ended_by_its_time_to_live_is_expired_by_a_correction(world: World) -> None:
    world.put(("p-5", 1), ttl={"N": str(int(world.clock().timestamp()) + 60)})
    world.deliver()
    world.forward(hours=1)
    lose(world, world.expire)
    address = world.export()
    world.settle()
    assert named(world.check(address)) == [(HISTORY, "p-5 / 1", "extra", "stream or relay")]
    before = [row for row in published_rows(world.lake, TABLE) if row["parcel_id"] == "p-5"]
    equal_after(world, address)
    (row,) = [row for row in published_rows(world.lake, TABLE) if row["parcel_id"] == "p-5"]
    same = ("price", "labels", "sent_at", "state", "_ttl")
    assert (row["_expired"], row["_deleted"]) == (True, False)
    assert [row[name] for name in same] == [before[0][name] for name in same]


def test_a_correction_loses_to_what_happens_since(world: World) -> None:
    lose(world, lambda: world.put(("p-5", 1), price={"N": "7"}))
    address = world.export()
    world.put(("p-5", 1), price={"N": "8"}, delay=50 * 60)  # in the very second of the export
    world.settle(minutes=40)
    assert world.check(address).before.total == 1
    done = world.check(address, repair=True)
    assert done.after is not None
    assert done.after.total == 0
    world.settle(hours=1)
    (row,) = [row for row in published_rows(world.lake, TABLE) if row["parcel_id"] == "p-5"]
    assert row["price"] == 8
    assert world.check(address).before.aside == 1


def test_a_comparison_waits_for_the_watermark(world: World) -> None:
    address = world.export()
    at = world.clock()
    done = world.check(address)
    assert (done.before.outcome, done.before.ready_at) == ("not yet", at + LATE)
    world.settle(minutes=29)
    assert world.check(address).before.outcome == "not yet"
    world.settle(minutes=2)
    assert world.check(address).before.outcome == "equal"


@pytest.mark.parametrize(("hours", "arrives"), [(2.0, True), (0.25, False), (0.0, False)])
def test_it_is_awaited_until_it_can_be_compared(tmp_path: Path, hours: float, arrives: bool) -> None:
    world = World.of(tmp_path)
    world.put(("a", 1))
    world.settle()
    request = Request(world.export(), lateness=LATE)
    said: list[str] = []
    begun = world.clock()

    def pause(seconds: float) -> None:
        assert seconds <= 20
        world.forward(minutes=1)
        world.run()

    limit = timedelta(hours=hours)
    assert api.await_arrival(world.lake, PARITY_CONTRACTS, request, limit, said.append, pause) is arrives
    assert timedelta(0) <= world.clock() - begun - min(limit, LATE) <= timedelta(minutes=1)
    outcome = world.check(request.export).before.outcome
    assert outcome == ("equal" if arrives else "not yet")
    assert len(said) == (3 if arrives else 2 if hours else 0)
    assert api.await_arrival(world.lake, PARITY_CONTRACTS, Request(), limit)


def test_awaiting_moves_the_watermark_of_an_entity_that_is_quiet(tmp_path: Path) -> None:
    world = World.of(tmp_path)
    world.put(("a", 1))
    world.settle()
    request = Request(world.export(), lateness=LATE)

    def pause(seconds: float) -> None:
        world.forward(minutes=1)

    assert api.await_arrival(world.lake, PARITY_CONTRACTS, request, timedelta(hours=2), pause=pause)
    assert world.check(request.export).before.outcome == "equal"


def test_awaiting_ends_where_no_batch_can_move_the_watermark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(world.export(), lateness=LATE)
    world.forward(hours=1)

    def loses(*_: Any, **__: Any) -> None:
        raise CommitFailedException

    monkeypatch.setattr("lakehouse.parity.run.compact", loses)
    limit = timedelta(minutes=5)
    pause = lambda _: world.forward(minutes=1)  # noqa: E731
    assert not api.await_arrival(world.lake, PARITY_CONTRACTS, request, limit, pause=pause)


def test_a_held_object_is_named_and_not_overwritten(world: World) -> None:
    world.put(("p-5", 1), price={"N": "7"})
    (key,) = world.deliver()
    hold(world, key)
    world.forward(seconds=5)
    address = world.export()
    world.settle()
    (found,) = world.check(address).before.differences
    assert (found.kind, found.cause, found.repairable) == ("stale", "landing object", False)
    assert key in found.evidence
    done = world.check(address, repair=True)
    assert (done.corrections, done.left) == (0, 1)


def hold(world: World, key: str) -> None:
    """Have an object fail its audit, so that it is held."""

    def refuses(audited: Audited) -> Check:
        objects = {row[0] for row in audited.duck.rows("SELECT key FROM objects")}
        return Check("refused by the test", key not in objects, "refused")

    api.compact(world.lake, TABLE, Scope.last_hours(3, world.clock()), invariants=(refuses,))
    api.publish(world.lake, TABLE)


def test_a_row_in_quarantine_is_named(world: World) -> None:
    world.put(("p-5", 1), price={"N": "7.001"})
    address = world.export()
    world.settle()
    (found,) = world.check(address).before.differences
    assert (found.key, found.kind, found.cause, found.repairable) == ("p-5 / 1", "stale", "broken contract", False)
    assert "price" in found.evidence


def test_an_object_that_was_not_ingested_is_named_and_its_change_corrected(world: World) -> None:
    world.put(("p-5", 1), price={"N": "7"})
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    world.landing.land([world_row(world, ("p-6", 1), "70")], world.clock() - timedelta(days=3), "other-hands.parquet")
    assert world.check(address).before.outcome == "equal"
    lose(world, lambda: world.put(("p-8", 1), price={"N": "80"}))
    late = world_row(world, ("p-8", 1), "80")
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    world.landing.land([late], world.clock() - timedelta(hours=1), "late.parquet")
    (found,) = world.check(address).before.differences
    assert (found.key, found.cause) == ("p-8 / 1", "landing object")
    assert "not ingested yet" in found.evidence
    equal_after(world, address)


def world_row(world: World, key: tuple[str, int], price: str) -> dict[str, str | None]:
    """A change of now as it would land."""
    return change(
        key[0],
        key[1],
        version=int(world.clock().timestamp()) * 1_000_000 + 999_999,
        seq=5 * 10**20,
        price=price,
        labels='{"a":"2","b":"1"}',
        _changed_at=f"{world.clock():%Y-%m-%dT%H:%M:%SZ}",
    )


def test_a_record_that_the_relay_kept_is_named(world: World) -> None:
    lose(world, lambda: world.put(("p-5", 1), price={"N": "7"}))
    record = {"eventName": "MODIFY", "dynamodb": {"NewImage": world.items["p-5", 1]}}
    line = json.dumps({"reason": "no Firehose", "class": "environment", "record": record}) + "\n"
    world.lake.store.write(f"relay-failures/dt={world.clock():%Y-%m-%d}/abc.ndjson", line.encode())
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    (found,) = world.check(address).before.differences
    assert (found.key, found.cause) == ("p-5 / 1", "stream or relay")
    assert "abc.ndjson" in found.evidence


def test_a_damaged_export_proves_nothing_of_what_is_not_there(world: World) -> None:
    lose(world, lambda: world.put(("p-5", 1), price={"N": "7"}))
    world.forward(seconds=2)
    address = world.export(files=3)
    data = next(o.key for o in world.lake.store.list(f"{address}/data/"))
    content = world.lake.store.read(data)
    world.lake.store.write(data, content[:-30] + content[-30:][::-1])
    world.settle()
    done = world.check(address, repair=True)
    assert done.before.unproven > 5
    assert {d.kind for d in done.before.differences} <= {"stale"}
    assert any("MD5" in note for note in done.before.notes)


@pytest.mark.parametrize("repair", [True, False])
def test_an_item_under_an_entity_that_nobody_knows_is_there(tmp_path: Path, repair: bool) -> None:
    """As in a backfill: its row is left alone, whatever else is missing."""
    world = World.of(tmp_path)
    for number in range(4):
        world.put(("a", number))
    world.settle()
    world.forward(minutes=5)
    items = world.snapshot()
    items["a", 1] = items["a", 1] | {"entity": {"S": "Parcels"}}
    del items["a", 3]
    export = world.export(items=items)
    world.settle()
    done = world.check(export, repair=repair)
    assert [(d.kind, d.key) for d in done.before.differences] == [("extra", "a / 3")]
    assert (done.before.outcome, done.before.unproven) == ("different", 1)
    assert any("1 items of the export are no change" in note for note in done.before.notes)
    if repair:
        assert (done.after and done.after.outcome) == "unproven"
        assert sorted((r["part"], r["_deleted"]) for r in published_rows(world.lake, TABLE)) == [
            (0, False),
            (1, False),
            (2, False),
            (3, True),
        ]


@pytest.mark.parametrize("part", [None, {"S": "one"}, {"N": "1.5"}, {"NULL": True}])
def test_an_item_without_a_key_that_can_be_read_is_there(tmp_path: Path, part: dict[str, Any] | None) -> None:
    """Its row cannot be known, so that no row without an item is concluded to be one too many."""
    world = World.of(tmp_path)
    for number in range(3):
        world.put(("a", number))
    world.settle()
    world.forward(minutes=5)
    items = world.snapshot()
    items["a", 1] = {n: v for n, v in (items["a", 1] | {"part": part}).items() if v is not None}
    del items["a", 2]
    export = world.export(items=items)
    world.settle()
    done = world.check(export, repair=True)
    assert {d.kind for d in done.before.differences} == {"missed"}, "and is in the quarantine"
    assert done.before.unproven == 2
    assert any("no key that can be read" in note for note in done.before.notes)
    (entity,) = backfill(world.lake, world.contracts, find(world.lake, export)[0]).entities
    assert entity.corrections == {}
    assert "no key that can be read" in (entity.note or "")
    assert [r["_deleted"] for r in published_rows(world.lake, TABLE)] == [False] * 3


@pytest.mark.parametrize("line", [b"no json", b'{"Item": 5}', b'{"Item": {"entity": {"S": "other"}}}'])
def test_lines_that_are_no_items_prove_nothing_of_what_is_not_there(tmp_path: Path, line: bytes) -> None:
    world = World.of(tmp_path)
    world.put(("a", 1))
    world.settle()
    world.forward(minutes=5)
    layout = Layout(
        [[line, item_line({"pk": {"S": "x"}, "sk": {"S": "y"}, "entity": {"S": "other"}})]], at=world.clock()
    )
    export = write_export(world.lake.store, layout)
    world.settle()
    done = world.check(export, repair=True)
    assert (done.before.outcome, done.before.total) == ("unproven", 0)
    assert [r["_deleted"] for r in published_rows(world.lake, TABLE)] == [False]


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_what_was_not_compared_is_not_equal(tmp_path: Path, damage: str) -> None:
    world = World.of(tmp_path)
    world.put(("a", 1))
    world.settle()
    world.forward(minutes=5)
    export = world.export(files=1)
    (key,) = [o.key for o in world.lake.store.list(f"{export}/data/")]
    if damage == "gone":
        world.lake.store.delete([key])
    else:
        world.lake.store.write(key, b"other")
    world.settle()
    done = world.check(export)
    assert (done.before.outcome, done.before.total) == ("unproven", 0)
    assert "not all of it could be compared" in str(done.before)


def test_sets_and_maps_in_another_order_are_equal(world: World) -> None:
    world.put(("p-5", 1), odd={"SS": ["b", "a"]})
    world.forward(seconds=2)
    items = world.snapshot()
    items["p-5", 1]["odd"] = {"SS": ["a", "b"]}
    items["p-6", 1]["labels"] = {"M": dict(reversed(items["p-6", 1]["labels"]["M"].items()))}
    address = world.export(items=items)
    world.settle()
    assert world.check(address).before.outcome == "equal"


def test_a_personal_key_is_named_by_its_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = tuple(
        dataclasses.replace(f, classification="personal") if f.name == "parcel_id" else f for f in TABLE.fields
    )
    personal = dataclasses.replace(TABLE, fields=fields, version="1.0.1")
    lose(world, lambda: world.put(("p-5", 1), price={"N": "7"}))
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    contracts = Contracts({personal.name: personal})
    (done,) = check_parity(world.lake, contracts, Request(address, lateness=LATE, repair=True))
    assert done.left == 0
    (found,) = done.before.differences
    assert "p-5" not in found.key
    assert all("p-5" not in row["_event_id"] for row in published_changes(world.lake, TABLE))


def test_two_repair_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(world, lambda: world.put(("p-5", 1), price={"N": "7"}))
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    landed, others = corrections.land, []

    def land(*arguments: Any) -> str:
        if not others:
            others.append(None)
            others.append(world.check(address, repair=True))  # the other one is quicker
        return landed(*arguments)

    monkeypatch.setattr(corrections, "land", land)
    done = world.check(address, repair=True)
    assert (done.left, others[1].left) == (0, 0)
    events = [row["_event_id"] for row in published_changes(world.lake, TABLE)]
    assert len([e for e in events if e.startswith("export:")]) == 1


def spoil(world: World, sql: str, table: str = "parcels") -> None:
    """Write the rows of a published table again as a query over `rows` says, as a fault of a merge would: audited,
    published, and wrong."""
    entry = published_entry(world.lake, TABLE)
    assert entry is not None
    state = TableState(world.lake, entry.metadata_location)
    tables.prepare(world.lake, TABLE)
    shape = schemas.compacted(TABLE) if table == "parcels" else schemas.changes(TABLE)
    files = state.files if table == "parcels" else state.changes_files
    location = state.location if table == "parcels" else state.changes_location
    with connect(world.lake) as duck:
        duck.run(f"CREATE TEMP TABLE rows AS {live_rows(shape, files)}")
        written = writing.write_rows(duck, world.lake, shape, sql, files, f"spoilt-{location[-20:-15]}")
    removed = tuple(d for f in files for d in (f.data, *f.deletes))
    made = commit_work(world.lake, shape, location, {}, {}, writing.Written(written.added, removed))
    if table != "parcels":
        made = commit_work(world.lake, schemas.compacted(TABLE), state.location, {tables.CHANGES: made}, {})
    audit.save(world.lake, AuditResult(TABLE.name, made, (Check("none", True, ""),)))
    api.publish(world.lake, TABLE)


WRONG_ROWS = [
    ("SELECT * FROM rows UNION ALL SELECT * FROM rows WHERE parcel_id = 'p-5'", "doubled"),
    ("SELECT * FROM rows WHERE parcel_id <> 'p-5'", "missed"),
    (
        "SELECT * REPLACE (CASE WHEN parcel_id = 'p-5' THEN _version - 1000000 ELSE _version END AS _version, "
        "CASE WHEN parcel_id = 'p-5' THEN 1 ELSE price END AS price) FROM rows",
        "stale",
    ),
    ("SELECT * REPLACE (CASE WHEN parcel_id = 'p-5' THEN 1 ELSE price END AS price) FROM rows", "unequal"),
    ("SELECT * REPLACE (_expired OR parcel_id = 'p-5' AS _expired) FROM rows", "wrongly expired"),
    ("SELECT * REPLACE (_deleted OR parcel_id = 'p-5' AS _deleted) FROM rows", "wrongly deleted"),
]


@pytest.mark.parametrize(("sql", "kind"), WRONG_ROWS)
@pytest.mark.parametrize("exported", [True, False])
def test_a_wrong_row_of_the_compacted_table_is_named_and_mended(
    world: World, sql: str, kind: str, exported: bool
) -> None:
    address = world.export() if exported else None
    world.settle()
    before = without(published_rows(world.lake, TABLE), "_batch")
    spoil(world, sql)
    assert named(world.check(address)) == [("parcels", "p-5 / 1", kind, "lake merge")]
    assert world.check(address, repair=True, dry_run=True).mended == 1
    done = equal_after(world, address)
    assert done.mended == 1
    assert without(published_rows(world.lake, TABLE), "_batch") == before
    world.put(("p-5", 1), price={"N": "12"})
    world.settle()  # and the next batch goes on
    assert {r["price"] for r in published_rows(world.lake, TABLE) if r["parcel_id"] == "p-5"} == {12}


@pytest.mark.parametrize("exported", [True, False])
def test_a_change_that_the_history_lost_is_put_back(world: World, exported: bool) -> None:
    address = world.export() if exported else None
    world.settle()
    before = without(published_rows(world.lake, TABLE), "_batch")
    spoil(world, "SELECT * FROM rows WHERE parcel_id NOT IN ('p-1', 'p-5')", HISTORY)
    found = {(d.table, d.key, d.kind, d.cause) for d in world.check(address).before.differences}
    assert found == {(HISTORY, f"p-{n} / 1", "missed", "lake merge") for n in (1, 5)}
    equal_after(world, address)
    assert without(published_rows(world.lake, TABLE), "_batch") == before
    assert {"p-1", "p-5"} <= {row["parcel_id"] for row in published_changes(world.lake, TABLE)}


@pytest.mark.parametrize(
    ("sql", "kind", "cause"),
    [
        ("SELECT * REPLACE (CASE WHEN parcel_id = 'p-5' THEN 1 ELSE price END AS price) FROM rows", "unequal", "merge"),
        (
            "SELECT * REPLACE (CASE WHEN parcel_id = 'p-5' THEN 'remove' ELSE _op END AS _op) FROM rows",
            "wrongly deleted",
            "",
        ),
        (
            "SELECT * REPLACE (CASE WHEN parcel_id = 'p-5' THEN 'expire' ELSE _op END AS _op) FROM rows",
            "wrongly expired",
            "",
        ),
        ("SELECT * FROM rows WHERE NOT coalesce(parcel_id = 'p-1' AND state = 'sent', false)", "stale", ""),
    ],
)
def test_a_wrong_change_of_the_history_is_the_lake_s_fault(world: World, sql: str, kind: str, cause: str) -> None:
    address = world.export()
    world.settle()
    spoil(world, sql, HISTORY)
    done = world.check(address)
    assert {(d.kind, d.cause) for d in done.before.differences if d.table == HISTORY} == {(kind, "lake merge")}
    equal_after(world, address)


def test_pointers_that_were_moved_by_hand_are_named_and_put_right(world: World) -> None:
    first = published_entry(world.lake, TABLE)
    history = world.lake.entries.get(world.lake.published_database, HISTORY)
    assert first is not None
    assert history is not None
    world.put(("p-5", 1), price={"N": "7"})
    world.forward(seconds=2)
    address = world.export()
    world.settle()
    now = world.lake.entries.get(world.lake.published_database, HISTORY)
    assert now is not None
    iceberg.move_pointer(world.lake, now, history.metadata_location)
    assert [(d.table, d.key, d.cause) for d in world.check(address).before.differences] == [
        (HISTORY, "every key", "catalog pointer")
    ]
    equal_after(world, address)
    present = published_entry(world.lake, TABLE)
    assert present is not None
    iceberg.move_pointer(world.lake, present, first.metadata_location)
    early = world.check(address).before
    assert early.outcome == "not yet"  # the watermark went back, too
    assert any("publication log" in note for note in early.notes)
    found = {(d.table, d.cause) for d in world.check(None).before.differences}
    assert ("parcels", "catalog pointer") in found
    done = world.check(None, repair=True)
    assert done.left == 0
    assert world.check(address).before.outcome == "equal"


def test_a_publication_at_the_moment_of_a_comparison_is_no_difference(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves the entry of the history first. The comparison looks again, and sees that the other has followed."""
    history = world.lake.entries.get(world.lake.published_database, HISTORY)
    assert history is not None
    world.put(("p-5", 1), price={"N": "7"})
    world.forward(hours=1)
    world.deliver()
    api.compact(world.lake, TABLE, Scope.everything())
    work = world.lake.entries.get(world.lake.work_database, TABLE.name)
    assert work is not None
    iceberg.move_pointer(world.lake, history, TableState(world.lake, work.metadata_location).changes_location)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            publish(world.lake, TABLE)

    monkeypatch.setattr(traces, "_pause", pause)
    assert world.check(None).before.outcome == "equal"
    assert waited == [0.0, 0.5]
    assert world.check(None).before.outcome == "equal"


def test_a_lost_object_is_named(world: World) -> None:
    world.put(("p-5", 1), price={"N": "7"})
    world.forward(seconds=2)
    address = world.export()
    (key,) = (world.forward(hours=1), world.deliver())[1]
    world.run()
    spoil(world, f"SELECT * FROM rows WHERE _object <> '{key}'", HISTORY)
    spoil(world, "SELECT * REPLACE (_version - 3000000 AS _version) FROM rows WHERE false", "parcels")
    world.lake.store.delete([key])
    done = world.check(address)
    causes = {(d.kind, d.cause) for d in done.before.differences if d.key == "p-5 / 1" and d.table == HISTORY}
    assert causes == {("stale", "landing object")}
    equal_after(world, address)


def test_changes_in_the_second_of_an_export_are_set_aside_on_either_side(world: World) -> None:
    world.put(("p-5", 1), price={"N": "7"})
    address = world.export()
    world.put(("p-6", 1), price={"N": "8"})
    world.settle()
    done = world.check(address)
    assert (done.before.outcome, done.before.aside) == ("equal", 2)
