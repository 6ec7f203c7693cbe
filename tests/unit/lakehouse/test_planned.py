"""A dry run says what is done afterwards, and changes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.api import compact, rebuild, requeue
from lakehouse.batch.planned import plan_rebuild, plan_replay, plan_requeue, plan_roll_back
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.storage.lake import Lake
from tests.support.lakes import NOON, PARCELS, Landing, change

ALL = Scope.everything()


def batch(lake: Lake, landing: Landing, version: int, *more: str) -> None:
    hour = NOON - timedelta(hours=5 - version)
    landing.land([change(f"p-{version}", version=version), *(change(name, version=1) for name in more)], hour=hour)
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    compact(lake, PARCELS, ALL)
    publish(lake, PARCELS)


@pytest.fixture
def filled(lake: Lake, landing: Landing) -> Lake:
    batch(lake, landing, 1, "a", "b")
    batch(lake, landing, 2)
    landing.land([change("x", version="bad")], hour=NOON - timedelta(hours=2), name="bad.parquet")  # type: ignore[arg-type]
    batch(lake, landing, 3, "c")
    return lake


def content(lake: Lake) -> dict[Path, bytes]:
    assert lake.local_root is not None
    return {p: p.read_bytes() for p in lake.local_root.rglob("*") if p.is_file()}


def test_what_a_replay_ingests(filled: Lake) -> None:
    before = content(filled)
    scope = Scope.replay(NOON - timedelta(hours=4), NOON - timedelta(hours=3))
    would = plan_replay(filled, PARCELS, scope)
    assert content(filled) == before
    did = compact(filled, PARCELS, scope)
    assert (would.objects, would.bytes, would.rows) == (did.objects, did.bytes, did.counts.read) == (1, did.bytes, 3)
    assert (would.new, would.refused, would.rows_before) == (0, "", 6)


def test_what_a_rebuild_ingests_and_that_it_would_be_refused(filled: Lake) -> None:
    before = content(filled)
    would = plan_rebuild(filled, PARCELS)
    assert content(filled) == before
    did = rebuild(filled, PARCELS)
    assert (would.objects, would.bytes, would.rows) == (did.objects, did.bytes, did.counts.read)
    gone = next(s.key for s in filled.store.list("landing/"))
    filled.store.delete([gone])
    assert gone in plan_rebuild(filled, PARCELS).refused
    assert "would be refused" in str(plan_rebuild(filled, PARCELS))


def test_what_is_requeued(filled: Lake) -> None:
    before = content(filled)
    would = plan_requeue(filled, PARCELS)
    assert content(filled) == before
    did = requeue(filled, PARCELS)
    assert (would.objects, would.bytes, would.rows) == (did.objects, did.bytes, did.counts.read) == (1, did.bytes, 1)
    assert "none" not in str(would)
    filled.store.delete([s.key for s in filled.store.list("landing/") if s.key.endswith("bad.parquet")])
    assert "1 objects are gone" in plan_requeue(filled, PARCELS).refused


def test_what_readers_see_after_a_roll_back_and_what_comes_again(filled: Lake) -> None:
    before = content(filled)
    would = plan_roll_back(filled, PARCELS)
    assert content(filled) == before
    rollback(filled, PARCELS)
    state = published(filled, PARCELS)
    assert state is not None
    assert (would.target, would.target_location) == (state.snapshot_id, state.metadata_location)
    assert (would.rows_after, would.watermark_after, would.rows_before) == (state.rows, state.watermark, 6)
    again = compact(filled, PARCELS, ALL)
    assert (would.objects, would.bytes, would.rows) == (again.objects, again.bytes, again.counts.read)


def test_a_roll_back_to_nothing_would_be_refused(lake: Lake, filled: Lake) -> None:
    assert "expected snapshot 7 among" in plan_roll_back(filled, PARCELS, 7).refused


def test_an_entity_without_a_table_has_nothing_to_do(lake: Lake) -> None:
    assert plan_replay(lake, PARCELS, ALL).objects == plan_rebuild(lake, PARCELS).objects == 0
    assert "nothing to roll back" in plan_roll_back(lake, PARCELS).refused
