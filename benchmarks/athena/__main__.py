"""Builds a table of bids, merges batches on Trino and embedded, and writes what each query scanned and the seconds of
processor that the embedded look-up took.

Bytes scanned depend on files and statements only, so a small machine measures them as well as a big one. Trino's times
are not written: a Trino beside its emulator on a laptop says nothing about Athena.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import duckdb

from contracts import Contract, load_contracts
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import reduction
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult
from lakehouse.storage.athena import AthenaSettings
from lakehouse.storage.lake import Lake
from local import emulator
from local.aws import CREDENTIALS
from local.home import Home

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "athena.json"
REGION = CREDENTIALS["AWS_REGION"]

KEYS = {
    # A key that begins with its time, as those of ULID and KSUID do: bounds of files tell the months apart.
    "ordered": "printf('b-%012d', n)",
    # A key that says nothing: every file can hold every key.
    "random": "'b-' || md5(n::VARCHAR)",
}


QUERIES = ("find the stored rows", "merge", "read the touched keys back")


@dataclass(frozen=True)
class Size:
    """The table: months of bids with so many rows each; a batch changes about `changed` of the newest month's rows, and
    a tenth as many are new."""

    months: int
    rows_per_month: int
    changed: int

    @property
    def rows(self) -> int:
        return self.months * self.rows_per_month


def land(lake: Lake, folder: Path, name: str, numbers: str, keys: str, version: int, size: Size) -> None:
    """Land the bids whose numbers the query `numbers` gives, all of one version."""
    placed = f"timestamp '2024-01-01' + to_months((n // {size.rows_per_month})::INTEGER)"
    seconds = f"to_seconds((n % {size.rows_per_month}) * 2419200 // {size.rows_per_month})"
    path = folder / name
    duckdb.execute(
        f"""COPY (SELECT {KEYS[keys]} AS bid_id, 'l-' || md5((n % 90001)::VARCHAR)[:12] AS lot_id,
        'c-' || md5((n % 70001)::VARCHAR)[:12] AS bidder_id, printf('%d.%02d', 5 + n % 4999, n % 100) AS amount,
        'EUR' AS currency, CASE n % 3 WHEN 0 THEN 'proxy' ELSE 'manual' END AS kind, 'accepted' AS status,
        strftime({placed} + {seconds}, '%Y-%m-%dT%H:%M:%SZ') AS placed_at, NULL::VARCHAR AS closed_at,
        md5(n || '/{version}') || '{version}' AS _event_id, 'modify' AS _op, '{version}' AS _version,
        n::VARCHAR AS _seq, '2026-11-{version:02d}T00:00:00Z' AS _changed_at, NULL::VARCHAR AS _ttl,
        '1.0.0' AS _contract, NULL::VARCHAR AS _extra FROM ({numbers}))
        TO '{path}' (FORMAT parquet, COMPRESSION zstd)"""
    )
    lake.store.upload(path, f"landing/bids/dt=2026-11-21/hh=12/{name}")
    path.unlink()


def batch_of(size: Size, seed: int, anywhere: bool) -> str:
    """The numbers of the bids of a batch; `anywhere` adds a tenth as many that are older than the newest month."""
    tenth, newest = size.changed // 10, size.rows - size.rows_per_month
    older = f"UNION SELECT (i * 104729 + {seed}) % {newest} FROM range({tenth}) r(i) " if anywhere else ""
    return (
        f"SELECT DISTINCT {newest} + (i * 7919 + {seed}) % {size.rows_per_month} AS n FROM range({size.changed}) r(i) "
        f"{older}UNION SELECT {size.rows} + {seed} * {tenth} + i FROM range({tenth}) r(i)"
    )


def merged(lake: Lake, contract: Contract) -> BatchResult:
    result = compact(lake, contract, Scope.everything())
    publish(lake, contract)
    return result


def load(lake: Lake, folder: Path, contract: Contract, keys: str, size: Size) -> None:
    """Fill the table, embedded."""
    step = 240_000
    for start in range(0, size.rows, step):
        end = min(start + step, size.rows)
        land(lake, folder, f"load-{start}.parquet", f"SELECT range AS n FROM range({start}, {end})", keys, 1, size)
    merged(lake, contract)


def look_up_embedded(folder: Path, contract: Contract, keys: str, size: Size) -> dict[str, Any]:
    """Seconds of processor in which this machine finds the stored rows of a batch from anywhere."""
    lake = Lake("data", "landing", "work", "published", local_root=folder / f"embedded-{keys}", scratch=folder)
    load(lake, folder, contract, keys, size)
    land(lake, folder, "batch.parquet", batch_of(size, 2, anywhere=True), keys, 2, size)
    took: list[float] = []
    find = reduction.find_stored

    def timed(*arguments: Any) -> None:
        started = time.process_time()
        find(*arguments)
        took.append(time.process_time() - started)

    with mock.patch.object(reduction, "find_stored", timed):
        result = merged(lake, contract)
    return {
        "changes": result.counts.read,
        "seconds of processor": round(sum(took), 3),
        "million rows a second and core": round(size.rows / sum(took) / 1e6, 1),
    }


def measure(lake: Lake, service: Any, folder: Path, contract: Contract, keys: str, size: Size) -> dict[str, Any]:
    """Load the table embedded, then merge two batches on Athena."""
    load(lake, folder, contract, keys, size)
    stored = sum(o.size for o in lake.store.list("warehouse/bids/data/"))
    found: dict[str, Any] = {"rows": size.rows, "table MB": round(stored / 1e6, 1)}
    for number, (name, anywhere) in enumerate({"newest month": False, "anywhere": True}.items(), start=2):
        land(lake, folder, f"batch-{number}.parquet", batch_of(size, number, anywhere), keys, number, size)
        service.executions.clear()
        result = merged(lake, replace(contract, engine="athena"))
        scans = zip(QUERIES, service.executions.values(), strict=True)
        found[name] = {
            "changes": result.counts.read,
            "scanned MB": {query: round(e.scanned / 1e6, 2) for query, e in scans},
            "bytes per stored row": round(result.scanned_bytes / size.rows, 2),
            "share of the table": round(result.scanned_bytes / stored, 3),
        }
    return found


def main(arguments: list[str]) -> None:
    """Measure both kinds of keys and write the results."""
    from tests.conformance.support.athena_service import AthenaService, serving
    from tests.conformance.support.trino_client import TrinoClient
    from tests.conformance.support.trino_server import VERSION, running_trino

    parser = argparse.ArgumentParser(prog="python -m benchmarks.athena", description=__doc__)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--rows-per-month", type=int, default=160_000)
    parser.add_argument("--changed", type=int, default=2_000)
    given = parser.parse_args(arguments)
    size, contract = Size(given.months, given.rows_per_month, given.changed), load_contracts()["bids"]
    os.environ.update(CREDENTIALS)
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = Home(folder / "home")
        endpoint = emulator.start(home).stack.endpoint
        stack.callback(emulator.halt, home, clean=False)
        trino = stack.enter_context(running_trino(endpoint, REGION, folder / "trino"))
        s3, glue = (boto3.client(name, region_name=REGION, endpoint_url=endpoint) for name in ("s3", "glue"))
        service = AthenaService(TrinoClient(trino.url, trino.catalog), s3, glue)
        address = stack.enter_context(serving(service))
        for keys in KEYS:
            lake = replace(
                Lake.of_environment(keys, f"bids-{keys}", REGION, endpoint), athena=AthenaSettings(endpoint=address)
            )
            s3.create_bucket(Bucket=lake.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            results[f"{keys} keys"] = measure(lake, service, folder, contract, keys, size)
            results[f"{keys} keys"]["embedded look-up"] = look_up_embedded(folder, contract, keys, size)
            print(keys, json.dumps(results[f"{keys} keys"], indent=1), flush=True)  # noqa: T201
    document = {
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Trino {VERSION}",
        "table": f"bids, {size.months} months of {size.rows_per_month:,} rows, partitioned by month",
        "results": results,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
