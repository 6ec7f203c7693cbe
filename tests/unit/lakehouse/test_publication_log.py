"""The publication log has one row for each state that readers were ever shown, whatever goes wrong, and keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from contracts import Contracts
from contracts import publication_log as described
from contracts.logs import LOGS
from contracts.prices import load_prices
from lakehouse.api import compact, maintain, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.publish import audit, lateness, log_tables, publication_log
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.results import Built, Published, StateRetention, Work
from lakehouse.storage.lake import Lake
from tests.support.failing import Crash, Failpoints, Fault, Operation, Unanswered, failing_lake
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake
from warehouse.sources import create_source_views, logs_of_lake, logs_of_slice

EVERYTHING = Scope.everything()
AT_ONCE = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))


def rows(lake: Lake) -> list[publication_log.Row]:
    """All rows of the parcels, those of yesterday and tomorrow too: midnight may pass during a test."""
    now = datetime.now(UTC)
    return [row for back in (1, 0, -1) for row in publication_log.read(lake, "parcels", now - timedelta(days=back))]


def batch(lake: Lake, landing: Landing, version: int, run_id: str | None = None) -> None:
    landing.land([change(version=version)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS, run_id=run_id)


def location(lake: Lake) -> str:
    """The metadata file that readers see."""
    state = published(lake, PARCELS)
    assert state is not None
    return state.metadata_location


def name(location: str) -> str:
    return location.rpartition("/")[2]


def test_a_row_says_what_the_batch_did(lake: Lake, landing: Landing) -> None:
    """Input, output, watermark and duration are those of the batch, and what readers see then is counted."""
    batch(lake, landing, version=1)
    landing.land([change(version=2), change(version=1), change("p-2", version=1), change("p-3", version=1, price="x")])
    landing.land_bytes(b"no parquet at all")
    result = compact(lake, PARCELS, EVERYTHING)
    assert len(rows(lake)) == 1, "what is not published yet has no row"
    state = publish(lake, PARCELS, run_id="run-2").published

    first, second = rows(lake)
    assert (first["applied"], first["run_id"], first["rows_after"]) == (1, None, 1)
    assert second == {
        "publication_id": name(result.metadata_location),
        "entity": "parcels",
        "kind": "batch",
        "engine": "embedded",
        "run_id": "run-2",
        "batch_id": result.batch_id,
        "batch": result.batch,
        "commits": 1,
        "begun_at": "2026-11-21 12:00:00.000",
        "ended_at": "2026-11-21 12:00:00.000",
        "published_at": "2026-11-21 12:00:00.000",
        "seconds": second["seconds"],
        "objects": 2,
        "bytes_read": result.bytes,
        "rows_read": 4,
        "applied": 2,
        "superseded": 0,
        "duplicate": 1,
        "quarantined": 1,
        "too_late": 0,
        "objects_quarantined": 1,
        "objects_held": 0,
        "files_written": second["files_written"],
        "bytes_written": second["bytes_written"],
        "rows_after": 2,
        "changes_after": 3,
        "files_after": state.files,
        "bytes_after": state.bytes,
        "watermark": "2026-11-21 12:00:00.000",
        "queries": 0,
        "bytes_scanned": 0,
        "billed_usd": 0.0,
        "put_requests": 0,  # a folder is no S3
        "get_requests": 0,
        "glue_requests": 0,
        "bytes_sent": 0,
        "bytes_fetched": 0,
        "model": None,
    }
    assert 0 < second["seconds"] < 3600
    assert second["files_written"] >= 2, "one of the table, one of its history"
    assert second["bytes_written"] > 1000


def test_what_is_billed_is_kept_to_the_millionth(lake: Lake, landing: Landing) -> None:
    batch(lake, landing, version=1)
    state = published(lake, PARCELS)
    assert state is not None
    work = Work("batch", lake.now(), lake.now(), 1.23456, engine="athena", bytes_scanned=10, billed_usd=0.00005)
    publication_log.record(lake, state, work, lake.now(), None)
    (row,) = rows(lake)
    assert (row["seconds"], row["billed_usd"], row["engine"]) == (1.235, 0.00005, "athena")


def test_a_day_is_billed_for_queries_and_requests(lake: Lake, landing: Landing) -> None:
    batch(lake, landing, version=1)
    state, prices = published(lake, PARCELS), load_prices()
    assert state is not None
    requests = {"put_requests": 1_000_000, "get_requests": 2_000_000, "glue_requests": 3_000_000}
    work = Work("batch", lake.now(), lake.now(), 1.0, billed_usd=0.25, **requests)  # type: ignore[arg-type]
    publication_log.record(lake, state, work, lake.now(), None)
    expected = 0.25 + prices.usd("s3_put", 1e6) + prices.usd("s3_get", 2e6) + prices.usd("glue_request", 3e6)
    assert expected > 8
    (day,) = publication_log.days_of(lake, PARCELS.name)
    assert publication_log.billed(lake, day, {}) == pytest.approx(expected)
    key = publication_log.key_of(lake, PARCELS.name, state.metadata_location)
    lake.store.write(
        key, orjson.dumps({**rows(lake)[0], **dict.fromkeys(requests)}) + b"\n"
    )  # of before they were counted
    assert publication_log.billed(lake, day, {}) == pytest.approx(0.25)


def test_publications_are_followed_also_when_their_day_is_joined(lake: Lake, landing: Landing, clock: Clock) -> None:
    clock.moment = begun = datetime.now(UTC).replace(microsecond=0)
    known: dict[str, dict[str, Any]] = {}

    def followed() -> lateness.Followed:
        return lateness.follow(lake, [lake.now() - timedelta(days=back) for back in range(9)], lake.now(), known)

    for version in (1, 2, 3):
        batch(lake, landing, version)
        clock.forward(minutes=1)
    publication_log.record_build(lake, [Built("fct_parcels", True, begun)], begun, "a run")
    publication_log.record_build(lake, [Built("dim_date", True, None)], begun, "another")
    for _ in range(2):  # as single objects, then joined
        zero = [begun.timestamp(), begun.timestamp(), 0]
        found = {what: (seen - zero).tolist() for what, seen in followed().publications.items()}
        assert found["table", "parcels"] == [[0, 0, 1], [60, 60, 1], [120, 120, 1]]
        assert found["model", "fct_parcels"] == [[180, 0, 0]]
        assert found["model", "dim_date"][0][0] == 180
        publication_log.join_days(lake, PARCELS)
    clock.forward(minutes=57)
    late = followed().lateness(("model", "fct_parcels"), timedelta(minutes=15))
    assert late is None or not len(late.spans), "there is no news that it may lack"
    late = followed().lateness(("table", "parcels"), timedelta(minutes=15))
    assert late is not None
    assert late.late(timedelta(days=1)) == timedelta(minutes=43)
    assert late.late_since(timedelta(days=1)) == begun + timedelta(minutes=17)
    clock.forward(days=20)
    assert followed().publications == {}
    assert len(known) == 9, "nothing is kept of days that nobody asks for"


def test_a_pass_that_finds_nothing_moves_the_watermark_and_has_a_row(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    batch(lake, landing, version=1)
    clock.forward(minutes=10)
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    second = rows(lake)[-1]
    assert (second["objects"], second["commits"], second["files_written"]) == (0, 0, 0)
    assert (second["rows_after"], second["watermark"]) == (1, "2026-11-21 12:10:00.000")
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    assert len(rows(lake)) == 2, "nothing was published again"


def test_rows_stay_when_the_table_is_rebuilt_rolled_back_and_its_snapshots_expire(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    clock.moment = datetime.now(UTC)
    batch(lake, landing, version=1)
    clock.forward(seconds=1)
    batch(lake, landing, version=2)
    kept = rows(lake)
    clock.forward(seconds=1)
    rollback(lake, PARCELS, run_id="by hand")
    clock.forward(seconds=1)
    batch(lake, landing, version=3)
    clock.forward(seconds=1)
    compact(lake, PARCELS, Scope.requeue(frozenset({"landing/parcels/dt=2026-11-21/hh=12/object-0001.parquet"})))
    publish(lake, PARCELS)
    clock.forward(seconds=1)
    rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    clock.forward(minutes=10)  # all files are older than that
    maintain(lake, PARCELS, state_retention=AT_ONCE, run_id="at night")

    found = rows(lake)
    assert all(row in found for row in kept), "no row changes"
    assert [row["kind"] for row in found] == [
        "batch",
        "batch",
        "roll_back",
        "batch",
        "replay",
        "rebuild",
        "maintenance",
    ]
    back, again, night = found[2], found[3], found[-1]
    assert (back["publication_id"].split(" ")[0], back["run_id"]) == (found[0]["publication_id"], "by hand")
    assert (back["rows_read"], back["rows_after"]) == (0, 1)
    assert (again["objects"], again["applied"]) == (2, 1), "what was rolled back is ingested again"
    assert (found[5]["objects"], found[5]["rows_after"]) == (3, 1)
    assert (night["run_id"], night["rows_read"], night["rows_after"]) == ("at night", 0, 1)
    assert len({row["publication_id"] for row in found}) == 7


def interrupted(root: Path, fault: Fault | None) -> list[Operation]:
    """Publish what is compacted in a process of its own that something happens to; returns what it did."""
    points = Failpoints(fault)
    try:
        publish(failing_lake(root, points), PARCELS)
    except (Crash, Unanswered):
        assert points.struck
    return points.operations


def compacted(root: Path, *versions: int) -> Landing:
    """A lake with a publication for each version, but for the last, which is compacted."""
    lake = local_lake(root)
    landing = Landing(lake, PARCELS)
    for version in versions[:-1]:
        batch(lake, landing, version)
    landing.land([change(version=versions[-1])])
    compact(lake, PARCELS, EVERYTHING)
    return landing


@pytest.mark.parametrize(("kind", "after"), [("crash", True), ("crash", False), ("error", False)])
def test_whatever_goes_wrong_each_publication_has_its_row_after_the_next_run(
    tmp_path: Path, kind: Any, after: bool
) -> None:
    """At each write of a publication: no row of what readers never saw, none missing of what they did."""
    compacted(tmp_path / "undisturbed", 1, 2)
    operations = interrupted(tmp_path / "undisturbed", None)
    writes = [n for n, operation in enumerate(operations, start=1) if operation.writes]
    assert described.TABLE in operations[writes[-1] - 1].name, "the row is written last"
    for at in writes:
        root = tmp_path / str(at)
        landing = compacted(root, 1, 2)
        interrupted(root, Fault(at, kind, after))
        lake = local_lake(root)
        shown = {name(location(lake))}
        batch(lake, landing, version=3)
        shown |= {name(location(lake))}

        found = rows(lake)
        where = f"{kind} at {operations[at - 1].name}"
        assert {row["publication_id"] for row in found[1:]} == shown - {found[0]["publication_id"]}, where
        assert len(found) == len({row["publication_id"] for row in found}), where
        assert sum(row["applied"] + row["superseded"] for row in found) == found[-1]["changes_after"] == 3, where


def die_before_the_row(lake: Lake) -> None:
    """Publish in a process that dies once readers see the new state."""
    write = publication_log.record

    def dying(lake: Lake, state: Published, work: Work, at: datetime | None, run_id: str | None) -> None:
        if at is not None:
            raise Crash
        write(lake, state, work, at, run_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publication_log, "record", dying)
        with pytest.raises(Crash):
            publish(lake, PARCELS)


def test_dying_twice_before_the_row_is_written_leaves_none_out(tmp_path: Path) -> None:
    """The row that is missing is written before anything else becomes visible; when readers saw it is not known."""
    landing = compacted(tmp_path, 1, 2)
    for version in (3, 4):
        die_before_the_row(local_lake(tmp_path))
        landing.land([change(version=version)])
        compact(local_lake(tmp_path), PARCELS, EVERYTHING)
    publish(local_lake(tmp_path), PARCELS)
    found = rows(local_lake(tmp_path))
    assert [row["batch"] for row in found] == [1, 2, 3, 4]
    assert [row["published_at"] is None for row in found] == [False, True, True, False]
    assert [row["rows_read"] for row in found] == [1, 1, 1, 1]


def test_publishing_again_writes_the_row_that_is_missing(tmp_path: Path) -> None:
    """As Dagster does when it repeats a step: the table is published already, and nothing moves."""
    compacted(tmp_path, 1, 2)
    die_before_the_row(local_lake(tmp_path))
    assert publish(local_lake(tmp_path), PARCELS).changed is False
    assert [row["batch"] for row in rows(local_lake(tmp_path))] == [1, 2]


def a_day_later(clock: Clock) -> None:
    """Rows lie by the day on which their state was really written."""
    clock.moment = datetime.now(UTC) + timedelta(days=1)


def join_for_good(lake: Lake, clock: Clock) -> int:
    """Join days, and again once no reader reads any more what was joined; returns how many objects are gone."""
    assert publication_log.join_days(lake, PARCELS) == 0
    clock.moment = max(datetime.now(UTC), clock.moment) + publication_log.READERS_TAKE
    return publication_log.join_days(lake, PARCELS)


def objects(lake: Lake) -> list[str]:
    return [stored.key.rpartition("/")[2] for stored in lake.store.list(f"{described.TABLE}/")]


def test_a_day_becomes_one_object(lake: Lake, landing: Landing, clock: Clock) -> None:
    """What is published keeps an object of its own, where the next publication looks for it."""
    clock.moment = datetime.now(UTC)
    for version in (1, 2, 3):
        batch(lake, landing, version)
        clock.forward(seconds=1)
    before = rows(lake)
    assert join_for_good(lake, clock) == 2
    assert rows(lake) == before
    present = publication_log.key_of(lake, "parcels", location(lake)).rpartition("/")[2]
    assert len(objects(lake)) == 2
    assert present in objects(lake)
    assert publication_log.join_days(lake, PARCELS) == 0
    batch(lake, landing, version=4)
    assert rows(lake)[:3] == before, "the row is not missing that the new one follows"
    assert join_for_good(lake, clock) == 2
    assert [row["batch"] for row in rows(lake)] == [1, 2, 3, 4]
    assert len(objects(lake)) == 2


def test_a_reader_misses_nothing_of_a_day_that_is_joined_while_it_reads(
    lake: Lake, landing: Landing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has listed objects that are gone when it comes to them."""
    clock.moment = datetime.now(UTC)
    for version in (1, 2, 3):
        batch(lake, landing, version)
        clock.forward(seconds=1)
    before, day = rows(lake), datetime.now(UTC)
    assert publication_log.join_days(lake, PARCELS) == 0
    clock.moment = max(datetime.now(UTC), clock.moment) + publication_log.READERS_TAKE
    listed = list(lake.store.list(f"{described.TABLE}/"))
    assert publication_log.join_days(lake, PARCELS) == 2
    monkeypatch.setattr(type(lake.store), "list", lambda *_: iter(listed))
    assert publication_log.read(lake, "parcels", day) == before
    known: dict[str, Any] = {}
    assert publication_log.billed(lake, day, known) == pytest.approx(sum(map(publication_log._usd, before)))


def test_builds_that_follow_each_other_join_once_an_hour(lake: Lake, landing: Landing, clock: Clock) -> None:
    clock.moment = datetime.now(UTC)
    for version in range(1, 7):
        batch(lake, landing, version)
        clock.forward(minutes=5)
        publication_log.join_days(lake, PARCELS)
        assert sum("joined-" in name for name in objects(lake)) == (version > 2)
    clock.forward(minutes=60)
    assert publication_log.join_days(lake, PARCELS) == 2
    assert [row["batch"] for row in rows(lake)] == [1, 2, 3, 4, 5, 6]


def test_two_that_join_the_same_day_lose_nothing(tmp_path: Path, clock: Clock) -> None:
    """Another process joins a day with one more row in it, after this one has read it."""
    clock.moment = datetime.now(UTC)
    landing = compacted(tmp_path, 1, 2, 3)
    publish(local_lake(tmp_path), PARCELS)

    def meanwhile() -> None:
        for version in (4, 5):
            batch(local_lake(tmp_path), landing, version)
        publication_log.join_days(local_lake(tmp_path, clock), PARCELS)

    publication_log.join_days(failing_lake(tmp_path, Failpoints(meanwhile=(2, meanwhile)), clock), PARCELS)
    assert [row["batch"] for row in rows(local_lake(tmp_path))] == [1, 2, 3, 4, 5]
    join_for_good(local_lake(tmp_path, clock), clock)
    assert [row["batch"] for row in rows(local_lake(tmp_path))] == [1, 2, 3, 4, 5]
    assert len(objects(local_lake(tmp_path))) == 2


def test_what_a_reader_listed_before_a_day_was_joined_stays_until_it_has_read_it(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    """Joined as often as may be, at any moment of an hour: nothing that was there at its beginning is gone."""
    clock.moment = begun = datetime.now(UTC)
    listed: list[str] = []
    for version in range(1, 6):
        batch(lake, landing, version)
        publication_log.join_days(lake, PARCELS)
        listed = listed or objects(lake)
        assert set(listed) <= set(objects(lake))
        clock.forward(minutes=10)
    clock.moment = begun + timedelta(hours=3)
    assert publication_log.join_days(lake, PARCELS) > 0
    assert [row["batch"] for row in rows(lake)] == [1, 2, 3, 4, 5]


def test_joining_a_day_may_be_interrupted(tmp_path: Path, clock: Clock) -> None:
    """After each of its writes in turn every row is there, and the next night ends it."""
    landing = compacted(tmp_path, 1, 2, 3)
    publish(local_lake(tmp_path), PARCELS)
    batch(local_lake(tmp_path), landing, version=4)
    before = rows(local_lake(tmp_path))
    a_day_later(clock)
    for at in (1, 2, 3):
        points = Failpoints(Fault(at))
        with pytest.raises(Crash):
            publication_log.join_days(failing_lake(tmp_path, points, clock), PARCELS)
        assert rows(local_lake(tmp_path)) == before
    publication_log.join_days(local_lake(tmp_path, clock), PARCELS)
    assert rows(local_lake(tmp_path)) == before
    assert len(objects(local_lake(tmp_path))) == 2


def test_rows_are_removed_behind_their_retention_only(lake: Lake, landing: Landing, clock: Clock) -> None:
    batch(lake, landing, version=1)
    written = datetime.now(UTC)
    for back in (log_tables.RETENTION_DAYS - 1, log_tables.RETENTION_DAYS + 2):
        day = written - timedelta(days=back)
        lake.store.write(f"{described.TABLE}/{described.DAY}={day:%Y-%m-%d}/parcels.joined-1.json.gz", b"")
        lake.store.write(f"{described.TABLE}/{described.DAY}={day:%Y-%m-%d}/letters.joined-1.json.gz", b"")
    clock.moment = written
    assert publication_log.join_days(lake, PARCELS) == 1
    assert sum(found.endswith(".joined-1.json.gz") for found in objects(lake)) == 3, (
        "those of another entity are not ours"
    )


def test_a_state_that_is_shown_again_is_reported_once(lake: Lake, landing: Landing, clock: Clock) -> None:
    """Its row was joined with its day, so that the next publication takes it for missing."""
    batch(lake, landing, version=1)
    batch(lake, landing, version=2)
    a_day_later(clock)
    publication_log.join_days(lake, PARCELS)
    rollback(lake, PARCELS)
    batch(lake, landing, version=3)
    found = [row for row in rows(lake) if row["kind"] == "batch"]
    assert len({row["publication_id"] for row in found}) == len(found) == 3
    assert all(row["published_at"] for row in found), "of two tellings the one that knows more"


def test_of_two_tellings_the_one_that_knows_when_readers_saw_it_counts(
    lake: Lake, landing: Landing, clock: Clock
) -> None:
    """A row that was restored after a crash does not know it; a day that holds both is joined to what is known."""
    for version in (1, 2):
        batch(lake, landing, version)
    first, second = rows(lake)
    assert first["published_at"]
    folder = publication_log.key_of(lake, "parcels", location(lake)).rpartition("/")[0]
    unreported = orjson.dumps({**first, "published_at": None}, option=orjson.OPT_APPEND_NEWLINE)
    for place in ("0", "z"):  # listed before and after the row that knows it
        lake.store.write(f"{folder}/parcels.{place}.json", unreported)
    clock.moment = datetime.now(UTC)
    assert rows(lake) == [first, second]
    publication_log.join_days(lake, PARCELS)
    assert rows(lake) == [first, second]


def test_all_logs_have_tables_from_the_first_publication_on(lake: Lake, landing: Landing) -> None:
    """Marts read them all: Athena refuses a view over a table that is not there."""
    published = {log.name: lake.entries.get(lake.published_database, log.name) for log in LOGS}
    assert set(published.values()) == {None}
    batch(lake, landing, version=1)
    for log in LOGS:
        entry = lake.entries.get(lake.published_database, log.name)
        assert entry is not None, log.name
        assert [c["Name"] for c in entry.table["StorageDescriptor"]["Columns"]] == [c.name for c in log.columns]


def test_the_catalog_describes_the_rows(lake: Lake, landing: Landing) -> None:
    """The table is there from the first publication on; what somebody changes in it is found and set right."""
    batch(lake, landing, version=1)
    entry = lake.entries.get(lake.published_database, "publication_log")
    assert entry is not None
    columns = {c["Name"]: c["Type"] for c in entry.table["StorageDescriptor"]["Columns"]}
    assert list(columns) == list(rows(lake)[0])
    assert (columns["watermark"], columns["seconds"], columns["objects"]) == ("timestamp", "decimal(12,3)", "bigint")
    assert entry.parameters["projection.dt.range"].startswith("NOW-407DAYS")
    assert log_tables.refresh(lake) == ()
    lake.entries.update(entry, {**entry.table, "Description": "mine"})
    (drift,) = log_tables.refresh(lake)
    assert (drift.what, drift.found) == ("description", "mine")


def test_a_local_build_reads_every_row(lake: Lake, landing: Landing, clock: Clock, tmp_path: Path) -> None:
    """Single objects and joined days, with the types of the columns; a lake without any has an empty view."""
    contracts = Contracts({PARCELS.name: PARCELS})
    with duckdb.connect() as connection:
        create_source_views(connection, contracts, {}, logs_of_lake(lake))
        assert connection.sql("from catalog.publication_log").fetchall() == []
        for version in (1, 2, 3):
            batch(lake, landing, version)
        a_day_later(clock)
        publication_log.join_days(lake, PARCELS)
        create_source_views(connection, contracts, {}, logs_of_lake(lake))
        reported = connection.sql("from catalog.publication_log order by batch")
        assert reported.columns == [*(column.name for column in described.COLUMNS), described.DAY]
        first = dict(zip(reported.columns, reported.fetchall()[0], strict=True))
    assert first["watermark"] == datetime(2026, 11, 21, 12)  # noqa: DTZ001
    assert (first["applied"], first["dt"]) == (1, f"{datetime.now(UTC):%Y-%m-%d}")
    assert logs_of_slice(tmp_path) == {}


def test_a_result_from_before_there_was_a_log_publishes_without_a_row(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    result = compact(lake, PARCELS, EVERYTHING)
    assert result.audit_result is not None
    key = audit.audit_key("parcels", result.metadata_location)
    document = orjson.loads(lake.store.read(key))
    del document["work"]
    lake.store.write(key, orjson.dumps(document))
    assert publish(lake, PARCELS).changed
    assert rows(lake) == []
    batch(lake, landing, version=2)
    assert [row["batch"] for row in rows(lake)] == [2]


def test_a_lake_whose_log_is_not_there_begins_one_with_the_state_it_is_at(lake: Lake, landing: Landing) -> None:
    """As after the log was called something else: what readers see now is in it, and all that comes."""
    batch(lake, landing, version=1)
    batch(lake, landing, version=2)
    lake.store.delete([stored.key for stored in lake.store.list(f"{described.TABLE}/")])
    assert lake.local_root is not None
    (entry,) = (lake.local_root / "catalog").rglob(f"*{described.TABLE}*")
    entry.unlink()
    assert lake.entries.get(lake.published_database, described.TABLE) is None
    batch(lake, landing, version=3)
    assert [row["batch"] for row in rows(lake)] == [2, 3]
    assert lake.entries.get(lake.published_database, described.TABLE) is not None


def test_a_result_from_before_the_counts_were_a_record_is_published_with_them(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    key = audit.audit_key("parcels", compact(lake, PARCELS, EVERYTHING).metadata_location)
    document = orjson.loads(lake.store.read(key))
    counts = document["work"].pop("counts")
    document["work"] |= {"rows_read": counts.pop("read"), **counts}
    lake.store.write(key, orjson.dumps(document))
    publish(lake, PARCELS)
    assert [(row["rows_read"], row["applied"]) for row in rows(lake)] == [(1, 1)]


def test_a_build_has_a_row_for_each_model_and_its_day_is_joined(
    lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [
        Built("fct_orders", True, NOON, 1.5, 1, 10_000_000, 0.00005),
        Built("dim_lot", False, NOON, 0.0),
        Built("dim_date", True, None),
    ]
    runs = publication_log._MANY + 2
    for number in range(runs):
        clock.forward(seconds=1)
        if number == runs - 1:  # long after the day was joined
            monkeypatch.setattr(publication_log, "READERS_TAKE", timedelta.min)
        publication_log.record_build(lake, models, clock(), f"{number:08d}-run")
    rows = publication_log.read(lake, publication_log._MODELS, clock())
    assert len(rows) == 3 * runs, "joining loses none"
    assert len(list(lake.store.list("publication_log/"))) < runs
    first = {row["model"]: row for row in rows if row["run_id"] == "00000000-run"}
    assert {name: row["kind"] for name, row in first.items()} == {
        "fct_orders": "build",
        "dim_lot": "look",
        "dim_date": "build",
    }
    assert {(row["entity"], row["rows_read"]) for row in rows} == {(None, 0)}
    assert first["dim_date"]["watermark"] is None
    built = first["fct_orders"]
    assert (built["seconds"], built["queries"], built["bytes_scanned"], built["billed_usd"]) == (
        1.5,
        1,
        10_000_000,
        5e-5,
    )
    assert built["publication_id"] == "00000000-run/fct_orders"
    assert set(built) == {column.name for column in described.COLUMNS}
