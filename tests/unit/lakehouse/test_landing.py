"""Which landed objects a scope holds."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from botocore.awsrequest import AWSResponse
from botocore.utils import parse_timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.intake.landing import LATEST_DELIVERY, Scope, is_hidden, list_objects
from lakehouse.storage.lake import Lake, read_timestamp
from lakehouse.storage.store import S3Store
from tests.support.lakes import NOON, PARCELS, Landing, local_lake


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


def test_a_named_object_comes_without_those_whose_names_begin_alike(lake: Lake, landing: Landing) -> None:
    key = landing.land_bytes(b"x", name="object")
    landing.land_bytes(b"x", name="object-2")
    assert [o.key for o in list_objects(lake, PARCELS, Scope.requeue(frozenset({key})))] == [key]


def test_an_object_outside_the_hourly_layout_arrives_when_it_was_written(lake: Lake) -> None:
    lake.store.write("landing/parcels/by-hand.parquet", b"x")
    (found,) = list_objects(lake, PARCELS, Scope.everything())
    assert found.hour <= datetime.now(UTC)


@pytest.mark.parametrize(
    "place", ["0-by-hand", "DT=2026-11-21/HH=12", "dt=2025-02-29/hh=12", "dt=2000-01-01/hh=24", "z"]
)
def test_a_replay_finds_what_was_written_in_its_range_wherever_it_sorts(lake: Lake, place: str) -> None:
    lake.store.write(f"landing/parcels/{place}/a.parquet", b"x")
    (found,) = list_objects(lake, PARCELS, Scope.everything())
    during = Scope.replay(found.hour, found.hour + timedelta(hours=1))
    assert list_objects(lake, PARCELS, during) == [found]
    assert list_objects(lake, PARCELS, Scope.replay(found.hour - timedelta(hours=1), found.hour)) == []


SEGMENT = st.text(st.sampled_from("abz019=-_.%é ٣"), min_size=1, max_size=8)
NEARLY_AN_HOUR = st.tuples(
    st.sampled_from(["2026-11-21", "2026-02-30", "2026-13-01", "0000-00-00", "9999-12-31", "٢٠٢٦-11-21", "2026-1-1"]),
    st.sampled_from(["00", "10", "23", "24", "99", "7", "-1", "٠٩"]),
).map(lambda parts: f"dt={parts[0]}/hh={parts[1]}")


@given(st.lists(st.tuples(st.one_of(NEARLY_AN_HOUR, SEGMENT), SEGMENT), min_size=1, max_size=5))
@settings(suppress_health_check=list(HealthCheck))
def test_no_key_stops_the_listing(places: list[tuple[str, str]]) -> None:
    """Whatever other hands put below the prefix: what is no hour arrives when it was written, and nothing raises."""
    with TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        keys = set()
        for place, name in places:
            key = f"landing/parcels/{place}/{name}.parquet"
            if ".." not in key.split("/") and not any(part in (".", "..") for part in key.split("/")):
                lake.store.write(key, b"x")
                keys.add(key)
        good = "landing/parcels/dt=2026-11-21/hh=10/good.parquet"
        lake.store.write(good, b"x")
        for scope in (Scope.everything(), Scope.last_hours(1, NOON), Scope.requeue(frozenset(keys))):
            listed = list_objects(lake, PARCELS, scope)
            assert {o.key for o in listed} <= {*keys, good}
        listed = list_objects(lake, PARCELS, Scope.everything())
        hidden = {k for k in keys if is_hidden(k.removeprefix("landing/parcels/"))}
        assert {o.key for o in listed} == {*keys, good} - hidden
        assert all(o.hour.minute == 0 and o.hour.tzinfo is UTC for o in listed)


def test_a_scope_reaches_back_so_far_that_the_watermark_may_move_but_a_replay_does_not() -> None:
    tick = Scope.last_hours(1, NOON)
    assert tick.reaching(NOON).start == NOON - LATEST_DELIVERY
    assert tick.reaching(NOON - timedelta(hours=9, minutes=10)).start == NOON - LATEST_DELIVERY - timedelta(hours=10)
    assert tick.reaching(None) == Scope.everything()
    assert Scope.last_days(2, NOON).reaching(NOON) == Scope.last_days(2, NOON)
    replay = Scope.replay(NOON, NOON + timedelta(hours=1))
    assert replay.reaching(None) == replay


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-21T09:00:00.000Z",
        "2026-11-21T09:00:00Z",
        "2026-11-21T09:00:00+02:00",
        "Sat, 21 Nov 2026 09:00:00 GMT",
        "1795251317",
        1795251317.25,
    ],
)
def test_timestamps_of_aws_mean_what_boto3_says(value: str | float) -> None:
    found = read_timestamp(value)
    assert found == parse_timestamp(value)
    assert found.tzinfo is not None


LISTING = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated><Contents>
<Key>landing/parcels/a</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>
<Size>7</Size></Contents></ListBucketResult>"""


class Body(io.BytesIO):
    """An answer's content as botocore reads it."""

    def stream(self) -> list[bytes]:
        return [self.read()]


def test_a_listing_is_read_with_the_quicker_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    read: list[str] = []
    monkeypatch.setattr(
        "lakehouse.storage.lake.read_timestamp", lambda value: read.append(value) or read_timestamp(value)
    )
    client = Lake.of_environment("local", "b", "eu-west-1", "http://localhost:1").client("s3")
    client.meta.events.register("before-send.s3", lambda request, **_: AWSResponse(request.url, 200, {}, Body(LISTING)))

    (found,) = S3Store(client, "b").list("landing/parcels/")

    assert (found.key, found.modified, read) == ("landing/parcels/a", NOON, ["2026-11-21T12:00:00.000Z"])
