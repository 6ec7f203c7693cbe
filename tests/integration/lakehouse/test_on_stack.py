"""The engine on S3 and Glue of the laptop stack: DuckDB's own S3 client, Glue's version check, two writers at once."""

from __future__ import annotations

import threading
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import CommitFailedException

from contracts import Contracts
from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import content_hash, published
from lakehouse.recovery.recovering import recover
from lakehouse.recovery.wanted import Lost
from lakehouse.results import CatalogLost, Counts, StateRetention
from lakehouse.storage.duck import connect, extension
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit
from lakehouse.table.tables import TableState
from tests.support.lakes import PARCELS, Clock, Landing, change
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack
EVERYTHING = Scope.everything()


@pytest.fixture
def lake(laptop: Laptop, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """An empty lake of this test's own: bucket and databases apart from those of the stack."""
    for name, value in laptop.environment.items():
        monkeypatch.setenv(name, value)
    name = f"lake{zlib.crc32(request.node.name.encode())}"
    region, endpoint = laptop.environment["AWS_REGION"], laptop.environment["AWS_ENDPOINT_URL"]
    made = Lake(
        bucket=name,
        landing_database=f"landing_{name}",
        work_database=f"work_{name}",
        published_database=f"published_{name}",
        region=region,
        endpoint=endpoint,
        now=Clock(),
    )
    made.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    return made


def rows(lake: Lake, location: str) -> list[tuple[Any, ...]]:
    """What DuckDB's Iceberg reader sees of a metadata file on S3."""
    with connect(lake) as duck:
        for name in ("avro", "iceberg"):
            duck.run(f"LOAD '{extension(name)}'")
        return duck.rows(f"SELECT parcel_id, _version, _deleted FROM iceberg_scan('{location}') ORDER BY ALL")


def test_batches_are_published_on_s3_and_glue_and_rolled_back(lake: Lake) -> None:
    landing = Landing(lake, PARCELS)
    landing.land([change("a", version=1), change("b", version=1, sent_at="2026-09-01T00:00:00Z")])
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts(read=2, applied=2)
    first = publish(lake, PARCELS).published
    landing.land([change("a", version=2, op="remove"), change("c", version=1, price="x"), change("b", version=1)])
    broken = landing.land_bytes(b"PAR1 no parquet")

    result = compact(lake, PARCELS, EVERYTHING)

    assert result.counts == Counts(read=3, applied=1, duplicate=1, quarantined=1)
    assert result.quarantined_objects == (broken,)
    assert rows(lake, first.metadata_location) == [("a", 1, False), ("b", 1, False)]
    second = publish(lake, PARCELS).published
    assert rows(lake, second.metadata_location) == [("a", 2, True), ("b", 1, False)]
    assert rollback(lake, PARCELS).published.metadata_location == first.metadata_location


def test_a_plain_glue_catalog_reads_the_published_table(lake: Lake) -> None:
    Landing(lake, PARCELS).land([change(version=1, labels='{"a": "b"}')])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    frozen = lake.session.get_credentials().get_frozen_credentials()
    assert lake.endpoint is not None
    catalog = GlueCatalog(
        "glue",
        **{
            "glue.endpoint": lake.endpoint,
            "s3.endpoint": lake.endpoint,
            "client.region": lake.region,
            "client.access-key-id": frozen.access_key,
            "client.secret-access-key": frozen.secret_key,
        },
    )
    table = catalog.load_table(f"{lake.published_database}.parcels")
    assert table.scan().to_arrow().to_pylist()[0]["labels"] == [("a", "b")]


def test_marked_rows_are_gone_for_independent_readers_on_s3(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold in ("SMALL_FILE", "TINY_FILE", "FULL_FILE"):
        monkeypatch.setattr(planning, threshold, 0)
    landing = Landing(lake, PARCELS)
    landing.land([change(f"p-{n:02d}", version=1) for n in range(20)])
    expected = {f"p-{n:02d}": 1 for n in range(20)}
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    for number in range(3):
        landing.land([change(f"p-{number:02d}", version=2)])
        expected[f"p-{number:02d}"] = 2
        assert not compact(lake, PARCELS, EVERYTHING).held
        state = TableState(lake, publish(lake, PARCELS).published.metadata_location)
        assert [f.deleted_rows for f in state.files if f.deletes] == [number + 1]
        assert {key: version for key, version, _ in rows(lake, state.location)} == expected
        assert len(rows(lake, state.location)) == 20


def test_of_two_writers_one_wins_and_the_other_is_reported(lake: Lake) -> None:
    landing = Landing(lake, PARCELS)
    landing.land([change(version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    tables = [catalog.load_table("parcels") for _ in range(4)]
    outcomes: list[str] = []

    def commit(number: int) -> None:
        try:
            iceberg_commit.commit(tables[number], properties={"winner": str(number)}, summary={})
            outcomes.append("won")
        except CommitFailedException:
            outcomes.append("lost")

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost", "lost", "lost", "won"]


def test_a_published_entry_that_moved_meanwhile_is_not_overwritten(lake: Lake) -> None:
    compact(lake, PARCELS, EVERYTHING)
    entry = lake.entries.get(lake.published_database, "parcels")
    assert entry is not None
    lake.entries.update(entry, entry.table)
    with pytest.raises(EntryConflict, match="expected version"):
        lake.entries.update(entry, entry.table)


def test_maintenance_leaves_the_same_rows_in_fewer_objects(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMALL_FILE", "TINY_FILE", "GROWTH"):
        monkeypatch.setattr(planning, name, 0)  # every batch leaves a file of its own
    landing = Landing(lake, PARCELS)
    for number in range(5):
        landing.land([change(f"p-{number}", version=1), change("p-0", version=number + 2)])
        compact(lake, PARCELS, EVERYTHING)
        published = publish(lake, PARCELS).published
    before = rows(lake, published.metadata_location)
    in_two_days = replace(lake, now=lambda: datetime.now(UTC) + timedelta(days=2))

    result = maintain(in_two_days, PARCELS, state_retention=StateRetention(days=0, states=1))

    assert result.same_rows
    assert result.removal is not None
    assert result.removal.exact
    assert rows(lake, result.metadata_location) == before
    assert (result.before.compacted.data.files, result.after.compacted.data.files) == (5, 1)
    assert result.after.total.bytes < result.before.total.bytes
    entry = lake.entries.get(lake.published_database, "parcels")
    assert entry is not None
    assert entry.metadata_location == result.metadata_location
    assert maintain(in_two_days, PARCELS).rewritten == 0
    assert compact(in_two_days, PARCELS, EVERYTHING).objects == 0


def _lose_catalog(lake: Lake) -> None:
    glue = lake.client("glue")
    for database in (lake.landing_database, lake.work_database, lake.published_database):
        try:
            tables = glue.get_tables(DatabaseName=database)["TableList"]
        except glue.exceptions.EntityNotFoundException:
            continue
        for table in tables:
            glue.delete_table(DatabaseName=database, Name=table["Name"])
        glue.delete_database(Name=database)


def test_drill_the_catalog_is_deleted_then_the_lake_is_deleted_and_one_command_each_brings_it_back(lake: Lake) -> None:
    landing = Landing(lake, PARCELS)
    for version in (1, 2, 3):
        landing.land([change("a", version=version), change(f"p-{version}", version=1)])
        lake.now.forward(minutes=5)  # type: ignore[attr-defined]
        compact(lake, PARCELS, EVERYTHING)
        publish(lake, PARCELS)
    before, state = content_hash(lake, PARCELS), published(lake, PARCELS)
    contracts = Contracts({"parcels": PARCELS})

    _lose_catalog(lake)
    with pytest.raises(CatalogLost):
        compact(lake, PARCELS, EVERYTHING)
    done = recover(replace(lake), contracts, Lost("catalog", with_content=True))
    assert not done.failed
    now = published(lake, PARCELS)
    assert state is not None
    assert now is not None
    assert (now.metadata_location, content_hash(lake, PARCELS)) == (state.metadata_location, before)

    for prefix in ("warehouse/", "ledger/", "audit/"):
        lake.store.delete([stored.key for stored in lake.store.list(prefix)])
    done = recover(replace(lake), contracts, Lost("lake", with_content=True))
    assert [result.outcome for result in done.results] == ["rebuilt"]
    fresh = replace(lake)
    assert content_hash(fresh, PARCELS) == before

    landing.land([change("z", version=9)])
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    result = compact(fresh, PARCELS, EVERYTHING)
    publish(fresh, PARCELS)
    assert (result.objects, result.rows) == (1, 5)
    assert len(rows(fresh, result.metadata_location)) == 5
