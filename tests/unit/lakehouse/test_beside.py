"""A batch beside others in one process: it is light, dies of nothing, and is not blamed for what all of them share."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from lakehouse import api
from lakehouse.batch import commit, compaction
from lakehouse.intake import reading, weights
from lakehouse.intake.attempts import known_tries
from lakehouse.intake.landing import Scope
from lakehouse.results import NeedsRoom
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import Meter, Requests, apart
from lakehouse.storage.threads import Threads
from tests.support.lakes import PARCELS, Landing, change, published_rows
from tests.support.limits import LIMITS, limits


def beside(lake: Lake) -> None:
    api.compact(lake, PARCELS, Scope.everything(), beside=True)


def alone(lake: Lake) -> int:
    api.compact(lake, PARCELS, Scope.everything())
    api.publish(lake, PARCELS)
    return len(published_rows(lake))


def test_a_light_batch_is_made_beside_others(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    beside(lake)
    api.publish(lake, PARCELS)
    assert len(published_rows(lake)) == 1


def test_what_is_too_large_asks_to_be_made_alone_and_nothing_was_done(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BESIDE_BYTES", 10)
    landing.land([change(version=1)])
    with pytest.raises(NeedsRoom, match=r"parcels: expected at most 10 landed bytes"):
        beside(lake)
    assert not [*lake.store.list("attempts/")]
    assert alone(lake) == 1


def test_what_a_process_died_with_is_made_alone(lake: Lake, landing: Landing) -> None:
    key = landing.land([change(version=1)])
    (landed,) = lake.store.list(key)
    in_hand = {"format": 2, "in_hand": [[key, landed.etag]], "objects": {}}
    lake.store.write("attempts/parcels.json", json.dumps(in_hand).encode())
    with pytest.raises(NeedsRoom, match="1 such objects"):
        beside(lake)
    assert json.loads(lake.store.read("attempts/parcels.json")) == in_hand, "it is counted once, by who ingests it"
    assert alone(lake) == 1


@pytest.mark.parametrize(
    "error",
    [
        duckdb.OutOfMemoryException("failed to allocate data of size 1 (61.0 MiB/61.0 MiB used)"),
        duckdb.FatalException("database has been invalidated because of a previous fatal error"),
        MemoryError(),
    ],
)
def test_what_all_share_is_no_objects_fault(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    landing.land([change(version=1)])
    with monkeypatch.context() as broken:

        def fail(*given: object, **named: object) -> None:
            raise error

        broken.setattr(commit, "commit_chunk", fail)
        with pytest.raises(NeedsRoom, match="make the batch alone"):
            beside(lake)
    assert known_tries(lake, PARCELS) == {}
    assert not [*lake.store.list("attempts/")], "nor is it left in hand"
    assert alone(lake) == 1


def test_an_object_that_is_bad_by_itself_is_blamed_as_ever(lake: Lake, landing: Landing) -> None:
    landing.land_bytes(b"no parquet")
    result = api.compact(lake, PARCELS, Scope.everything(), beside=True)
    assert len(result.quarantined_objects) == 1


def test_requests_of_batches_that_run_at_once_are_counted_apart() -> None:
    meter, both = Meter(), threading.Barrier(2)

    def batch(number: int) -> Requests:
        with apart():
            before = meter.read()
            both.wait(20)
            with Threads(2) as pool:
                pool.submit(meter.add, Requests(puts=number)).result()
            both.wait(20)
            return meter.read() - before

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(batch, (1, 10))] == [Requests(puts=1), Requests(puts=10)]
    assert meter.read() == Requests(puts=11)


def test_batches_of_several_entities_at_once_give_what_each_gives_alone(lake: Lake) -> None:
    contracts = [replace(PARCELS, name=f"parcels{n}") for n in range(4)]
    for contract in contracts:
        Landing(lake, contract).land([change(f"{contract.name}-{key}", version=1) for key in range(20)])

    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(lambda c: api.compact(lake, c, Scope.everything(), beside=True), contracts)]
    assert [r.counts.applied for r in results] == [20] * 4
    for contract in contracts:
        api.publish(lake, contract)
        assert {row["parcel_id"] for row in published_rows(lake, contract)} == {
            f"{contract.name}-{n}" for n in range(20)
        }


def test_batches_that_spare_memory_at_once_leave_the_engine_as_it_was(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waiting, lock, lake = threading.Event(), threading.Lock(), replace(lake, threads=2)

    class Watched:
        """A lock that says when somebody waits for it."""

        def __enter__(self) -> None:
            if not lock.acquire(blocking=False):
                waiting.set()
                lock.acquire()

        def __exit__(self, *raised: object) -> None:
            lock.release()

    def threads(duck: Duck) -> int:
        return duck.count("SELECT current_setting('threads')")

    def other() -> int:
        with connect(lake) as duck, reading._sparing(duck, [tmp_path]):
            return threads(duck)

    monkeypatch.setattr(reading, "_one_spares", Watched())
    monkeypatch.setattr(weights, "largest_column", lambda path: weights.LARGE_COLUMN + 1)
    with ThreadPoolExecutor(1) as pool, connect(lake) as duck:
        with reading._sparing(duck, [tmp_path]):
            spared = pool.submit(other)
            assert waiting.wait(20)
        assert (spared.result(20), threads(duck)) == (1, 2)


@pytest.mark.parametrize("how", LIMITS)
def test_a_batch_leaves_the_settings_of_the_engine_as_they_were(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Every setting, whichever a batch may need others of: the engine is that of all batches of the process."""

    def settings() -> list[tuple[str, str]]:
        with connect(lake) as duck:
            return duck.rows("SELECT name, value FROM duckdb_settings() ORDER BY name")

    lake = replace(lake, threads=2)
    monkeypatch.setattr(weights, "largest_column", lambda path: weights.LARGE_COLUMN + 1)
    before = settings()
    with limits(how):
        for version in (1, 2):
            landing.land([change(f"p-{n:03d}", version=version) for n in range(40)])
            assert api.compact(lake, PARCELS, Scope.everything()).committed
            api.publish(lake, PARCELS)
    assert settings() == before
