"""What changes cost on their way from the stream to the published tables, at list prices. Plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.prices import Prices

CHANGES = 50_000_000
RELAY_BATCH = 1_000
RELAY_GB = 1.0
RELAY_CORES = 1024 / 1769
"""Lambda gives a whole core with 1,769 MB of memory (its developer guide)."""
VCPUS, MEMORY_GB = 2, 4


@dataclass(frozen=True)
class Batch:
    """A batch that was measured, publication included."""

    changes: int
    seconds: float
    put_requests: int
    get_requests: int
    glue_requests: int


@dataclass(frozen=True)
class Way:
    """How the changes come: in so many batches (and landed objects), each with these requests and seconds."""

    name: str
    batches: int
    batch: Batch


def costs(way: Way, bytes_per_change: float, relay_rate: float, prices: Prices) -> dict[str, float]:
    """US dollars by what they are paid for. `bytes_per_change` is the relay's line, `relay_rate` changes a second of a
    core. Free amounts of a month are not deducted."""
    gigabytes = CHANGES * bytes_per_change / 10**9
    invocations = CHANGES / RELAY_BATCH
    hours = way.batches * way.batch.seconds / 3600
    return {
        "Lambda, relay": prices.usd("lambda_request", invocations)
        + prices.usd("lambda_gb_second", CHANGES / relay_rate / RELAY_CORES * RELAY_GB),
        "Firehose, with conversion to Parquet": prices.usd("firehose_gb", gigabytes)
        + prices.usd("firehose_conversion_gb", gigabytes),
        "S3, requests": prices.usd("s3_put", way.batches * (1 + way.batch.put_requests))
        + prices.usd("s3_get", way.batches * way.batch.get_requests),
        "Glue, requests": prices.usd("glue_request", way.batches * way.batch.glue_requests),
        "Machine, while it works": prices.usd("vcpu_hour", hours * VCPUS)
        + prices.usd("memory_gb_hour", hours * MEMORY_GB),
    }
