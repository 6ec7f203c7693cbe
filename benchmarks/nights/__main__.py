"""What readers pay between two nights: scans of a table after many small merges, and after maintenance.

`python -m benchmarks.nights` prints a table and writes `benchmarks/results/nights.json`. 100 merges of 1,000 changes
each go into 2M orders; DuckDB's iceberg extension reads the table before them, after each quarter and after
maintenance. Seconds are of processor time on one thread, least of five for a scan, so that other work on the machine
does not count.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import duckdb

from benchmarks.merge.data import ChangeSet, Data, build_changes, build_table
from benchmarks.merge.expected import Expected
from benchmarks.merge.ours import OursMerge, scan
from benchmarks.merge.work import Work
from lakehouse import api
from lakehouse.publish import audit, publication
from lakehouse.results import AuditResult, Check, StateRetention
from lakehouse.storage.lake import Lake
from lakehouse.table import tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "nights.json"
ROWS, CHANGES, MERGES, LOOKS = 2_000_000, 1_000, 100, 4
SPREADS = ("recent", "uniform")
SCANS: Mapping[str, str] = {
    "rows": "SELECT count(*) FROM {source}",
    "two columns": "SELECT max(_version), count(DISTINCT status) FROM {source}",
    "all columns": "SELECT {all_of_them} FROM {source}",
}


@dataclass(frozen=True)
class Look:
    """The table at one moment: its data and delete files, the rows that the latter name, and seconds by scan.
    `spent` are the seconds of the merges, or of the maintenance, since the look before."""

    when: str
    files: int
    deletes: int
    deleted_rows: int
    scans: dict[str, float]
    spent: float


def main() -> int:
    """Measure each spread; returns the exit code."""
    measured = {spread: list(look_on(spread)) for spread in SPREADS}
    RESULTS.parent.mkdir(exist_ok=True)
    found = {spread: [asdict(look) for look in looks] for spread, looks in measured.items()}
    RESULTS.write_text(json.dumps({"rows": ROWS, "changes": CHANGES, "merges": MERGES, **found}, indent=1) + "\n")
    for spread, looks in measured.items():
        sys.stdout.write(f"{spread}: files, deletes, deleted rows, {', '.join(SCANS)} (s), merges or maintenance (s)\n")
        for look in looks:
            scans = "".join(f"{seconds:9.4f}" for seconds in look.scans.values())
            sys.stdout.write(
                f"  {look.when:18} {look.files:5} {look.deletes:5} {look.deleted_rows:8,} {scans} {look.spent:8.1f}\n"
            )
    return 0


def look_on(spread: str) -> Iterator[Look]:
    """Merge, look after each quarter, maintain, look."""
    folder = ROOT / "build" / "bench" / "nights"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = Data(ROOT / "build" / "bench", ROWS)
    sets = tuple(ChangeSet(ROWS, CHANGES, spread, number + 1) for number in range(MERGES))
    build_table(data)
    for changes in sets:
        build_changes(data, changes)
    work, engine = Work(data, sets, Expected(0, 0, 0, 0, (), ""), folder), OursMerge()
    engine.prepare(work)
    engine.start(work)
    lake = engine.lake
    yield _look("before", lake, work, 0.0)
    each = MERGES // LOOKS
    for start in range(0, MERGES, each):
        spent = sum(_seconds(partial(engine.merge, work, changes)) for changes in sets[start : start + each])
        _publish(lake, work)
        yield _look(f"{start + each} merges", lake, work, spent)
    at_once = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))
    spent = _seconds(lambda: api.maintain(lake, work.entity.contract, state_retention=at_once))
    yield _look("maintained", lake, work, spent)
    shutil.rmtree(folder)


def _publish(lake: Lake, work: Work) -> None:
    entry = lake.entries.get(lake.work_database, work.entity.shape().name)
    assert entry is not None
    merged = Check("merged by the benchmark", True, "the benchmark of the merge compares the rows")
    audit.save(lake, AuditResult(work.entity.contract.name, entry.metadata_location, (merged,)))
    publication.publish(lake, work.entity.contract)


def _look(when: str, lake: Lake, work: Work, spent: float) -> Look:
    entry = lake.entries.get(lake.published_database, work.entity.contract.name)
    assert entry is not None
    files = tables.TableState(lake, entry.metadata_location).files
    result = scan(lake, work.entity, lake.published_database)
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = 1; {result.setup}")
        wide = ", ".join(f"max({name})" for name in work.entity.contract.field_names)
        queries = {name: text.format(source=result.source, all_of_them=wide) for name, text in SCANS.items()}
        scans = {
            name: min(_seconds(partial(_fetch, connection, text)) for _ in range(5)) for name, text in queries.items()
        }
    return Look(
        when,
        len(files),
        sum(len(file.deletes) for file in files),
        sum(file.deleted_rows for file in files),
        {name: round(seconds, 4) for name, seconds in scans.items()},
        round(spent, 2),
    )


def _fetch(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    connection.execute(query).fetchall()


def _seconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


if __name__ == "__main__":
    raise SystemExit(main())
