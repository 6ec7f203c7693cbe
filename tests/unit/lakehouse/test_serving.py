"""A real PostgreSQL follows a published table: what is there, as which types, in one transaction with its watermark."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts import Contract, Contracts, Field
from contracts.model import Erasure
from contracts.types import DecimalType, IntegerType, StringType
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.serving.drift import check_served as check
from lakehouse.serving.sync import Synced
from lakehouse.serving.sync import sync_served as sync
from lakehouse.serving.wanted import Serving, ServingError, Target, Wish
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change
from tests.support.limits import LIMITS, limits
from tests.support.postgres import Server, rows, run


@pytest.fixture
def url(postgres_server: Server) -> str:
    return postgres_server.new_database()


def target(contract: Contract = PARCELS, **wish: Any) -> Target:
    wanted = {"personal": ("recipient",), **wish}
    return Serving("shop", {contract.name: Wish(**wanted)}, "").target(contract)


def bring(lake: Lake, url: str, contract: Contract = PARCELS, **wish: Any) -> Synced:
    done = sync(lake, target(contract, **wish), url)
    assert done is not None
    return done


def land(lake: Lake, landing: Landing, *changes: dict[str, str | None], contract: Contract = PARCELS) -> None:
    landing.land(changes)
    compact(lake, contract, Scope())
    publish(lake, contract)


def served(url: str, table: str = "parcels") -> list[dict[str, Any]]:
    return rows(url, f"SELECT * FROM shop.{table} ORDER BY 1, 2")


HOSTILE = "a'b\"c\\d,e\n\r\t\\.\\N;-- 'ü' 🎩 \x01\x1f"


def test_values_are_there_what_they_are_in_the_lake(lake: Lake, landing: Landing, url: str) -> None:
    full = change(
        version=1,
        price="123456789012.50",
        exact="1234567890123456789012345678.0123456789",
        state="sent",
        fragile="true",
        due="2026-02-28",
        sent_at="2026-01-01T01:02:03.000004+02:00",
        items=json.dumps([{"name": HOSTILE, "worth": "1.50", "checked": False}, {"name": "n", "worth": None}]),
        labels=json.dumps({"b": "x", "ä": HOSTILE, "a": "x,y"}),
        recipient=HOSTILE,
    )
    empty = change("p-0", version=1, price=None, recipient="", items="[]", labels="{}")
    land(lake, landing, full, empty, change("p-2", version=1, price=None))
    done = bring(lake, url)
    assert (done.written.inserted, done.rows, done.whole) == (3, 3, "first copy")
    nothing, most, least = served(url)
    assert (nothing["recipient"], nothing["items"], nothing["labels"]) == ("", [], {})
    assert most == {
        "parcel_id": "p-1",
        "part": 1,
        "sent_at": datetime(2025, 12, 31, 23, 2, 3, 4, tzinfo=UTC),
        "price": Decimal("123456789012.50"),
        "exact": Decimal("1234567890123456789012345678.0123456789"),
        "state": "sent",
        "fragile": True,
        "due": date(2026, 2, 28),
        "items": [{"name": HOSTILE, "worth": 1.5, "checked": False}, {"name": "n", "worth": None, "checked": None}],
        "labels": {"a": "x,y", "b": "x", "ä": HOSTILE},
        "recipient": HOSTILE,
    }
    assert {c for c, v in least.items() if v is None} == set(least) - {"parcel_id", "part", "sent_at"}
    (text,) = rows(url, "SELECT items #>> '{0,worth}' AS worth FROM shop.parcels WHERE parcel_id = 'p-1'")
    assert text == {"worth": "1.50"}  # exact, as a decimal is
    assert bring(lake, url).written.updated == 0


def test_the_state_and_its_watermark_are_beside_the_rows(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1))
    bring(lake, url)
    (said,) = rows(url, "SELECT * FROM shop.gavel_sync")
    state = published(lake, PARCELS)
    assert state is not None
    assert (said["entity"], said["table_name"], said["contract"], said["rows"]) == ("parcels", "parcels", "1.0.0", 1)
    assert (said["metadata_location"], said["batch"]) == (state.metadata_location, 1)
    assert (said["snapshot_id"], said["watermark"]) == (state.snapshot_id, state.watermark)


def test_changes_deletions_and_expiry_follow_and_nothing_else_is_written(
    lake: Lake, landing: Landing, url: str
) -> None:
    land(lake, landing, *(change(f"p-{n}", version=1) for n in range(8)))
    bring(lake, url)
    untouched = rows(url, "SELECT xmin::text, ctid::text FROM shop.parcels WHERE parcel_id = 'p-0'")
    land(
        lake,
        landing,
        change("p-1", version=2, price="11.00"),
        change("p-2", version=2, op="remove"),
        change("p-3", version=2, op="expire"),
        change("p-9", version=1),
        change("p-4", version=0, price="1.00"),  # older: it changes nothing
    )
    done = bring(lake, url)
    assert (done.whole, done.written.inserted, done.written.updated, done.written.deleted) == ("", 1, 1, 2)
    assert [r["parcel_id"] for r in served(url)] == ["p-0", "p-1", "p-4", "p-5", "p-6", "p-7", "p-9"]
    assert done.rows == 7
    assert {r["parcel_id"]: r["price"] for r in served(url)}["p-1"] == Decimal("11.00")
    assert rows(url, "SELECT xmin::text, ctid::text FROM shop.parcels WHERE parcel_id = 'p-0'") == untouched
    kept = bring(lake, url, expired=True)  # what is wanted changed: all rows are compared
    assert (kept.whole, kept.written.inserted, kept.rows) == ("its columns changed", 1, 8)


@pytest.mark.parametrize("how", LIMITS)
def test_a_table_that_was_rolled_back_is_followed_back(how: str, lake: Lake, landing: Landing, url: str) -> None:
    with limits(how):  # with "marking", rows are removed from files that stay
        land(lake, landing, *(change(f"p-{n}", version=1) for n in range(9)))
        bring(lake, url)
        before = served(url)
        land(lake, landing, change("p-1", version=2, op="remove"), change("p-x", version=1))
        bring(lake, url)
        land(lake, landing, change("p-2", version=2, op="remove"), change("p-3", version=2, price="7.00"))
        done = bring(lake, url)
        assert (done.written.inserted, done.written.updated, done.written.deleted) == (0, 1, 1)
        assert [r["parcel_id"] for r in served(url)] == ["p-0", *(f"p-{n}" for n in range(3, 9)), "p-x"]
        rollback(lake, PARCELS)
        rollback(lake, PARCELS)
        done = bring(lake, url)
    assert (done.whole, done.written.inserted, done.written.updated, done.written.deleted) == ("", 2, 1, 1)
    assert served(url) == before


def test_a_state_that_is_no_longer_there_costs_a_comparison_and_no_row(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change("p-1", version=1), change("p-2", version=1))
    bring(lake, url)
    run(url, "UPDATE shop.gavel_sync SET metadata_location = replace(metadata_location, 'metadata/', 'metadata/gone-')")
    land(lake, landing, change("p-1", version=2, op="remove"))
    done = bring(lake, url)
    assert "cannot be read any more" in done.whole
    assert (done.written.inserted, done.written.updated, done.written.deleted, done.rows) == (0, 0, 1, 1)


def test_personal_fields_stay_out_unless_they_are_named(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1, recipient="Ada"))
    bring(lake, url, personal=(), without=("exact", "items"))
    assert not {"recipient", "exact", "items"} & set(served(url)[0])


def test_a_dry_run_says_what_it_would_do_and_does_nothing(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1))
    done = sync(lake, target(), url, dry_run=True)
    assert done is not None
    assert "would be 1 inserted" in str(done)
    assert rows(url, "SELECT FROM pg_class WHERE relname IN ('parcels', 'gavel_sync')") == []


def test_a_sync_that_another_one_overtakes_begins_again(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change("p-1", version=1), change("p-2", version=1))
    bring(lake, url)
    land(lake, landing, change("p-3", version=1))
    lines: list[str] = []

    def overtake(line: str) -> None:  # when the difference is known, and nothing is written yet
        lines.append(line)
        if len(lines) == 1:
            land(lake, landing, change("p-1", version=2, op="remove"))
            bring(lake, url)

    done = sync(lake, target(), url, progress=overtake)
    assert done is not None
    assert "another sync was quicker" in lines[1]
    assert [r["parcel_id"] for r in served(url)] == ["p-2", "p-3"]
    assert (done.rows, done.written.inserted, done.written.deleted) == (2, 0, 0)


def test_nothing_is_published_yet(lake: Lake, url: str) -> None:
    assert sync(lake, target(), url) is None


# --- tables of the website's, and what it has on them ---


def test_a_table_of_somebody_else_is_left_alone(lake: Lake, landing: Landing, url: str) -> None:
    run(url, "CREATE SCHEMA shop", "CREATE TABLE shop.parcels (mine text)", "INSERT INTO shop.parcels VALUES ('x')")
    land(lake, landing, change(version=1))
    with pytest.raises(ServingError, match=r"shop.parcels: expected no such table, or one that Gavel made"):
        bring(lake, url)
    assert rows(url, "SELECT * FROM shop.parcels") == [{"mine": "x"}]
    assert bring(lake, url, table="user").rows == 1  # a reserved word of PostgreSQL


def test_a_table_that_somebody_dropped_is_made_again(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1))
    bring(lake, url)
    run(url, "DROP TABLE shop.parcels")
    assert bring(lake, url).whole == "first copy"
    assert len(served(url)) == 1


def test_two_lakes_do_not_write_one_table(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1))
    bring(lake, url)
    run(url, "UPDATE shop.gavel_sync SET source = 'data/gavel_prod'")
    with pytest.raises(ServingError, match="found those of data/gavel_prod"):
        bring(lake, url)


WIDER = replace(
    PARCELS,
    version="1.1.0",
    fields=(
        *(replace(f, type=DecimalType(18, 2)) if f.name == "price" else f for f in PARCELS.fields),
        Field("colour", 20, StringType()),
        Field("weight", 21, IntegerType()),
    ),
)


def test_added_and_wider_fields_are_added_and_widened_in_place(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change("p-1", version=1), change("p-2", version=1))
    bring(lake, url)
    run(
        url,
        "ALTER TABLE shop.parcels ADD COLUMN own text DEFAULT 'o'",
        "CREATE VIEW shop.names AS SELECT parcel_id FROM shop.parcels",
        "CREATE ROLE reader",
        "GRANT SELECT ON shop.parcels TO reader",
    )
    more = Landing(lake, WIDER, landing.count)
    land(lake, more, change("p-1", version=2, price="1234567890123456.00", colour="red", weight="7"), contract=WIDER)
    bring(lake, url, WIDER)
    one, other = served(url)
    assert (one["price"], one["colour"], one["weight"], one["own"]) == (Decimal("1234567890123456.00"), "red", 7, "o")
    assert (other["price"], other["colour"], other["weight"], other["own"]) == (Decimal("10.50"), None, None, "o")
    assert rows(url, "SELECT count(*) AS n FROM shop.names") == [{"n": 2}]
    assert rows(url, "SELECT has_table_privilege('reader', 'shop.parcels', 'SELECT') AS may") == [{"may": True}]
    run(url, "REVOKE ALL ON shop.parcels FROM reader", "DROP ROLE reader")


def test_a_view_on_a_column_that_must_be_altered_is_named_and_nothing_changes(
    lake: Lake, landing: Landing, url: str
) -> None:
    land(lake, landing, change(version=1))
    bring(lake, url)
    run(url, "CREATE VIEW shop.prices AS SELECT price FROM shop.parcels")
    more = Landing(lake, WIDER, landing.count)
    land(lake, more, change("p-1", version=2, colour="red"), contract=WIDER)
    before = served(url), rows(url, "SELECT * FROM shop.gavel_sync")
    with pytest.raises(ServingError, match=r"view shop.prices depends on column .price.*nothing was changed"):
        bring(lake, url, WIDER)
    assert (served(url), rows(url, "SELECT * FROM shop.gavel_sync")) == before
    with pytest.raises(ServingError, match="nothing was changed"):
        bring(lake, url, WIDER, without=("price",))


def test_a_field_that_is_left_out_from_now_on_is_dropped(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1, recipient="Ada"))
    bring(lake, url)
    assert bring(lake, url, personal=()).whole == "its columns changed"
    assert "recipient" not in served(url)[0]


# --- what somebody wrote into a served table ---


def full(key: str, **fields: str | None) -> dict[str, str | None]:
    more = {
        "items": json.dumps([{"name": HOSTILE.rstrip("\x1f"), "worth": "1.50", "checked": True}]),
        "labels": json.dumps({"bb": "1", "a": '\\"/', "ä": "3"}),
        "due": "2026-02-28",
        "fragile": "false",
        "exact": "-0.0000000001",
        "sent_at": "2026-01-01T01:02:03.000004Z",
    }
    return change(key, **{"version": 1, **more, **fields})  # type: ignore[arg-type]


def test_a_served_table_is_found_equal_by_its_buckets_alone(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, *(full(f"p-{n}") for n in range(20)), change("p-x", version=1, price=None))
    bring(lake, url)
    lines: list[str] = []
    drift = check(lake, target(), url, progress=lines.append)
    assert drift.equal
    assert (drift.rows, drift.counts) == (21, {})  # no bucket was looked into
    assert "21 rows of shop.parcels are those of the lake" in str(drift)


def test_what_somebody_wrote_is_named_and_put_right_and_nothing_else(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, *(full(f"p-{n}") for n in range(20)))
    bring(lake, url)
    right = served(url)
    run(
        url,
        "UPDATE shop.parcels SET price = 0, state = 'gone' WHERE parcel_id = 'p-3'",
        "UPDATE shop.parcels SET items = items - 0 WHERE parcel_id = 'p-4'",
        "DELETE FROM shop.parcels WHERE parcel_id = 'p-5'",
        "INSERT INTO shop.parcels (parcel_id, part, sent_at) VALUES ('mine', 7, now())",
    )
    place = "SELECT parcel_id, xmin::text, ctid::text FROM shop.parcels WHERE parcel_id IN ('p-1', 'p-2') ORDER BY 1"
    untouched = rows(url, place)
    found = check(lake, target(), url)
    assert found.counts == {"missing": 1, "extra": 1, "unequal": 2}
    assert sorted(map(str, found.found)) == [
        "mine / 7: extra", "p-3 / 1: unequal (price, state)", "p-4 / 1: unequal (items)", "p-5 / 1: missing",
    ]  # fmt: skip
    done = check(lake, target(), url, repair=True)
    assert done.written is not None
    assert (done.written.inserted, done.written.updated, done.written.deleted) == (1, 2, 1)
    assert served(url) == right
    assert check(lake, target(), url).equal
    assert rows(url, place) == untouched


def test_a_value_that_is_written_in_another_way_is_no_difference(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, full("p-1"))
    bring(lake, url)
    run(url, "UPDATE shop.parcels SET items = jsonb_set(items, '{0,worth}', '1.5')")
    drift = check(lake, target(), url)
    assert drift.equal
    assert drift.counts == {"missing": 0, "extra": 0, "unequal": 0}  # a bucket was looked into


def test_a_table_is_compared_with_what_it_shows_and_not_with_what_came_since(
    lake: Lake, landing: Landing, url: str
) -> None:
    land(lake, landing, full("p-1"))
    bring(lake, url)
    land(lake, landing, full("p-1", version="2", price="3.00"), full("p-2"))
    assert check(lake, target(), url).equal


def test_a_repair_that_does_not_hold_changes_nothing(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, full("p-1"), full("p-2"))
    bring(lake, url)
    run(
        url,
        "CREATE FUNCTION shop.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.price = 1; RETURN NEW; END'",
        "CREATE TRIGGER keep BEFORE UPDATE ON shop.parcels FOR EACH ROW EXECUTE FUNCTION shop.keep()",
        "UPDATE shop.parcels SET state = 'gone' WHERE parcel_id = 'p-1'",
    )
    before = served(url)
    with pytest.raises(ServingError, match="look for triggers"):
        check(lake, target(), url, repair=True)
    assert served(url) == before


def test_an_altered_column_is_named(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, full("p-1"))
    bring(lake, url)
    run(url, "ALTER TABLE shop.parcels ALTER COLUMN state TYPE varchar(9), DROP COLUMN due")
    drift = check(lake, target(), url)
    assert drift.columns == ("column state is character varying(9) and not text", "column due is gone")
    with pytest.raises(ServingError, match="alter them back first"):
        check(lake, target(), url, repair=True)


def test_there_must_be_something_to_compare(lake: Lake, landing: Landing, url: str) -> None:
    with pytest.raises(ServingError, match="sync it"):
        check(lake, target(), url)
    land(lake, landing, full("p-1"))
    bring(lake, url)
    run(url, "UPDATE shop.gavel_sync SET metadata_location = replace(metadata_location, 'metadata/', 'metadata/gone-')")
    with pytest.raises(ServingError, match="sync it, and check again"):
        check(lake, target(), url)


def test_a_key_that_names_a_person_is_hidden(lake: Lake, landing: Landing, url: str) -> None:
    named = replace(PARCELS, erasure=Erasure(("parcel_id",)))
    land(lake, landing, full("Ada Lovelace"))
    bring(lake, url, named)
    run(url, "DELETE FROM shop.parcels")
    (found,) = check(lake, target(named), url).found
    assert "Ada" not in str(found)
    assert str(found).startswith("pseudonym ")


# --- what is wanted ---


def write(folder: Path, text: str) -> Path:
    path = folder / "serving.yaml"
    path.write_text(text)
    return path


def test_a_file_says_what_is_served(tmp_path: Path) -> None:
    text = "schema: shop\ntables:\n  parcels:\n    table: boxes\n    personal: [recipient]\n    without: [due]\n"
    (found,) = Serving.load(write(tmp_path, text), "host=db").targets(Contracts({"parcels": PARCELS}))
    assert (found.schema, found.table, found.expired) == ("shop", "boxes", False)
    assert "recipient" in found.names
    assert "due" not in found.names
    (plain,) = Serving.load(write(tmp_path, "tables: {parcels: }"), "host=db").targets(Contracts({"parcels": PARCELS}))
    assert (plain.schema, plain.table, "recipient" in plain.names) == ("gavel", "parcels", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tables: {lots: {}}", "found lots"),
        ("tables: {parcels: {without: [colour]}}", "found colour"),
        ("tables: {parcels: {without: [part]}}", "expected the whole key"),
        ("tables: {parcels: {table: gavel_sync}}", "gavel_sync taken"),
        ("tables: {parcels: {table: 'x\"; DROP TABLE y'}}", "tables.parcels.table"),
        ("tables: {parcels: {where: 1}}", "tables.parcels.where"),
        ("schema: '" + "s" * 64 + "'\ntables: {}", "schema"),
        ("tables: [", "expected a YAML file"),
        ("", "file"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ServingError, match=says):
        Serving.load(write(tmp_path, text), "host=db").targets(Contracts({"parcels": PARCELS}))


def test_an_address_is_never_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "tables: {parcels: {}}")
    with pytest.raises(ServingError) as found:
        Serving.load(path, "postgresql://gavel:hunter2@db/x?wrong=%zz")  # pragma: allowlist secret
    assert "hunter2" not in str(found.value)
    assert found.value.__suppress_context__
    assert "hunter2" not in repr(Serving.load(path, "postgresql://gavel:hunter2@db/x"))  # pragma: allowlist secret


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    long = "n" * 64
    contract = replace(PARCELS, fields=(*PARCELS.fields, Field(long, 30, StringType())))
    with pytest.raises(ServingError, match="at most 63 bytes"):
        target(contract)
    assert long not in target(contract, without=(long,)).names


def test_a_role_that_may_not_write_changes_nothing(lake: Lake, landing: Landing, url: str) -> None:
    land(lake, landing, change(version=1))
    run(url, "CREATE ROLE guest LOGIN")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bring(lake, url.replace("gavel@", "guest@"))
    assert rows(url, "SELECT FROM pg_namespace WHERE nspname = 'shop'") == []
