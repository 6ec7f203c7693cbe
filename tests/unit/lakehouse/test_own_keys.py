"""A run of many commits does not look through what it wrote itself, unless a key comes again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import own_keys, reduction
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult, Counts
from lakehouse.storage.lake import Lake
from lakehouse.table.iceberg import LiveFile
from tests.support.lakes import PARCELS, Landing, change, published_changes, published_rows


@pytest.fixture(autouse=True)
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that keys or events were looked for in; each landed object has a commit of its own."""
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 1)
    found: list[str] = []
    read = reduction.stored_keys

    def watched(contract: Any, shape: Any, files: Sequence[LiveFile]) -> str:
        found.extend(f.path.rpartition("/data/")[0].rpartition("/")[2] for f in files)
        return read(contract, shape, files)

    monkeypatch.setattr(reduction, "stored_keys", watched)
    return found


def ingest(lake: Lake) -> BatchResult:
    result = compact(lake, PARCELS, Scope.everything())
    assert not result.held
    publish(lake, PARCELS)
    assert lake.scratch is not None
    assert not list(lake.scratch.glob("gavel-keys-*"))
    return result


def versions(lake: Lake) -> dict[str, int]:
    return {row["parcel_id"]: row["_version"] for row in published_rows(lake)}


def test_new_keys_are_not_looked_for_in_what_the_run_wrote(
    lake: Lake, landing: Landing, looked_into: list[str]
) -> None:
    for number in range(4):
        landing.land([change(f"p-{number}", version=1), change(f"q-{number}", version=1)])
    assert ingest(lake).counts == Counts(read=8, applied=8)
    assert looked_into == []
    assert len(published_changes(lake)) == len(versions(lake)) == 8


def test_a_key_that_comes_again_in_a_run_is_found_in_its_own_files(
    lake: Lake, landing: Landing, looked_into: list[str]
) -> None:
    landing.land([change("p-1", version=1, event="one"), change("p-2", version=5, event="two")])
    landing.land([change("p-3", version=1)])
    landing.land([change("p-1", version=2), change("p-2", version=4)])
    landing.land([change("p-1", version=1, event="one"), change("p-2", version=5, event="two")])
    assert ingest(lake).counts == Counts(read=7, applied=4, superseded=1, duplicate=2)
    assert set(looked_into) == {"parcels", "parcels_changes"}
    assert versions(lake) == {"p-1": 2, "p-2": 5, "p-3": 1}


def test_what_is_stored_and_comes_again_is_not_looked_for_in_the_history(
    lake: Lake, landing: Landing, looked_into: list[str]
) -> None:
    for number in range(3):
        landing.land([change("p-0", version=1, event="one"), change(f"q-{number}", version=1)])
    assert ingest(lake).counts == Counts(read=6, applied=4, duplicate=2)
    assert set(looked_into) == {"parcels"}


@pytest.mark.parametrize("version", [1, 2, 4])
def test_an_event_that_comes_again_behind_a_newer_one_is_no_news(
    lake: Lake, landing: Landing, version: int, looked_into: list[str]
) -> None:
    """Also if it says another version by then."""
    for rows in (
        [change("p-1", version=2, event="one")],
        [change("p-1", version=3, event="two")],
        [change("p-1", version=version, event="one"), change("p-2", version=1)],
    ):
        landing.land(rows)
    assert ingest(lake).counts == Counts(read=4, applied=3, duplicate=1)
    assert versions(lake) == {"p-1": 3, "p-2": 1}


def test_a_run_whose_keys_always_come_again_asks_no_more(
    lake: Lake, landing: Landing, looked_into: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_keys, "MOST_VAIN", 1)
    for number in range(5):
        landing.land([change("p-1", version=number + 1, event="one" if number % 2 else None)])
    assert ingest(lake).counts == Counts(read=5, applied=4, duplicate=1)
    assert versions(lake) == {"p-1": 5}


def test_files_that_hold_rows_of_before_the_run_are_looked_into(
    lake: Lake, landing: Landing, looked_into: list[str]
) -> None:
    landing.land([change("old", version=1, event="first")])
    ingest(lake)
    for rows in ([change("new", version=1)], [change("old", version=1, event="first")], [change("old", version=3)]):
        landing.land(rows)
    assert ingest(lake).counts == Counts(read=3, applied=2, duplicate=1)
    assert versions(lake) == {"new": 1, "old": 3}
    assert len(published_changes(lake)) == 3
    assert looked_into
