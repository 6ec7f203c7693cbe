"""One step of what is measured, in a process of its own: `python -m benchmarks.exports.work STEP FOLDER SAID`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.exports.data import AT, PREFIX
from benchmarks.lakes import lake_in
from contracts import Contracts, load_contracts
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.parity.wanted import Request
from lakehouse.recovery.backfill import backfill, find
from lakehouse.recovery.wanted import Lost
from lakehouse.storage.lake import Lake

_LATENESS = timedelta(hours=1)


def lake_at(folder: Path, hours: int = 2) -> Lake:
    """The lake, so many hours after the export."""
    return lake_in(folder, "bench", lambda: AT + timedelta(hours=hours))


def contracts() -> Contracts:
    """The entities of the stream."""
    return Contracts({c.name: c for c in load_contracts().of_origin("stream")})


def duckdb_alone(folder: Path) -> dict[str, Any]:
    """The floor: DuckDB decompresses and parses the same files and writes their attributes as text to one Parquet file,
    with the same threads and memory. No key, type, order, duplicate or history is looked at."""
    names = sorted({f.name for c in contracts().values() for f in c.fields})
    attribute = "STRUCT(S VARCHAR, N VARCHAR, BOOL VARCHAR)"
    members = ", ".join(f'"{name}" {attribute}' for name in ("entity", "pk", "sk", "_version", *names))
    texts = ", ".join(
        f'coalesce(Item."{name}".S, Item."{name}".N, Item."{name}".BOOL) AS "{name}"'
        for name in ("entity", "_version", *names)
    )
    lake = lake_at(folder)
    with duckdb.connect() as duck:
        duck.execute(f"SET threads = {lake.threads}; SET memory_limit = '{lake.memory_limit}'")
        duck.execute(
            f"COPY (SELECT {texts} FROM read_json('{folder}/lake/data/{PREFIX}/**/*.json.gz', "
            f"format = 'newline_delimited', columns = {{'Item': 'STRUCT({members})'}})) "
            f"TO '{folder}/alone.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
    return {"items": duckdb.read_parquet(f"{folder}/alone.parquet").count("*").fetchall()[0][0]}


def backfilled(folder: Path) -> dict[str, Any]:
    """From files to published tables."""
    lake = lake_at(folder)
    (found,) = find(lake, PREFIX)
    done = backfill(lake, contracts(), found, progress=_say)
    if done.problems:
        raise AssertionError(done.problems)
    return {"items": done.items, "steps": {step: round(seconds, 1) for step, seconds in done.seconds.items()}}


def compared(folder: Path) -> dict[str, Any]:
    """The export against the lake, which are equal."""
    lake = lake_at(folder, 8)
    for contract in contracts().values():
        api.compact(lake, contract, Scope.last_hours(1, lake.now()))
        api.publish(lake, contract)
    found = list(api.check_parity(lake, contracts(), Request(PREFIX, lateness=_LATENESS), _say))
    if unequal := [str(done) for done in found if done.before.outcome != "equal"]:
        raise AssertionError(unequal)
    return {"items": sum(done.before.items for done in found)}


def built_again(folder: Path) -> dict[str, Any]:
    """All tables are lost, and built from what landed, to the same content."""
    lake = lake_at(folder, 9)
    before = {c.name: api.content_hash(lake, c) for c in contracts().values()}
    for lost in ("data/warehouse", "data/ledger", "data/audit", "catalog"):
        shutil.rmtree(folder / "lake" / lost, ignore_errors=True)
    done = api.recover(lake, contracts(), Lost("lake"), progress=_say)
    if done.failed:
        raise AssertionError(done.failed)
    after = {c.name: api.content_hash(lake, c) for c in contracts().values()}
    if before != after:
        raise AssertionError(f"expected the same content, found {before} and {after}")
    return {"entities": len(done.results)}


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "DuckDB alone": duckdb_alone,
    "backfill": backfilled,
    "parity": compared,
    "lost lake": built_again,
}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    step, place, said = sys.argv[1:]
    Path(said).write_text(json.dumps(STEPS[step](Path(place))))
