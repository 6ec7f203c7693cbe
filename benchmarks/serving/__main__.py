"""Serve a wide and a narrow table in a PostgreSQL on this machine: the first copy, batches of changes, a state that
moved without a row, the comparison. Write seconds, our own processor seconds, and rows a second.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.lakes import lake_in
from benchmarks.processes import machine
from contracts import Contract, load_contracts
from contracts.change import CHANGE_COLUMNS
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.serving.drift import check_served
from lakehouse.serving.sync import sync_served
from lakehouse.serving.wanted import Serving, Wish
from lakehouse.storage.lake import Lake
from tests.support.postgres import Server, running_server

RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
FEES = (
    '[{"kind": "insurance", "payer": "buyer", "amount": "12.50"}, '
    '{"kind": "storage", "payer": "seller", "amount": "3.10"}]'
)
MADE = {
    "orders": {
        "order_id": "'o-' || n",
        "buyer_id": "'c-' || (n % 5000)",
        "seller_id": "'c-' || (n % 700)",
        "lot_id": "'l-' || n",
        "address_id": "'a-' || (n % 9000)",
        "currency": "'EUR'",
        "hammer_price": "(n % 90000 + version)::VARCHAR || '.50'",
        "buyers_premium": "(n % 900)::VARCHAR || '.25'",
        "fees": f"'{FEES}'",
        "status": "'paid'",
        "quote_number": "'Q-' || n",
        "quote_version": "(n % 7)::VARCHAR",
        "placed_at": "strftime(timestamp '2026-01-01' + to_seconds(n * 20), '%Y-%m-%dT%H:%M:%SZ')",
    },
    "bids": {
        "bid_id": "'b-' || n",
        "lot_id": "'l-' || (n % 90000)",
        "bidder_id": "'c-' || (n % 5000)",
        "status": "'accepted'",
        "amount": "(n % 90000 + version)::VARCHAR || '.50'",
        "currency": "'EUR'",
        "placed_at": "strftime(timestamp '2026-01-01' + to_seconds(n * 20), '%Y-%m-%dT%H:%M:%SZ')",
    },
}


def land(lake: Lake, contract: Contract, keys: str, version: int) -> None:
    """Land a change of each key, as the relay does, and publish."""
    made = MADE[contract.name]
    stamps = {
        "_event_id": f"'e-' || n || '-{version}'",
        "_op": "'modify'",
        "_version": f"'{version}'",
        "_seq": "lpad('1', 40, '0')",
        "_changed_at": "'2026-11-21T12:00:00Z'",
        "_contract": f"'{contract.version}'",
    }
    columns = ", ".join(
        f'{({**made, **stamps}).get(c, "NULL")}::VARCHAR AS "{c}"' for c in (*contract.field_names, *CHANGE_COLUMNS)
    )
    place = Path(lake.store.uri(lake.landing_prefix(contract))) / "dt=2026-11-21" / "hh=12"
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"{version}.parquet"
    duckdb.execute(f"COPY (SELECT {columns} FROM (SELECT n, {version} AS version FROM ({keys}) AS k(n))) TO '{target}'")
    compact(lake, contract, Scope())
    publish(lake, contract)


def measured(contract: Contract, rows: int, folder: Path, server: Server) -> dict[str, Any]:
    """What was measured of one table of so many rows."""
    url = server.new_database()
    lake = lake_in(folder / contract.name, "serving")
    target = Serving("shop", {contract.name: Wish()}, "").target(contract)
    steps: dict[str, Any] = {}

    def step(name: str, count: int, work: Callable[[], Any]) -> None:
        began, used = time.perf_counter(), time.process_time()
        said = work()
        seconds, used = time.perf_counter() - began, time.process_time() - used
        steps[name] = {
            "rows": count,
            "seconds": round(seconds, 2),
            "processor seconds of ours": round(used, 2),
            "rows a second": round(count / seconds),
        }
        sys.stdout.write(f"{contract.name}: {name}: {steps[name]} {said}\n")

    land(lake, contract, f"SELECT range FROM range({rows})", 1)
    step("first copy", rows, lambda: sync_served(lake, target, url))
    some = rows // 10
    land(lake, contract, f"SELECT range FROM range({rows - some}, {rows})", 2)
    step("a tenth changed, the newest", some, lambda: sync_served(lake, target, url))
    land(lake, contract, f"SELECT range * 10 FROM range({some})", 3)
    step("a tenth changed, everywhere", some, lambda: sync_served(lake, target, url))
    land(lake, contract, f"SELECT range * 97 FROM range({min(1000, rows // 97)})", 4)
    step("1,000 rows changed", min(1000, rows // 97), lambda: sync_served(lake, target, url))
    publish(lake, contract)
    step("nothing changed", 0, lambda: sync_served(lake, target, url))
    step("comparison", rows, lambda: check_served(lake, target, url))
    step("every row again (its columns changed)", rows, lambda: sync_served(lake, replace(target, expired=True), url))
    return {"columns": len(target.fields), "steps": steps}


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gavel-benchmarks/serving"))  # noqa: S108
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    shutil.rmtree(given.folder, ignore_errors=True)
    contracts = load_contracts()
    with running_server() as server:
        tables = {name: measured(contracts[name], given.rows, given.folder, server) for name in MADE}
    shutil.rmtree(given.folder)
    found = {"machine": machine(), "postgres": "18.6, without fsync", "tables": tables}
    given.results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
