"""The measures: each yields one result per round, and runs in a process of its own: cold caches, memory of its own."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg

from assets.resources import LakeResource
from assets.run_configuration import TICK_HOURS
from benchmarks.ledger import year as data
from contracts import Contract
from lakehouse.api import pending
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger, LedgerEntry
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState, published_entry
from orchestration.sensors import arrival_sensor

REPEATS = 5
HOURLY_DAYS = 2

Measured = dict[str, Any]


class Watch:
    """Seconds by the clock and of the processor (this process, all threads) since it was made."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> Measured:
        """Both, as the first part of a round's result."""
        return {
            "seconds": time.perf_counter() - self._clock,
            "processor seconds": time.process_time() - self._processor,
        }


class ListedLake(LakeResource):
    """A lake in a folder that lists a year of objects."""

    listed: ClassVar[data.ListedYear]  # of this process: Dagster copies a resource, and only its configuration

    @property
    def lake(self) -> Lake:
        lake = super().lake
        lake.__dict__["store"] = self.listed  # what `Lake.store` has cached
        return lake


def resource_of(config: dict[str, Any], year: data.Year, new: int = 0) -> LakeResource:
    """A lake without anything cached; one in a folder lists the year and `new` objects of each entity besides."""
    if "local_root" not in config:
        return LakeResource(**config)
    if not hasattr(ListedLake, "listed"):
        ListedLake.listed = data.ListedYear(Path(config["local_root"]) / config["bucket"], year)
    ListedLake.listed.new = new
    return ListedLake(**config)


def land_one_more(config: dict[str, Any], year: data.Year, number: int) -> None:
    """One more object of each entity, where objects are really there."""
    if "local_root" not in config:
        data.land_new(LakeResource(**config).lake, year, number)


def measure_tick(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """The sensor's evaluation: list what may have changed, compare it with what was seen before. In the first round
    there is no cursor (two days are listed); in each later one there is one new object per entity."""
    contracts = data.streams()
    job = dg.define_asset_job("compaction")
    sensor = arrival_sensor("landed_objects", contracts, job, 30, 600, "")
    cursor = None
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(REPEATS + 1):
            if number:
                land_one_more(config, year, number)
            context = dg.build_sensor_context(
                instance,
                cursor=cursor,
                resources={"lake": resource_of(config, year, number)},
                sensor_name="landed_objects",
            )
            watch = Watch()
            result = sensor(context)
            taken = watch.read()
            assert isinstance(result, dg.SensorResult)
            cursor = result.cursor
            seen = len(result.asset_events or ())
            yield {**taken, "partitions changed": seen, "cursor bytes": len(cursor or "")}


def measure_discovery(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """What the runs of all entities do before they read a row: published state, head, listing, set difference."""
    yield from measure_pending(config, Scope.last_hours(TICK_HOURS), year)


def measure_two_days(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """The same over the two days that the hourly pass looks at."""
    yield from measure_pending(config, Scope.last_days(HOURLY_DAYS), year)


def measure_everything(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """The same over the whole year."""
    yield from measure_pending(config, Scope.everything(), year, rounds=1)


def measure_pending(config: dict[str, Any], scope: Scope, year: data.Year, rounds: int = REPEATS) -> Iterator[Measured]:
    """Discovery over all entities, one after the other, in a scope."""
    contracts = data.streams()
    for _ in range(rounds):
        lake = resource_of(config, year, new=1).lake
        assert lake.store.size("none") is None  # a connection is open, as in a process that has done something before
        watch = Watch()
        found = sum(len(pending(lake, contract, scope)) for contract in contracts)
        yield {**watch.read(), "new objects": found}


def measure_record(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """What a batch of one new object per entity adds to the ledgers: a segment of the day and a head, per entity."""
    contracts = data.streams()
    for number in range(REPEATS):
        lake = resource_of(config, year).lake
        ledgers = {contract.name: published_ledger(lake, contract) for contract in contracts}
        day = f"{year.end:%Y-%m-%d}"
        watch = Watch()
        for contract in contracts:
            taken = LedgerEntry(
                f"landing/{contract.name}/dt={day}/hh=00/new-{number}.parquet", "e", 1, "merged", 2, 10, 0, ""
            )
            ledgers[contract.name].record(contract, f"bench-{number}", {day: [taken]})
        yield watch.read()


def published_ledger(lake: Lake, contract: Contract) -> Ledger:
    """The ledger that belongs to what is published."""
    entry = published_entry(lake, contract)
    assert entry is not None
    return Ledger.load(lake, TableState(lake, entry.metadata_location).ledger)


def measure_head(config: dict[str, Any], year: data.Year) -> Iterator[Measured]:
    """Loading the head of one entity, which names every day of the year."""
    contract = data.streams()[0]
    for _ in range(REPEATS):
        lake = resource_of(config, year).lake
        ledger = published_ledger(lake, contract)
        lake = resource_of(config, year).lake
        content = lake.store.read(ledger.head)
        watch = Watch()
        assert len(Ledger.load(lake, ledger.head).days) == len(ledger.days)
        yield {**watch.read(), "bytes": len(content), "days": len(ledger.days)}


def in_own_process(
    measure: Callable[[dict[str, Any], data.Year], Iterator[Measured]], config: dict[str, Any], year: data.Year
) -> Measured:
    """The rounds of a measure, their median without the first, and the peak memory of the process (MB)."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        rounds, peak, before = pool.submit(_measure, measure, config, year).result()
    seconds = [r["seconds"] for r in rounds]
    later = seconds[1:] or seconds
    return {
        "what": (measure.__doc__ or "").strip().replace("\n    ", " "),
        "median seconds": round(statistics.median(later), 3),
        "median processor seconds": round(statistics.median([r["processor seconds"] for r in rounds][1:] or [0]), 3),
        "first seconds": round(seconds[0], 3),
        "worst seconds": round(max(seconds), 3),
        "peak MB": round(peak),
        "peak MB before": round(before),
        "rounds": [{k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()} for r in rounds],
    }


def _measure(
    measure: Callable[[dict[str, Any], data.Year], Iterator[Measured]], config: dict[str, Any], year: data.Year
) -> tuple[list[Measured], float, float]:
    import boto3  # noqa: F401 (what a running process has loaded)
    import pyarrow.parquet  # noqa: F401
    import pyiceberg.table  # noqa: F401

    before = _peak()
    rounds = list(measure(config, year))
    return rounds, _peak(), before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


TICK_MEASURES = {
    "sensor tick": measure_tick,
    "discovery of a tick": measure_discovery,
    "record a batch": measure_record,
    "load a head": measure_head,
}
PASSES = {
    "hourly pass of two days": measure_two_days,
    "nightly pass of everything": measure_everything,
}
