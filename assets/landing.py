"""Landing: the raw objects that Firehose and other systems write. Gavel only observes them, so the assets are external.

Partitions are hours of arrival in UTC, the current hour included, because objects arrive in it while it lasts.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from assets import keys
from assets.presentation import bucket_link, table_schema
from contracts import Contract, Contracts
from lakehouse.storage.lake import Lake

FIRST_HOUR = datetime(2025, 1, 1, tzinfo=UTC)
"""No object can have landed before the platform existed."""

ARRIVAL_HOURS = dg.HourlyPartitionsDefinition(start_date=FIRST_HOUR, timezone="UTC", end_offset=1)


def arrival_partition(hour: datetime) -> str | None:
    """The partition key of an arrival hour (UTC), or None for an hour that is no partition of the landing assets."""
    if hour < FIRST_HOUR:
        return None
    return hour.astimezone(UTC).strftime(ARRIVAL_HOURS.fmt)


def prefix(contract: Contract) -> str:
    """The bucket's prefix under which objects of the entity arrive."""
    return f"dropbox/{contract.name}/" if contract.origin == "files" else f"landing/{contract.name}/"


def landing_assets(contracts: Contracts, lake: Lake) -> list[dg.AssetSpec]:
    """One external asset per entity."""
    return [_landing_asset(contract, lake) for contract in contracts.values()]


def _landing_asset(contract: Contract, lake: Lake) -> dg.AssetSpec:
    if contract.origin == "files":
        how = "Files (NDJSON, CSV or Parquet) that other systems drop for this entity."
        kinds = {"s3", "file"}
    else:
        how = "Every change of an item of this entity, as lossless text, written by Firehose."
        kinds = {"s3", "parquet"}
    return dg.AssetSpec(
        key=keys.landing(contract.name),
        description=f"{how}\n\n{contract.description}",
        group_name=keys.LANDING,
        owners=keys.owners(contract.owner),
        kinds=kinds,
        tags={"domain": contract.domain, "origin": contract.origin},
        partitions_def=ARRIVAL_HOURS,
        metadata={
            "contract": f"{contract.name} {contract.version}",
            "retention": f"{contract.retention_days} days",
            "objects": bucket_link(lake, prefix(contract)),
            "dagster/uri": f"s3://{lake.bucket}/{prefix(contract)}",
            "dagster/column_schema": table_schema(contract),
        },
    )
