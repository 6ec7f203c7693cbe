"""Which landed objects a scope holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lakes import NOON, PARCELS, Landing

from lakehouse.lake import Lake
from lakehouse.landing import LATEST_DELIVERY, Scope, list_objects


def hours(lake: Lake, scope: Scope) -> list[int]:
    return [int((o.hour - NOON) / timedelta(hours=1)) for o in list_objects(lake, PARCELS, scope)]


def test_scopes_bound_the_arrival_hour(lake: Lake, landing: Landing) -> None:
    for hour in (-40, -13, -12, -2, -1, 0):
        landing.land_bytes(b"x", hour=NOON + timedelta(hours=hour))
    now = NOON + timedelta(minutes=30)
    assert hours(lake, Scope.last_hours(1, now)) == [-1, 0]
    assert hours(lake, Scope.last_days(0, now)) == [-12, -2, -1, 0]
    assert hours(lake, Scope.last_days(1, now)) == [-13, -12, -2, -1, 0]
    assert hours(lake, Scope.everything()) == [-40, -13, -12, -2, -1, 0]
    assert hours(lake, Scope.replay(NOON - timedelta(hours=13), NOON - timedelta(hours=1))) == [-13, -12, -2]


def test_empty_objects_and_folder_markers_are_no_landed_objects(lake: Lake, landing: Landing) -> None:
    landing.land_bytes(b"")
    key = landing.land_bytes(b"x")
    assert [o.key for o in list_objects(lake, PARCELS, Scope.everything())] == [key]


def test_an_object_outside_the_hourly_layout_arrives_when_it_was_written(lake: Lake) -> None:
    lake.store.write("landing/parcels/by-hand.parquet", b"x")
    (found,) = list_objects(lake, PARCELS, Scope.everything())
    assert found.hour <= datetime.now(UTC)


def test_a_scope_reaches_back_so_far_that_the_watermark_may_move_but_a_replay_does_not() -> None:
    tick = Scope.last_hours(1, NOON)
    assert tick.reaching(NOON).start == NOON - LATEST_DELIVERY
    assert tick.reaching(NOON - timedelta(hours=9, minutes=10)).start == NOON - LATEST_DELIVERY - timedelta(hours=10)
    assert tick.reaching(None) == Scope.everything()
    assert Scope.last_days(2, NOON).reaching(NOON) == Scope.last_days(2, NOON)
    replay = Scope.replay(NOON, NOON + timedelta(hours=1))
    assert replay.reaching(None) == replay
