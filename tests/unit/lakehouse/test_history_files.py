"""How `_changes` lies in files: by month, so that a long history takes few; tables by day stay as they were made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from contracts import Contract
from lakehouse.api import compact, maintain, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning, reduction
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.results import Counts
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit, schemas
from lakehouse.table.schemas import TableShape
from lakehouse.table.tables import TableState
from tests.support.lakes import NOON, PARCELS, Landing, change, published_changes, published_rows

EVERYTHING = Scope.everything()
BEGIN = datetime(2016, 11, 22, 10, tzinfo=UTC)
TEN_YEARS = 3_652


def run(lake: Lake) -> Counts:
    counts = compact(lake, PARCELS, EVERYTHING).counts
    publish(lake, PARCELS)
    return counts


def state(lake: Lake) -> TableState:
    return TableState(lake, publish(lake, PARCELS).published.metadata_location)


def made(day: int, key: str = "") -> dict[str, str | None]:
    """A change of a key of its own, made so many days after the beginning."""
    moment = BEGIN + timedelta(days=day)
    version = int(moment.timestamp() * 1_000_000)
    return change(key or f"d-{day:04d}", version=version, _changed_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


@contextmanager
def by_day() -> Iterator[None]:
    """Tables are made as they were before months."""
    monthly = schemas.changes

    def daily(contract: Contract) -> TableShape:
        return replace(monthly(contract), partition=("_changed_at", "day"))

    with mock.patch.object(schemas, "changes", daily):
        yield


def test_ten_years_in_one_batch_are_a_file_a_month_and_none_is_taken_twice(lake: Lake, landing: Landing) -> None:
    rows = [made(day) for day in range(TEN_YEARS)]
    landing.land(rows)
    assert run(lake) == Counts(read=TEN_YEARS, applied=TEN_YEARS)
    assert len(state(lake).changes_files) == 121

    landing.land(rows[::7])
    assert run(lake).duplicate == len(rows[::7])
    assert len(published_changes(lake)) == TEN_YEARS


def test_events_are_looked_for_in_files_of_their_days_only(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SMALL_FILE": 0, "TINY_FILE": 0, "GROWTH": 0}.items():
        monkeypatch.setattr(planning, name, value)
    for day in range(2, 12):  # of one month
        landing.land([made(day), made(day, "same")])
        run(lake)
    assert len(state(lake).changes_files) == 10
    looked_into: list[int] = []
    find = reduction._find_known

    def counted(duck: object, contract: object, shape: object, files: list[object], stretch: str) -> None:
        looked_into.append(len(files))
        find(duck, contract, shape, files, stretch)  # type: ignore[arg-type]

    monkeypatch.setattr(reduction, "_find_known", counted)
    landing.land([made(3), made(8), made(8, "new")])
    assert run(lake).duplicate == 2
    assert looked_into == [2], "the third and the eighth day have a file each"


def test_a_file_that_does_not_say_its_days_is_always_looked_into(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land([made(2)])
    run(lake)
    monkeypatch.setattr(iceberg, "bounds", lambda *_: None)
    landing.land([made(2)])
    assert run(lake).duplicate == 1


def test_a_table_by_day_stays_one_whatever_comes(lake: Lake, landing: Landing) -> None:
    with by_day():
        landing.land([made(0), made(1), made(40)])
        run(lake)
    (field,) = state(lake).changes_metadata.spec().fields
    assert str(field.transform) == "day"

    landing.land([made(1), made(1, "again"), made(41), made(400)])
    assert run(lake) == Counts(read=4, applied=3, duplicate=1)
    days = {iceberg.partition_value(f) for f in state(lake).changes_files}
    first = (BEGIN.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days
    assert days == {first + day for day in (0, 1, 40, 41, 400)}

    maintain(lake, PARCELS)
    rebuild(lake, PARCELS)
    publish(lake, PARCELS)
    assert {iceberg.partition_value(f) for f in state(lake).changes_files} == days
    assert len(published_changes(lake)) == len(published_rows(lake)) == 6
    assert audit_table(lake, PARCELS).passed


def test_files_in_other_partitions_than_the_table_has_are_never_committed(lake: Lake, landing: Landing) -> None:
    with by_day():
        landing.land([made(0)])
        run(lake)
    found = state(lake)
    table = iceberg.EntryCatalog(lake, lake.work_database).table("parcels_changes", found.changes_location)
    added = [found.changes_files[0].data]
    with pytest.raises(ValueError, match="parcels_changes: expected files by"):
        iceberg_commit.commit(table, added=added, shape=schemas.changes(PARCELS), properties={}, summary={})


def test_days_before_1970_are_days_too(lake: Lake, landing: Landing) -> None:
    old = change("old", version=1, _changed_at="1969-12-31T23:59:59Z")
    landing.land([old], NOON)
    run(lake)
    landing.land([old], NOON)
    assert run(lake).duplicate == 1
