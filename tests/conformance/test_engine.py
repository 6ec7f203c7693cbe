"""The engine `athena` on a real Trino: what it merges, what it scans, and what it does when something fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from hashlib import md5
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from contracts import Field
from contracts.types import StringType
from lakehouse.api import compact, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.merge.athena.client import AthenaError, ScanLimitExceeded
from lakehouse.publish.audit import Audited, audit_table
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult, Check, Counts
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg
from lakehouse.table.tables import TableState
from tests.conformance.support.athena_service import AthenaService, Refused
from tests.conformance.support.trino_client import TrinoClient, TrinoError
from tests.conformance.support.witnesses import by_trino, published_changes, published_rows
from tests.support.lakes import PARCELS, Landing, change

EVERYTHING = Scope.everything()
ON_ATHENA = replace(PARCELS, engine="athena")


def versions(lake: Lake) -> dict[str, tuple[int, bool, int]]:
    """Version, whether it is removed, and the batch of each published parcel."""
    return {r["parcel_id"]: (r["_version"], r["_deleted"], r["_batch"]) for r in published_rows(lake, ON_ATHENA)}


def merged(lake: Lake, contract: Any = ON_ATHENA, **options: Any) -> BatchResult:
    """Merge what has landed, and publish it."""
    result = compact(lake, contract, EVERYTHING, **options)
    publish(lake, contract)
    return result


def kinds(athena: AthenaService) -> list[str]:
    """The first words of the statements that Athena was to run."""
    return [s.split()[0] for s in athena.statements]


def month(number: int) -> str:
    return f"{2010 + number // 12}-{1 + number % 12:02d}-15T00:00:00Z"


def test_batches_of_every_type_are_merged_audited_and_published(lake: Lake, query: TrinoClient) -> None:
    landing = Landing(lake, ON_ATHENA)
    full = {
        "items": '[{"name":"x","worth":"1.50","checked":true},{"name":"y"}]',
        "labels": '{"k":"v","ключ":""}',
        "exact": "1234567890123456789012345678.0123456789",
        "due": "2026-01-02",
        "fragile": "true",
        "recipient": 'O\'Neil "Ü"\nSecond line, with comma',
    }
    landing.land([change("a", version=1, **full), change("it's#1", version=1, sent_at="2026-09-01T00:00:00Z")])
    first = merged(lake)
    assert (first.counts, first.engine) == (Counts(read=2, applied=2), "athena")

    landing.land([change("a", version=3, **full, price="7.25"), change("a", version=2), change('c\n"q"', version=1)])
    landing.land([change("it's#1", version=2, op="remove"), change("it's#1", version=1)])
    second = compact(lake, ON_ATHENA, EVERYTHING)
    assert set(versions(lake)) == {"a", "it's#1"}  # readers see the old rows until it is published
    publish(lake, ON_ATHENA)

    assert second.counts == Counts(read=5, applied=3, superseded=1, duplicate=1)
    assert second.audit_result is not None
    assert second.audit_result.passed, second.audit_result.failures
    assert {"every row is accounted for", "recorded metadata is true"} <= {c.name for c in second.audit_result.checks}
    assert versions(lake) == {"a": (3, False, 2), "it's#1": (2, True, 2), 'c\n"q"': (1, False, 2)}
    row = next(r for r in published_rows(lake, ON_ATHENA) if r["parcel_id"] == "a")
    assert (row["recipient"], str(row["exact"])) == (full["recipient"], full["exact"])
    assert [i["name"] for i in row["items"]] == ["x", "y"]
    assert len(published_changes(lake, ON_ATHENA)) == 6
    assert by_trino(query, lake.published_database, "parcels", "_version") == [[1], [2], [3]]
    assert audit_table(lake, ON_ATHENA).passed


def test_a_batch_costs_three_queries_and_says_what_they_scanned(lake: Lake, athena: AthenaService) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    first = merged(lake)
    assert kinds(athena) == ["MERGE", "SELECT"]  # nothing was stored that could be looked up
    athena.executions.clear()

    landing.land([change("a", version=2)])
    result = merged(lake)

    assert kinds(athena) == ["SELECT", "MERGE", "SELECT"]
    scanned = sum(e.scanned for e in athena.executions.values())
    assert (result.queries, result.scanned_bytes) == (3, scanned)
    assert scanned > 0
    assert result.usd == pytest.approx(3 * 0.00005)  # each is billed as 10 MB
    assert first.queries == 2
    athena.executions.clear()
    assert merged(lake).queries == 0
    assert list(lake.store.list("athena-results/")) == []  # they hold keys


def test_redelivered_changes_cost_no_query(lake: Lake, athena: AthenaService) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    merged(lake)
    athena.executions.clear()
    landing.land([change("a", version=1)])
    assert merged(lake).counts == Counts(read=1, duplicate=1)
    assert kinds(athena) == []


def test_a_key_that_moved_to_another_partition_is_there_once(lake: Lake) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change(k, version=1, sent_at="2026-03-01T00:00:00Z") for k in "abc"])
    merged(lake)
    landing.land([change("b", version=2, sent_at="2026-07-01T00:00:00Z")])
    assert merged(lake).counts == Counts(read=1, applied=1)
    landing.land([change("b", version=3, sent_at="2024-01-01T00:00:00Z"), change("b", version=2, seq=0, event="old")])
    assert merged(lake).counts == Counts(read=2, applied=1, superseded=1)
    assert versions(lake) == {"a": (1, False, 1), "b": (3, False, 3), "c": (1, False, 1)}
    assert audit_table(lake, ON_ATHENA).passed


def test_a_table_without_partition_whose_key_begins_with_a_number(lake: Lake) -> None:
    contract = replace(ON_ATHENA, partition=None, primary_key=("part", "parcel_id"))
    landing = Landing(lake, contract)
    landing.land([change("a", part, version=1) for part in (-5, 7, 9_007_199_254_740_993)])
    assert merged(lake, contract).counts == Counts(read=3, applied=3)
    landing.land([change("a", part, version=2) for part in (-5, 8, 9_007_199_254_740_993)])
    assert merged(lake, contract).counts == Counts(read=3, applied=3)
    found = {r["part"]: r["_version"] for r in published_rows(lake, contract)}
    assert found == {-5: 2, 7: 1, 8: 2, 9_007_199_254_740_993: 2}


def test_only_partitions_that_can_match_are_scanned(lake: Lake, athena: AthenaService) -> None:
    """A year of months with a thousand parcels each, of which one month's are touched."""
    landing = Landing(lake, ON_ATHENA)
    for number in range(12):
        keys = [f"{number:02d}-{n * 7919 % 1000:03d}" for n in range(1000)]
        landing.land([change(k, version=1, sent_at=month(number), recipient=md5(k.encode()).hexdigest()) for k in keys])
    merged(lake)
    size = sum(o.size for o in lake.store.list("warehouse/parcels/data/"))
    athena.executions.clear()

    # In a month of its own: the history of a month is in few files, which hold several batches.
    landing.land([change("05-050", version=2, sent_at=month(5), _changed_at="2026-10-20T00:00:00Z")])
    assert merged(lake).counts == Counts(read=1, applied=1)

    look_up, merge, read_back = athena.executions.values()
    for execution in (look_up, merge, read_back):
        stored = execution.sql.split("ON ", 1)[1]
        assert "timestamp '2010-06-01 00:00:00.000000'" in stored
        assert "timestamp '2010-07-01 00:00:00.000000'" in stored
        assert "2010-05-01" not in stored
        assert execution.scanned < size / 6


def test_a_batch_of_more_partitions_than_one_statement_may_open_is_shared_out(
    lake: Lake, athena: AthenaService
) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change(f"p-{n:03d}", version=1, sent_at=month(n)) for n in range(130)])
    assert merged(lake).counts == Counts(read=130, applied=130)
    landing.land([change(f"p-{n:03d}", version=2, sent_at=month(n + 7)) for n in range(130)])
    athena.executions.clear()
    assert merged(lake).counts == Counts(read=130, applied=130)
    assert kinds(athena) == ["SELECT", "MERGE", "MERGE", "SELECT"]
    assert set(versions(lake).values()) == {(2, False, 2)}
    assert len(versions(lake)) == 130


def test_changes_that_turn_out_to_be_stored_or_too_late_are_not_appended(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("known", version=50, event="e")])
    merged(lake)
    monkeypatch.setattr(TableState, "horizon", 40)
    # The same event, as if its change had been recorded on another day, so that the history cannot know it.
    again = change("known", version=50, event="e", _changed_at="2026-11-19T00:00:00Z")
    landing.land([again, change("kept", version=39), change("known", version=38), change("new", version=41)])

    result = merged(lake)

    assert result.counts == Counts(read=4, applied=1, superseded=1, duplicate=1, too_late=1)
    assert set(versions(lake)) == {"known", "new"}
    assert {c["_version"] for c in published_changes(lake, ON_ATHENA)} == {50, 38, 41}


def test_changes_of_the_version_of_their_stored_row_are_ordered_by_the_rest(lake: Lake, athena: AthenaService) -> None:
    """A restored export or a foreign write in the same second: sequence number and identity decide."""
    landing = Landing(lake, ON_ATHENA)
    landing.land([change(k, version=5, seq=5, event=f"{k}/m") for k in "abcd"])
    merged(lake)
    athena.executions.clear()
    landing.land(
        [
            change("a", version=5, seq=6, event="a/a", price="1.00"),
            change("b", version=5, seq=4, event="b/z", price="1.00"),
            change("c", version=5, seq=5, event="c/n", price="1.00"),
            change("d", version=5, seq=5, event="d/l", price="1.00"),
        ]
    )
    assert merged(lake).counts == Counts(read=4, applied=2, superseded=2)
    assert kinds(athena) == ["SELECT", "SELECT", "MERGE", "SELECT"]
    newer = {r["parcel_id"] for r in published_rows(lake, ON_ATHENA) if str(r["price"]) == "1.00"}
    assert newer == {"a", "c"}


def test_a_new_field_is_there_before_it_is_merged(lake: Lake) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    merged(lake)
    coloured = replace(ON_ATHENA, version="1.1.0", fields=(*PARCELS.fields, Field("colour", 90, StringType())))
    landing = Landing(lake, coloured, count=1)
    landing.land([change("b", version=1, colour="red"), change("a", version=2)])
    merged(lake, coloured)
    assert {r["parcel_id"]: r["colour"] for r in published_rows(lake, coloured)} == {"a": None, "b": "red"}


def test_a_rebuild_gives_the_same_rows(lake: Lake) -> None:
    landing = Landing(lake, ON_ATHENA)
    for version in (2, 1, 3):
        landing.land([change(k, version=version, sent_at=month(version)) for k in "ab"])
        merged(lake)
    before = {k: v[:2] for k, v in versions(lake).items()}
    assert rebuild(lake, ON_ATHENA).engine == "athena"
    publish(lake, ON_ATHENA)
    assert {k: v[:2] for k, v in versions(lake).items()} == before == {"a": (3, False), "b": (3, False)}


def work_is_where_readers_are(lake: Lake) -> bool:
    entries = [lake.entries.get(d, "parcels") for d in (lake.work_database, lake.published_database)]
    first, second = (e.metadata_location for e in entries if e is not None)
    return first == second


def on_merge(action: Any) -> Any:
    """A hook of the stand-in that acts before a MERGE runs, once."""
    done = []

    def before(sql: str) -> None:
        if sql.startswith("MERGE") and not done:
            done.append(True)
            action()

    return before


def test_a_merge_that_fails_leaves_nothing_behind(lake: Lake, athena: AthenaService) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    merged(lake)

    def fail() -> None:
        raise TrinoError("GENERIC_INTERNAL_ERROR", "INTERNAL_ERROR", "no node left")

    athena.before = on_merge(fail)
    landing.land([change("a", version=2)])
    with pytest.raises(AthenaError, match=r"parcels: merge batch 2: expected .* found GENERIC_INTERNAL_ERROR"):
        compact(lake, ON_ATHENA, EVERYTHING)
    assert work_is_where_readers_are(lake)
    assert merged(lake).counts == Counts(read=1, applied=1)
    assert versions(lake) == {"a": (2, False, 2)}


def test_a_commit_that_another_writer_won_is_not_published(lake: Lake, athena: AthenaService) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    merged(lake)

    def lose() -> None:
        raise TrinoError("ICEBERG_COMMIT_ERROR", "EXTERNAL", "Failed to commit Iceberg update to table: parcels")

    athena.before = on_merge(lose)
    landing.land([change("a", version=2)])
    with pytest.raises(CommitFailedException, match="another writer has committed first"):
        compact(lake, ON_ATHENA, EVERYTHING)
    assert merged(lake).counts == Counts(read=1, applied=1)


def test_a_writer_that_came_in_between_is_noticed(lake: Lake, athena: AthenaService, query: TrinoClient) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1), change("b", version=1)])
    merged(lake)
    foreign = f"""DELETE FROM "{lake.work_database}"."parcels" WHERE parcel_id = 'b'"""
    athena.before = on_merge(lambda: query.run(foreign))
    landing.land([change("a", version=2)])
    with pytest.raises(CommitFailedException, match="another writer was there"):
        compact(lake, ON_ATHENA, EVERYTHING)
    assert merged(lake).counts == Counts(read=1, applied=1)
    assert versions(lake) == {"a": (2, False, 2), "b": (1, False, 1)}


def test_a_query_that_scans_more_than_the_workgroup_allows_is_stopped(lake: Lake, athena: AthenaService) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1)])
    merged(lake)
    athena.scan_limit = 100
    landing.land([change("a", version=2)])
    with pytest.raises(ScanLimitExceeded, match="expected at most the workgroup's limit of bytes scanned"):
        compact(lake, ON_ATHENA, EVERYTHING)
    assert work_is_where_readers_are(lake)
    athena.scan_limit = None
    assert merged(lake).counts == Counts(read=1, applied=1)


def test_a_throttled_start_is_tried_again(lake: Lake, athena: AthenaService) -> None:
    athena.refusals += [Refused("TooManyRequestsException", "Rate exceeded", "CONCURRENT_QUERY_LIMIT_EXCEEDED")] * 2
    Landing(lake, ON_ATHENA).land([change("a", version=1)])
    assert merged(lake).counts == Counts(read=1, applied=1)
    assert athena.refusals == []


def refuse_poison(audited: Audited) -> Check:
    rows = audited.duck.count("SELECT count(*) FROM added WHERE recipient = 'poison'")
    return Check("no poison", rows == 0, f"expected none, found {rows}")


def test_an_object_that_fails_the_audit_is_found_and_held(lake: Lake) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("before", version=1)])
    merged(lake)
    for number in range(3):
        landing.land([change(f"p-{number}", version=1, recipient="poison" if number == 1 else "Ada")])
    result = merged(lake, invariants=[refuse_poison])
    assert [h.key.rpartition("/")[2] for h in result.held] == ["object-0003.parquet"]
    assert set(versions(lake)) == {"before", "p-0", "p-2"}


def test_a_merge_that_lost_rows_fails_its_audit(lake: Lake, athena: AthenaService, query: TrinoClient) -> None:
    """The audit does not believe the MERGE: a row that vanishes right after it is noticed, whoever took it."""
    landing = Landing(lake, ON_ATHENA)
    landing.land([change("a", version=1), change("b", version=1)])
    merged(lake)
    requested: list[str] = []

    def before(sql: str) -> None:
        requested.append(sql.split()[0])
        if requested == ["SELECT", "MERGE", "SELECT"]:
            query.run(f"""DELETE FROM "{lake.work_database}"."parcels" WHERE parcel_id = 'a'""")

    athena.before = before
    landing.land([change("a", version=2)])
    result = compact(lake, ON_ATHENA, EVERYTHING)
    assert "order never goes backwards" in result.held[0].reason


def test_the_embedded_engine_goes_on_where_athena_stopped(lake: Lake, query: TrinoClient) -> None:
    landing = Landing(lake, ON_ATHENA)
    landing.land([change(f"p-{n}", version=1, sent_at=month(n % 3)) for n in range(30)])
    merged(lake, PARCELS)
    for version, contract in enumerate((ON_ATHENA, ON_ATHENA, PARCELS, ON_ATHENA, PARCELS), start=2):
        landing.land([change(f"p-{n}", version=version, sent_at=month(n % 3)) for n in range(0, 30, version)])
        result = merged(lake, contract)
        assert result.engine == contract.engine
        assert result.counts.applied == len(range(0, 30, version))
    expected = {f"p-{n}": max(v for v in range(1, 7) if v == 1 or n % v == 0) for n in range(30)}
    assert {k: v[0] for k, v in versions(lake).items()} == expected
    found = by_trino(query, lake.published_database, "parcels", "parcel_id, _version")
    assert dict(found) == expected
    assert audit_table(lake, PARCELS).passed
    entry = lake.entries.get(lake.published_database, "parcels")
    assert entry is not None
    assert iceberg.read_metadata(lake, entry.metadata_location).properties["gavel.batch"] == "6"


def test_the_same_stamp_of_time_means_the_same_moment_to_both(lake: Lake, query: TrinoClient) -> None:
    Landing(lake, ON_ATHENA).land([change("a", version=1, sent_at="2026-03-29T00:59:59.123456Z")])
    merged(lake)
    row = published_rows(lake, ON_ATHENA)[0]
    assert row["sent_at"] == datetime.fromisoformat("2026-03-29T00:59:59.123456")
    found = by_trino(query, lake.published_database, "parcels", "CAST(sent_at AS varchar)")
    assert found == [["2026-03-29 00:59:59.123456"]]
