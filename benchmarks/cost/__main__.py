"""Starts the stack, ingests batches of two sizes, and writes what 50 million changes cost with what was counted."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cost.sums import CHANGES, Batch, Way, costs
from benchmarks.tick.changes import MicroBatch, change, land
from contracts import Contracts, load_contracts
from contracts.prices import load_prices
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.publish import publication_log
from lakehouse.storage.lake import Lake
from local import stack as laptop_stack
from local.aws import Aws
from local.home import Home

RESULTS = Path(__file__).parents[1] / "results" / "cost.json"
RELAY = RESULTS.with_name("relay.json")
ENTITY = "bids"
MONTH_SECONDS = 30 * 86_400
BUFFER_SECONDS = 120  # of production, in the template
LARGE = 100_000


def measured(home: Home, contracts: Contracts, sizes: Sequence[int]) -> list[Batch]:
    """One batch of each size, after others of it; each is a landed object of changes to known and new keys."""
    current = laptop_stack.up(home, contracts).stack
    try:
        bucket = current.outputs["DataBucketName"]
        lake = Lake.of_environment("local", bucket, "eu-west-1", current.endpoint)
        client, found, number = Aws(current.endpoint).client("s3"), [], 0
        for size in sizes:
            for _ in range(3):
                number += 1
                begin = number * size // 2
                land(client, bucket, contracts, [(ENTITY, MicroBatch(number, number, range(begin, begin + size)))])
                api.compact(lake, contracts[ENTITY], Scope())
                api.publish(lake, contracts[ENTITY])
            row = publication_log.read(lake, ENTITY, datetime.now(UTC))[-1]
            names = ("seconds", "put_requests", "get_requests", "glue_requests")
            found.append(Batch(row["rows_read"], *(row[name] for name in names)))
        return found
    finally:
        laptop_stack.down(home)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    contracts, prices = load_contracts(), load_prices()
    small = round(CHANGES / MONTH_SECONDS * BUFFER_SECONDS)
    with tempfile.TemporaryDirectory(prefix="gavel-cost-") as folder:
        steady, large = measured(Home(Path(folder)), contracts, (small, LARGE))
    rate = json.loads(RELAY.read_text("utf-8"))["records_per_cpu_second"]["ours"]
    size = sum(len(json.dumps(change(contracts[ENTITY], n, 1))) + 1 for n in range(100)) / 100
    ways = [
        Way("steadily over 30 days", MONTH_SECONDS // BUFFER_SECONDS, steady),
        Way("at once", CHANGES // LARGE, large),
    ]
    document: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "changes": CHANGES,
        "bytes_per_change": round(size),
        "region": prices.region,
        "ways": {},
    }
    for way in ways:
        usd = {name: round(amount, 2) for name, amount in costs(way, size, rate, prices).items()}
        document["ways"][way.name] = {
            "batches": way.batches,
            "batch": vars(way.batch),
            "usd": usd,
            "total": round(sum(usd.values()), 2),
        }
    given.results.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
