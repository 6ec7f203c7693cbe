"""The content hash of published tables: what changes it, what does not, and that nothing repeated ever does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from lakehouse.api import compact, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.merge.base import commit_work
from lakehouse.merge.writing import write_rows
from lakehouse.publish import audit
from lakehouse.publish.publication import publish
from lakehouse.publish.published import content_hash
from lakehouse.results import AuditResult, Check, ContentHash
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.table import schemas
from lakehouse.table.iceberg import move_pointer, write_empty_table
from lakehouse.table.scan import live_rows
from lakehouse.table.tables import CHANGES, TableState, published_entry
from tests.support.depth import seeds
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows

HOURS = 4


def ingest(lake: Lake, scope: Scope | None = None) -> ContentHash:
    compact(lake, PARCELS, scope or Scope.everything())
    return published_hash(lake)


def published_hash(lake: Lake) -> ContentHash:
    publish(lake, PARCELS)
    found = content_hash(lake, PARCELS)
    assert found is not None
    return found


def history(seed: int) -> list[list[dict[str, str | None]]]:
    """Objects of changes by hour: shuffled, delivered twice, removed and made again, with bad rows between."""
    chance = random.Random(seed)
    rows = [
        change(
            f"p-{chance.randrange(6)}",
            version=version,
            seq=chance.randrange(3),
            op=chance.choice(["insert", "modify", "modify", "remove", "expire"]),
            price="1.005" if chance.random() < 0.1 else f"{version}.50",
            labels='{"a": "1", "b": "2"}' if chance.random() < 0.5 else None,
            sent_at=f"2026-{chance.choice(['10', '11'])}-01T10:00:00Z",
            event=f"e-{version}",
            _by=chance.choice([None, "user:u-1", "tenant:erp"]),
        )
        for version in range(1, 41)
    ]
    delivered = rows + chance.sample(rows, 12)
    chance.shuffle(delivered)
    return [delivered[hour::HOURS] for hour in range(HOURS)]


@pytest.mark.parametrize("seed", seeds(3))
def test_replaying_any_range_and_rebuilding_give_identical_content(
    lake: Lake, landing: Landing, clock: Clock, seed: int
) -> None:
    for hour, rows in enumerate(history(seed)):
        landing.land(rows, hour=NOON + timedelta(hours=hour))
        before = ingest(lake)
        clock.forward(hours=1)

    for first in range(HOURS):
        for last in range(first + 1, HOURS + 1):
            replayed = Scope.replay(NOON + timedelta(hours=first), NOON + timedelta(hours=last))
            assert ingest(lake, replayed) == before, f"hours {first} to {last}"
    rebuild(lake, PARCELS)
    assert published_hash(lake) == before


def test_the_same_objects_in_one_batch_or_in_many_give_identical_content(lake: Lake, landing: Landing) -> None:
    objects = history(7)
    for rows in objects:
        landing.land(rows)
        in_many = ingest(lake)
    other = local_lake(lake.local_root / "other")  # type: ignore[operator]
    one = Landing(other, PARCELS)
    for rows in reversed(objects):
        one.land(rows)
    assert ingest(other) == in_many
    assert len(published_rows(other)) == len(published_rows(lake))


@pytest.mark.parametrize(
    "values",
    [
        {"price": "10.51"},
        {"price": None},
        {"recipient": "NULL"},
        {"recipient": ""},
        {"labels": "{}"},
        {"labels": '{"a": null}'},
        {"items": "[]"},
        {"items": '[{"name": "a", "checked": true}]'},
        {"items": '[{"name": "a"}, {"name": "b"}]'},
        {"items": '[{"name": "a}, {b"}]'},
        {"op": "expire"},
        {"op": "remove"},
        {"event": "other"},
        {"version": 2},
        {"parcel_id": "p"},
    ],
)
def test_every_value_counts(lake: Lake, landing: Landing, values: dict[str, str]) -> None:
    landing.land([change(**{"version": 1} | values)])  # type: ignore[arg-type]
    other = local_lake(lake.local_root / "other")  # type: ignore[operator]
    Landing(other, PARCELS).land([change(version=1)])

    one, two = ingest(lake), ingest(other)
    assert one.rows != two.rows
    assert one.changes != two.changes


def test_there_is_no_content_before_the_first_batch(lake: Lake) -> None:
    assert content_hash(lake, PARCELS) is None


def test_a_later_batch_that_only_repeats_rewrites_rows_and_changes_no_content(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1), change("p-2", version=1)])
    before = ingest(lake)
    landing.land([change("p-1", version=1)])
    assert ingest(lake) == before
    landing.land([change("p-3", version=1)])
    assert ingest(lake) != before


def store_history_without(lake: Lake, column: str) -> None:
    """Leave the published history as a table that never had the column, with the rows that are there."""
    entry = published_entry(lake, PARCELS)
    work = lake.entries.get(lake.work_database, schemas.changes(PARCELS).name)
    assert entry is not None
    assert work is not None
    before, shape = TableState(lake, entry.metadata_location), schemas.changes(PARCELS)
    older = replace(shape, columns=tuple(c for c in shape.columns if c.name != column))
    empty = write_empty_table(lake, older, {}, schemas.last_column_id())
    move_pointer(lake, work, empty)
    with connect(lake) as duck:
        rows = f"SELECT {older.select()} FROM ({live_rows(shape, before.changes_files)})"
        written = write_rows(duck, lake, older, rows, (), "older")
    changes = commit_work(lake, older, empty, {}, {}, written)
    location = commit_work(lake, schemas.compacted(PARCELS), before.location, {CHANGES: changes}, {})
    audit.save(lake, AuditResult(PARCELS.name, location, (Check("as it was", True, ""),)))
    publish(lake, PARCELS)


def test_a_lake_from_before_changes_had_a_writer_evolves_by_itself(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1, event="old")])
    ingest(lake)
    store_history_without(lake, "_by")
    assert "_by" not in published_changes(lake)[0]

    landing.land([change("p-1", version=2, event="new", _by="user:u-1")])
    now = ingest(lake)

    assert {row["_event_id"]: row["_by"] for row in published_changes(lake)} == {"old": None, "new": "user:u-1"}
    assert "_by" not in published_rows(lake)[0], "the latest row of a key says nothing of it"
    rebuild(lake, PARCELS)
    assert published_hash(lake) == now
