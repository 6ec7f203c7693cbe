"""A backfill seeds and repairs the lake: by the order rules, by what a full export proves, whatever kills it."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from contracts import Contracts, load_contracts
from contracts.change import change_from_record
from contracts.item import item_keys
from contracts.model import DynamoKeys
from lakehouse.api import compact, content_hash, publish, rebuild
from lakehouse.batch import races
from lakehouse.exports.manifest import UnusableExport
from lakehouse.intake.landing import Scope
from lakehouse.recovery import backfill as recovery
from lakehouse.recovery.backfill import BackfillResult, backfill, find, plan, rest_of_the_second
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState
from tests.support.depth import DEEP
from tests.support.exports import AT, TABLE, Layout, item_line, record_line, write_export
from tests.support.failing import Crash, Failpoints, Fault, Unanswered, failing_lake
from tests.support.lakes import (
    PARCELS,
    Clock,
    Landing,
    change,
    local_lake,
    published_changes,
    published_rows,
    without,
)

CONTRACTS = Contracts({name: load_contracts()[name] for name in ("customers", "lots")})
CUSTOMERS = CONTRACTS["customers"]
T = int(AT.timestamp())
LATER = AT + timedelta(minutes=10)


def item(key: str, at: int = T - 3600, /, **attributes: Any) -> dict[str, Any]:
    """A customer in the table, whose version is of that second."""
    keys = {n: {"S": v} for n, v in item_keys(CUSTOMERS, {"customer_id": key}).items()}
    return {
        **keys,
        "entity": {"S": "customers"},
        "customer_id": {"S": key},
        "name": {"S": f"Name of {key}"},
        "status": {"S": "active"},
        "tags": {"L": [{"S": "é"}, {"S": "b"}]},
        "registered_at": {"S": "2026-01-01T00:00:00.25Z"},
        "marketing_consent": {"BOOL": True},
        "_version": {"N": str(at * 1_000_000 + 17)},
        "_by": {"S": "user:1"},
        **attributes,
    }


def stream(lake: Lake, *changes: tuple[str, int, dict[str, Any]], name: str = "") -> None:
    """Land changes (event, second, image) as the relay does."""
    rows = []
    for number, (event, second, image) in enumerate(changes):
        body = {"ApproximateCreationDateTime": second, "SequenceNumber": str(number + 1)}
        body["OldImage" if event == "REMOVE" else "NewImage"] = image
        record = {"eventID": f"{name}{second}-{number}", "eventName": event, "dynamodb": body}
        mapped = change_from_record(record, CONTRACTS)
        assert mapped is not None
        rows.append(mapped[1])
    Landing(lake, CUSTOMERS).land(rows, AT, name or f"stream-{changes[0][1]}.parquet")


def export(lake: Lake, *items: dict[str, Any], **more: Any) -> str:
    """Write a full export of these items in two files, or what `more` says."""
    files = [[item_line(i) for i in items[::2]], [item_line(i) for i in items[1::2]]]
    return write_export(lake.store, Layout(**{"files": files, **more}))


def run(lake: Lake, folder: str = "exports", entities: Sequence[str] = ("customers",)) -> BackfillResult:
    (found,) = find(lake, folder)
    return backfill(lake, CONTRACTS, found, entities)


def state(lake: Lake) -> dict[str, str]:
    """What became of each customer."""
    return {
        row["customer_id"]: "removed" if row["_deleted"] else "expired" if row["_expired"] else row["name"]
        for row in published_rows(lake, CUSTOMERS)
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path, Clock(LATER))


def test_a_table_that_was_never_connected_is_seeded(lake: Lake) -> None:
    export(lake, *(item(f"c-{n}") for n in range(7)))
    done = run(lake)
    assert (done.items, done.unmapped, done.refused) == (7, 0, ())
    assert state(lake) == {f"c-{n}": f"Name of c-{n}" for n in range(7)}
    (row, *_) = published_rows(lake, CUSTOMERS)
    assert (row["_op"], row["tags"], row["_version"]) == ("snapshot", ["é", "b"], (T - 3600) * 1_000_000 + 999_999)
    (entity,) = done.entities
    assert (entity.landed, entity.counts.applied, entity.corrections, entity.note) == (7, 7, {}, None)


def test_the_same_export_twice_changes_nothing(lake: Lake) -> None:
    stream(lake, ("INSERT", T - 50, item("gone")))
    export(lake, item("c-1"), item("c-2"), {"entity": {"S": "other"}, "pk": {"S": "a"}, "sk": {"S": "b"}})
    first = run(lake)
    before, objects = content_hash(lake, CUSTOMERS), [(o.key, o.etag) for o in lake.store.list("landing/")]
    again = run(lake)
    assert content_hash(lake, CUSTOMERS) == before
    assert [(o.key, o.etag) for o in lake.store.list("landing/")] == objects
    assert (again.items, again.unmapped) == (first.items, first.unmapped) == (3, 1)
    assert first.entities[0].corrections == {"vanished": 1}
    assert again.entities[0].corrections == {}
    assert again.entities[0].counts.read == 0


def test_the_newest_wins_whether_it_was_streamed_or_exported(lake: Lake) -> None:
    stream(
        lake,
        ("INSERT", T - 100, item("older", name={"S": "streamed"})),
        ("INSERT", T - 20, item("same", name={"S": "streamed"})),
        ("INSERT", T + 5, item("newer", name={"S": "streamed"})),
        ("REMOVE", T + 9, item("removed after")),
    )
    exported = {"name": {"S": "exported"}}
    export(
        lake,
        item("older", T - 50, **exported),
        item("same", T - 20, **exported),
        item("newer", T + 3, **exported),
        item("removed after", T - 9),
        item("missed", T - 9, **exported),
    )
    run(lake)
    assert state(lake) == {
        "older": "exported",
        "same": "streamed",
        "newer": "streamed",
        "removed after": "removed",
        "missed": "exported",
    }


def test_what_vanished_is_marked_with_all_that_it_said(lake: Lake) -> None:
    whole = item("vanished", phone={"S": "1"}, drift={"NS": ["1"]}, ttl={"N": str(T + 99)})
    stream(
        lake,
        ("INSERT", T - 100, whole),
        ("INSERT", T - 90, item("expired", ttl={"N": str(T - 1)})),
        ("INSERT", T - 80, item("stays")),
        ("INSERT", T - 1, item("in the second before")),
        ("INSERT", T, item("in the second of the export")),
        ("INSERT", T + 1, item("after")),
        ("INSERT", T - 70, item("removed before")),
        ("REMOVE", T - 60, item("removed before")),
        ("REMOVE", T - 61, item("c#1")),
    )
    compact(lake, CUSTOMERS, Scope.everything())
    publish(lake, CUSTOMERS)
    before = {r["customer_id"]: r for r in published_rows(lake, CUSTOMERS)}
    export(lake, item("stays", T - 80))
    done = run(lake)
    assert state(lake) == {
        "vanished": "removed",
        "expired": "expired",
        "stays": "Name of stays",
        "in the second before": "removed",
        "in the second of the export": "Name of in the second of the export",
        "after": "Name of after",
        "removed before": "removed",
        "c#1": "removed",
    }
    assert done.entities[0].corrections == {"expired": 1, "vanished": 2}
    after = {r["customer_id"]: r for r in published_rows(lake, CUSTOMERS)}
    changed = {"_event_id", "_op", "_version", "_seq", "_changed_at", "_deleted", "_batch"}
    for name, value in before["vanished"].items():
        assert name in changed or after["vanished"][name] == value, name
    corrections = [r for r in published_changes(lake, CUSTOMERS) if r["_event_id"].startswith("export:")]
    assert {(r["_event_id"], r["_op"], r["_version"], r["_seq"]) for r in corrections} >= {
        ("export:01693685827463-2d8752fd:vanished:vanished", "remove", T * 1_000_000 - 1, "9" * 40),
        ("export:01693685827463-2d8752fd:expired:expired", "expire", T * 1_000_000 - 1, "9" * 40),
    }
    moments = {r["_changed_at"] for r in corrections if r["_op"] != "snapshot"}
    assert moments == {datetime.fromtimestamp(T, UTC).replace(tzinfo=None)}


def test_a_correction_keeps_values_of_every_type(tmp_path: Path) -> None:
    """It is made from the stored row: what its fields say is the same afterwards, and the contract still takes it."""
    keys = DynamoKeys("PARCEL#{parcel_id}", "PART#{part}")
    parcels = dataclasses.replace(PARCELS, keys=keys)
    contracts = Contracts({"parcels": parcels})
    lake = local_lake(tmp_path, Clock(LATER))
    stored = change(
        "p-1",
        version=(T - 50) * 1_000_000,
        sent_at="2026-11-01T10:00:00.123456Z",
        exact="1234567890123456789012345678.0123456789",
        fragile="false",
        due="2026-12-01",
        items='[{"name":"a","worth":"1.10","checked":true},{"name":"é","worth":null,"checked":null}]',
        labels='{"a":"x","b":""}',
        recipient="A",
        _extra='{"drift":{"NS":["1"]}}',
        _ttl=str(T + 5),
    )
    Landing(lake, parcels).land([stored, change("p-2", version=(T - 50) * 1_000_000, labels="{}", items="[]")], AT)
    compact(lake, parcels, Scope.everything())
    publish(lake, parcels)
    before = published_rows(lake)
    write_export(lake.store, Layout([[]]))
    (found,) = find(lake, "exports")
    done = backfill(lake, contracts, found)
    assert done.entities[0].corrections == {"vanished": 2}
    assert done.problems == []
    changed = ("_event_id", "_op", "_version", "_seq", "_changed_at", "_deleted", "_batch")
    assert without(published_rows(lake), *changed) == without(before, *changed)
    assert {row["_deleted"] for row in published_rows(lake)} == {True}


def test_an_item_that_the_lake_has_as_removed_is_there_again(lake: Lake) -> None:
    stream(
        lake, ("INSERT", T - 100, item("wrongly")), ("REMOVE", T - 60, item("wrongly")), ("REMOVE", T, item("right"))
    )
    export(lake, item("wrongly", T - 100), item("right", T - 100))
    done = run(lake)
    assert done.entities[0].corrections == {"present": 1}
    assert state(lake) == {"wrongly": "Name of wrongly", "right": "removed"}


def test_an_item_below_the_horizon_is_corrected(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableState, "horizon", (T - 1000) * 1_000_000)
    export(lake, item("old", T - 5000, status={"S": "wrong"}), item("late", T - 5000), item("new", T - 500))
    done = run(lake)
    assert done.entities[0].counts.too_late == 1
    assert done.entities[0].corrections["present"] >= 1
    assert state(lake) == {"late": "Name of late", "new": "Name of new"}


def test_a_later_change_that_comes_late_beats_a_correction(lake: Lake) -> None:
    stream(lake, ("INSERT", T - 100, item("again")))
    export(lake)
    run(lake)
    assert state(lake) == {"again": "removed"}
    stream(lake, ("INSERT", T, item("again")), name="late.parquet")
    compact(lake, CUSTOMERS, Scope.everything())
    publish(lake, CUSTOMERS)
    assert state(lake) == {"again": "Name of again"}


def test_items_that_are_no_change_are_kept_and_what_has_their_key_is_left_alone(lake: Lake) -> None:
    stream(lake, ("INSERT", T - 100, item("unclear")), ("INSERT", T - 100, item("vanished")))
    export(lake, item("c-1"), item("unclear", entity={"S": "Customers"}), item("unclear", entity={"S": "_pointer"}))
    done = run(lake)
    assert state(lake) == {"c-1": "Name of c-1", "unclear": "Name of unclear", "vanished": "removed"}
    (kept,) = lake.store.list("export-failures/")
    (line,) = lake.store.read(kept.key).splitlines()
    noted = json.loads(line)
    assert (noted["class"], noted["line"]) == ("data", 1)
    assert "there is no contract of origin stream for entity 'Customers'" in noted["reason"]
    assert json.loads(noted["item"])["Item"]["customer_id"] == {"S": "unclear"}
    assert done.unmapped == 1


def test_nothing_is_concluded_from_lines_that_are_no_items(lake: Lake) -> None:
    stream(lake, ("INSERT", T - 100, item("c-0")))
    export(lake, files=[[item_line(item("c-1")), b"{}"]])
    done = run(lake)
    assert state(lake) == {"c-0": "Name of c-0", "c-1": "Name of c-1"}
    assert "some of its lines are no items" in (done.entities[0].note or "")


def test_a_file_that_does_not_fit_costs_no_other_and_nothing_is_concluded(lake: Lake) -> None:
    stream(lake, ("INSERT", T - 100, item("c-0")))
    folder = export(lake, item("c-1"), item("c-2"))
    (found,) = find(lake, folder)
    damaged = found.export.files[0].key
    whole = lake.store.read(damaged)
    lake.store.write(damaged, whole[:-1] + b"x")
    done = run(lake)
    assert state(lake) == {"c-0": "Name of c-0", "c-2": "Name of c-2"}
    assert "expected the MD5" in done.refused[0]
    assert "is not proven whole" in (done.entities[0].note or "")
    lake.store.write(damaged, whole)
    assert run(lake).refused == ()
    assert state(lake) == {"c-0": "removed", "c-1": "Name of c-1", "c-2": "Name of c-2"}


def test_nothing_is_concluded_before_the_watermark_is_past_the_export(tmp_path: Path) -> None:
    lake = local_lake(tmp_path, Clock(AT - timedelta(seconds=1)))
    stream(lake, ("INSERT", T - 100, item("c-0")))
    export(lake, item("c-1"))
    done = run(lake)
    assert "expected a watermark after 2026-11-21T12:00:00" in (done.entities[0].note or "")
    assert state(lake) == {"c-0": "Name of c-0", "c-1": "Name of c-1"}
    assert run(local_lake(tmp_path, Clock(LATER))).entities[0].corrections == {"vanished": 1}


def test_only_what_is_wanted_is_landed_and_the_rest_later(lake: Lake) -> None:
    export(lake, item("c-1"))
    (found,) = find(lake, "exports")
    assert (plan(lake, CONTRACTS, found).left, plan(lake, CONTRACTS, found).entities) == (2, ("customers", "lots"))
    assert run(lake, entities=["lots"]).entities[0].landed == 0
    assert list(lake.store.list("landing/customers/")) == []
    assert plan(lake, CONTRACTS, found, ["lots"]).left == 0
    assert plan(lake, CONTRACTS, found, ["customers"]).left == 2
    run(lake)
    assert state(lake) == {"c-1": "Name of c-1"}
    with pytest.raises(ValueError, match="expected entities of origin stream"):
        run(lake, entities=["nobody"])


def test_records_of_an_incremental_export_repair_a_gap(lake: Lake) -> None:
    stream(
        lake,
        ("INSERT", T - 5000, item("changed")),
        ("INSERT", T - 5000, item("removed")),
        ("INSERT", T - 3, item("c-3")),
    )
    micros = (T - 60) * 1_000_000
    lines = [
        record_line(micros, item("changed", name={"S": "new"}), item("changed")),
        record_line(micros, old=item("removed")),
        record_line(micros, item("made")),
        record_line(micros, item("c-3", name={"S": "older"})),
    ]
    export(lake, files=[lines], incremental=True, id="inc-1")
    assert run(lake).entities[0].note is None
    expected = {"changed": "new", "removed": "removed", "made": "Name of made", "c-3": "Name of c-3"}
    assert state(lake) == expected
    before = content_hash(lake, CUSTOMERS)
    export(lake, files=[lines], incremental=True, id="inc-2", prefix="other/")
    assert run(lake, "other").entities[0].counts.duplicate == 4
    assert content_hash(lake, CUSTOMERS) == before


def test_an_export_of_another_table_changes_nothing(lake: Lake) -> None:
    lake = dataclasses.replace(lake, operational_table=TABLE)
    stream(lake, ("INSERT", T - 50, item("ours")))
    other = {"tableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/gavel-unit-other"}
    export(lake, item("theirs"), summary=other)
    with pytest.raises(UnusableExport, match="expected one of table gavel-unit-table"):
        run(lake)
    export(lake, item("ours", T - 50), id="other-id", prefix="ours/")
    run(lake, "ours")
    assert state(lake) == {"ours": "Name of ours"}


@pytest.mark.parametrize("lost", ["export-failures/", "landing/", "backfill/", "everything", "torn notes"])
def test_what_is_lost_of_a_landed_export_is_landed_again(lake: Lake, lost: str) -> None:
    """Retention and lifecycle rules remove each of it at a time of its own."""
    stream(lake, ("INSERT", T - 50, item("gone")))
    export(lake, item("c-1"), item("c-2"), {"entity": {"S": "other"}, "pk": {"S": "a"}, "sk": {"S": "b"}})
    first, before = run(lake), content_hash(lake, CUSTOMERS)
    made = [o.key for o in lake.store.list("") if "export-" in o.key or o.key.startswith("backfill/")]
    for key in made:
        if lost == "torn notes" and key.startswith("backfill/"):
            lake.store.write(key, lake.store.read(key)[:-9])
        elif lost == "everything" or key.startswith(lost):
            lake.store.delete([key])
    again = run(lake)
    assert (again.items, again.unmapped, again.problems) == (first.items, first.unmapped, first.problems)
    assert content_hash(lake, CUSTOMERS) == before
    there = {o.key for o in lake.store.list("")}
    assert {key for key in made if "vanished" not in key and "removed" not in key} <= there


def test_a_file_is_known_by_its_content_not_by_its_number(lake: Lake) -> None:
    """An export without manifests may gain files; a copy with the same id may have others."""
    folder = export(lake, item("b"), item("d"))
    lake.store.delete([o.key for o in lake.store.list(f"{folder}/manifest")])
    (found,) = find(lake, "exports", taken_at=AT)
    backfill(lake, CONTRACTS, found, ("customers",))
    lake.store.write(f"{folder}/data/0000.json.gz", gzip.compress(item_line(item("a")) + b"\n"))
    (found,) = find(lake, "exports", taken_at=AT)
    assert plan(lake, CONTRACTS, found, ("customers",)).left == 3
    assert backfill(lake, CONTRACTS, found, ("customers",)).items == 3
    assert set(state(lake)) == {"a", "b", "d"}
    export(lake, item("e"), prefix="copied/")
    run(lake, "copied")
    assert set(state(lake)) == {"a", "b", "d", "e"}
    before = content_hash(lake, CUSTOMERS)
    rebuild(lake, CUSTOMERS)
    publish(lake, CUSTOMERS)
    assert content_hash(lake, CUSTOMERS) == before


def test_where_there_is_no_export_it_is_said(lake: Lake) -> None:
    with pytest.raises(LookupError, match=r"expected an export .* here or below, found none"):
        find(lake, "s3://data/nowhere")
    lake.store.write("exports/AWSDynamoDB/1/_started", b"")
    with pytest.raises(UnusableExport, match=r"expected manifest-summary.json of a completed export"):
        find(lake, "exports")


def seeded(root: Path) -> None:
    """A lake with a stream and an export that has all kinds of work for a backfill."""
    lake = local_lake(root, Clock(LATER))
    stream(lake, ("INSERT", T - 100, item("vanished")), ("REMOVE", T - 60, item("wrongly")))
    compact(lake, CUSTOMERS, Scope.everything())
    publish(lake, CUSTOMERS)
    export(lake, item("wrongly"), item("c-1"), item("c-2"), item("x", entity={"S": "other"}))


EXPECTED = {"vanished": "removed", "wrongly": "Name of wrongly", "c-1": "Name of c-1", "c-2": "Name of c-2"}


def moments(root: Path) -> list[int]:
    """Operations of a backfill to strike at: all of its own, and some of the batches that it starts, which have tests
    of their own. The lake in `root` has what a whole backfill makes."""
    seeded(root)
    points = Failpoints()
    run(failing_lake(root, points, Clock(LATER)))
    own = [n for n, o in enumerate(points.operations, 1) if "export" in o.name or "backfill/" in o.name]
    assert len(own) >= 7  # two files of one entity, their notes, what is kept, two objects of corrections
    others = range(3, len(points.operations) + 1, 11 if DEEP else 33)
    return sorted({*own, *others})


@pytest.mark.parametrize("kind", ["crash", "error"])
def test_whatever_stops_it_the_next_call_goes_on(tmp_path: Path, kind: Any) -> None:
    """Before an operation of the store or the catalog took effect, or after it."""
    for number, at in enumerate(moments(tmp_path / "whole")):
        root = tmp_path / f"{at}"
        seeded(root)
        points = Failpoints(Fault(at, kind, after=number % 2 == (kind == "crash")))
        with pytest.raises((Crash, Unanswered)):
            run(failing_lake(root, points, Clock(LATER)))
        assert points.struck
        run(local_lake(root, Clock(LATER)))
        assert state(local_lake(root)) == EXPECTED
        assert content_hash(local_lake(root), CUSTOMERS) == content_hash(local_lake(tmp_path / "whole"), CUSTOMERS), at


def test_two_at_once_do_what_one_does(tmp_path: Path) -> None:
    for at in moments(tmp_path / "whole"):
        root = tmp_path / f"{at}"
        seeded(root)

        def other(root: Path = root) -> None:
            run(local_lake(root, Clock(LATER)))

        points = Failpoints(meanwhile=(at, other))
        run(failing_lake(root, points, Clock(LATER)))
        assert points.struck
        assert state(local_lake(root)) == EXPECTED
        assert content_hash(local_lake(root), CUSTOMERS) == content_hash(local_lake(tmp_path / "whole"), CUSTOMERS), at


def test_another_writer_may_not_be_quicker_for_ever(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    export(lake, item("c-1"))

    def quicker(*arguments: object, **more: object) -> None:
        raise EntryConflict("quicker")

    monkeypatch.setattr(recovery, "publish", quicker)
    monkeypatch.setattr(races, "time", mock.Mock())  # no time passes between attempts
    with pytest.raises(EntryConflict):
        run(lake)


@pytest.mark.parametrize(
    ("export", "now", "left"),
    [(61, 300, 0.7), (61, 61, 0.939), (61, 1000, 0.0), (0, 300, 0.0), (61, -60_000, 0.0)],
    ids=["in its second", "at once", "in the next", "a whole second", "clocks differ"],
)
def test_a_listing_proves_an_export_in_the_second_after_it(export: int, now: int, left: float) -> None:
    """Milliseconds after a whole second; else an export that is brought in at once would have to be read again."""
    second = datetime(2026, 11, 21, 12, tzinfo=UTC)
    at, moment = (second + timedelta(milliseconds=n) for n in (export, now))
    assert rest_of_the_second(at, moment) == pytest.approx(left)
