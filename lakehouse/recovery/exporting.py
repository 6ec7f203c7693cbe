"""A whole backfill: the exports that somebody wants are found or requested, awaited, and brought into the lake.

The door for Dagster's job and for operators; what one export does to the lake belongs to `backfill`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse.exports import requesting
from lakehouse.exports.requesting import Request
from lakehouse.recovery.backfill import BackfillResult, Plan, backfill, find, plan
from lakehouse.recovery.wanted import Source, Wanted
from lakehouse.results import Progress, silent

if TYPE_CHECKING:
    from contracts import Contracts
    from lakehouse.storage.lake import Lake


# All by name: what is wanted, of what, where to, for whom.
def run_backfill(
    lake: Lake,
    contracts: Contracts,
    source: Source,
    wanted: Wanted,
    *,
    progress: Progress = silent,
    run_id: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[BackfillResult]:
    """Bring in what is wanted, export by export, the oldest first. Raises what requesting, reading and ingesting raise;
    whatever stops it, the next call finds its exports and its landed files again, and goes on."""
    done = []
    for address in _addresses(lake, source, wanted, progress, pause):
        for found in find(lake, address, taken_at=wanted.taken_at):
            done.append(backfill(lake, contracts, found, wanted.entities or None, progress=progress, run_id=run_id))
    return done


def dry_run_backfill(lake: Lake, contracts: Contracts, source: Source, wanted: Wanted) -> list[str]:
    """What `run_backfill` would do, a line for each export; nothing is requested and nothing written."""
    if wanted.address is None:
        what = [f"incremental, {w.since.isoformat()} to {w.until.isoformat()}" if w else "full" for w in wanted.windows]
        place = f"s3://{lake.bucket}/{requesting.PREFIX}/"
        return [
            f"request an export of {source.table} ({kind}) below {place}, await it and bring it in" for kind in what
        ]
    if _is_arn(wanted.address):
        found = source.client().describe_export(ExportArn=wanted.address)["ExportDescription"]
        if found["ExportStatus"] != "COMPLETED":
            return [f"await {wanted.address}, which is {found['ExportStatus']}, and bring it in"]
    address = _address(source, wanted, silent, time.sleep)
    plans: list[Plan] = [
        plan(lake, contracts, found, wanted.entities or None) for found in find(lake, address, taken_at=wanted.taken_at)
    ]
    return [f"bring in {said}" for said in plans]


def _is_arn(address: str) -> bool:
    return address.startswith("arn:")


def _address(source: Source, wanted: Wanted, progress: Progress, pause: Callable[[float], None]) -> str:
    """Where the export lies that was named; an ARN's is awaited."""
    assert wanted.address is not None
    if not _is_arn(wanted.address):
        return wanted.address
    return requesting.wait(source.client(), wanted.address, limit=wanted.limit, progress=progress, pause=pause)


def _addresses(
    lake: Lake, source: Source, wanted: Wanted, progress: Progress, pause: Callable[[float], None]
) -> list[str]:
    """Where all exports lie: those of several windows are requested together, then awaited."""
    if wanted.address is not None:
        return [_address(source, wanted, progress, pause)]
    client = source.client()
    requests = [
        Request(source.table, lake.bucket, (w.since, w.until) if w else None, wanted.name) for w in wanted.windows
    ]
    arns = [requesting.request(client, one, progress) for one in requests]
    return [requesting.wait(client, arn, limit=wanted.limit, progress=progress, pause=pause) for arn in arns]
