"""Measure one data file of 250,000 rows: rewriting it, marking rows in it, and reading it with rows marked.

`python -m benchmarks.threshold` (in the environment of `make bench-merge`) prints a table and writes
`benchmarks/results/threshold.json`. Seconds are of processor time, least of three, so that other work on the machine
does not count. The thresholds in `lakehouse.merge.planning` follow from them; the reasoning is in `docs/merge.md`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.merge.data import Data, build_table
from benchmarks.merge.entity import SALES
from lakehouse.merge import planning, writing
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit, tables
from lakehouse.table.scan import live_rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "threshold.json"
SHARES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
CONTRACT, SHAPE = SALES.contract, SALES.shape()


def main() -> int:
    """Measure every share; returns the exit code."""
    data = Data(ROOT / "build" / "bench", 500_000)
    build_table(data)
    measured = [measure(data.files[0], share) for share in SHARES]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"rows": 250_000, "shares": measured}, indent=1) + "\n")
    sys.stdout.write("share   rewrite   mark   read, marked   read, whole   (seconds of processor time)\n")
    for m in measured:
        sys.stdout.write(
            f"{m['share']:5.1%}   {m['rewrite']:7.3f}   {m['mark']:4.3f}   {m['read_marked']:12.3f}   "
            f"{m['read_whole']:11.3f}\n"
        )
    return 0


def measure(file: Path, share: float) -> dict[str, float]:
    """Costs in seconds when `share` of the file's rows have a new version."""
    folder = Path(tempfile.mkdtemp(prefix="gavel-"))
    try:
        lake, state = _table(folder, file)
        shaped = SHAPE.stored_as(state.metadata)
        with connect(lake) as duck:
            _arrive(duck, state, share)
            rewritten = _least(lambda n: _merge(duck, lake, state, f"rewritten-{n}", rewrite=True))
            marked = _least(lambda n: _merge(duck, lake, state, f"marked-{n}", rewrite=False))
            written = _merge(duck, lake, state, "last", rewrite=False)
            after = tables.TableState(lake, _commit(lake, state, written))
            count = "SELECT count(*), sum(total_amount), max(email) FROM ({})"
            whole = _least(lambda n: duck.run(count.format(live_rows(shaped, state.files))))
            partly = _least(lambda n: duck.run(count.format(live_rows(shaped, after.files))))
        return {"share": share, "rewrite": rewritten, "mark": marked, "read_marked": partly, "read_whole": whole}
    finally:
        shutil.rmtree(folder)


def _table(folder: Path, file: Path) -> tuple[Lake, tables.TableState]:
    lake = Lake("data", "landing", "work", "published", local_root=folder, scratch=folder / "scratch", threads=1)
    state, _ = tables.prepare(lake, CONTRACT)
    location = f"{lake.table_location(SHAPE.name)}/data/base.parquet"
    lake.store.upload(file, lake.store.key(location))
    written = writing.Written((iceberg.data_file(SHAPE, file, location, None),), ())
    return lake, tables.TableState(lake, _commit(lake, state, written))


def _commit(lake: Lake, state: tables.TableState, written: writing.Written) -> str:
    table = iceberg.EntryCatalog(lake, lake.work_database).table(SHAPE.name, state.location)
    committed = iceberg_commit.commit(table, added=written.added, removed=written.removed, properties={}, summary={})
    return str(committed.metadata_location)


def _arrive(duck: Duck, state: tables.TableState, share: float) -> None:
    """New versions of evenly scattered rows, as `reduction` leaves them behind."""
    duck.run(
        f"CREATE TEMP TABLE valid AS SELECT row_number() OVER () AS _rid, * EXCLUDE (_deleted, _expired, _batch) "
        f"FROM read_parquet('{state.files[0].path}', file_row_number = true) "
        f"WHERE hash(order_id) % 100000 < {share * 100_000:.0f}"
    )
    keys = ", ".join(CONTRACT.primary_key)
    duck.run(f"CREATE TEMP TABLE applied AS SELECT _rid, {keys}, 0 AS _file, file_row_number AS _pos FROM valid")
    duck.run("ALTER TABLE valid DROP COLUMN file_row_number")


def _merge(duck: Duck, lake: Lake, state: tables.TableState, name: str, *, rewrite: bool) -> writing.Written:
    kept = planning.REWRITE_SHARE
    planning.REWRITE_SHARE = 0.0 if rewrite else 2.0
    try:
        return writing.merge_compacted(
            duck, lake, SHAPE.stored_as(state.metadata), state.files, writing.Commit(2, name)
        )
    finally:
        planning.REWRITE_SHARE = kept


def _least(act: Callable[[int], object]) -> float:
    found = []
    for number in range(3):
        started = time.process_time()
        act(number)
        found.append(time.process_time() - started)
    return round(min(found), 4)


if __name__ == "__main__":
    raise SystemExit(main())
