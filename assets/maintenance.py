"""The nightly maintenance of published tables: one asset per entity that rewrites, expires, removes, and audits rows.

What was done is shown as files and bytes before and after; that rows stayed the same and that the store really shrank
are checks of the asset.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import keys
from assets.presentation import bucket_link, markdown_table, size
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.results import Amount, AuditResult, MaintenanceResult, StateRetention
from lakehouse.storage.lake import Lake

WHOLE_TABLE = "whole_table"
SAME_ROWS = "same_rows"
SHRANK = "shrank"
STATE_RETENTION = StateRetention()


def maintenance_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """One asset per entity."""
    return [_maintenance_asset(contract) for contract in contracts.values()]


def _maintenance_asset(contract: Contract) -> dg.AssetsDefinition:
    key = keys.maintenance(contract.name)

    @dg.asset(
        key=key,
        deps=[keys.catalog(contract.name)],
        description=(
            f"Care of the tables of {contract.name}: small and delete-laden files are rewritten, tombstones purged, "
            f"snapshots expired, and files removed that no state of the last {STATE_RETENTION.recent.days * 24} hours, "
            f"no last state of one of {STATE_RETENTION.days} days and none of the newest {STATE_RETENTION.states} "
            "states needs. "
            "Then every row is audited."
        ),
        group_name=keys.MAINTENANCE,
        owners=keys.owners(contract.owner),
        kinds={"iceberg", "duckdb"},
        tags={"domain": contract.domain},
        check_specs=[
            dg.AssetCheckSpec(
                SAME_ROWS,
                asset=key,
                description="Readers see the rows that they saw before; only tombstones may be gone. Otherwise nothing "
                "is published or removed.",
            ),
            dg.AssetCheckSpec(
                SHRANK,
                asset=key,
                description="What was removed is gone, and the store holds exactly so many bytes less: a request to "
                "delete may be answered well and delete nothing.",
            ),
            dg.AssetCheckSpec(
                WHOLE_TABLE, asset=key, description="Every invariant of compaction holds for the whole table."
            ),
        ],
        pool=keys.pool(contract.name),
    )
    def maintenance(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        result = api.maintain(
            lake.lake, contract, state_retention=STATE_RETENTION, progress=context.log.info, run_id=context.run.run_id
        )
        return maintained(result, api.audit_table(lake.lake, contract), lake.lake)

    return maintenance


def maintained(result: MaintenanceResult, audit_result: AuditResult, lake: Lake) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What one night did and the audit of the whole table, as a materialization with its checks."""
    return dg.MaterializeResult(
        asset_key=keys.maintenance(result.entity),
        metadata=maintenance_metadata(result, audit_result, lake),
        check_results=list(maintenance_checks(result, audit_result)),
    )


def maintenance_metadata(result: MaintenanceResult, audit_result: AuditResult, lake: Lake) -> dict[str, Any]:
    """Files and bytes before and after, what was done, and the audit, as metadata of the asset."""
    before, after = result.before.total, result.after.total
    removed = result.removal.removed if result.removal else Amount()
    return {
        "dagster/row_count": result.after.compacted.rows,
        "before and after": dg.MetadataValue.md(usage_table(result)),
        "files before": before.files,
        "files after": after.files,
        "bytes before": before.bytes,
        "bytes after": after.bytes,
        "files removed": removed.files,
        "bytes removed": removed.bytes,
        "data files rewritten": result.rewritten,
        "data files written": result.written,
        "tombstones purged": result.purged,
        "horizon": result.horizon,
        "snapshots expired": result.expired,
        "seconds": dg.MetadataValue.float(float(result.seconds.get("total", 0.0))),
        "seconds by step": dg.MetadataValue.json({step: round(value, 3) for step, value in result.seconds.items()}),
        "metadata file": audit_result.metadata_location,
        "files": bucket_link(lake, f"warehouse/{result.entity}/"),
        **{check.name: f"{'passed' if check.passed else 'FAILED'}: {check.detail}" for check in audit_result.checks},
    }


def usage_table(result: MaintenanceResult) -> str:
    """Files and bytes before and after, as a Markdown table: what a reader opens, and all that lies on the store."""
    rows = []
    for was, now in ((result.before.compacted, result.after.compacted), (result.before.changes, result.after.changes)):
        rows.append({"what": f"{now.table}: rows", "before": was.rows, "after": now.rows})
        for what in ("data", "deletes", "stored", "metadata"):
            label = {"data": "data files read", "deletes": "delete files read", "stored": "data stored"}.get(what, what)
            rows.append(_line(f"{now.table}: {label}", getattr(was, what), getattr(now, what)))
    rows.append(_line("ledger", result.before.ledger, result.after.ledger))
    rows.append(_line("audit results", result.before.audit, result.after.audit))
    rows.append(_line("all on the store", result.before.total, result.after.total))
    return markdown_table(["what", "before", "after"], rows)


def _line(label: str, before: Amount, after: Amount) -> dict[str, object]:
    return {"what": label, "before": _amount(before), "after": _amount(after)}


def _amount(amount: Amount) -> str:
    return f"{amount.files:,} files, {size(amount.bytes)}"


def maintenance_checks(result: MaintenanceResult, audit_result: AuditResult) -> Iterator[dg.AssetCheckResult]:
    """Same rows, a store that shrank by what was removed, and the audit of the whole table as check results."""
    key = keys.maintenance(result.entity)
    yield dg.AssetCheckResult(
        asset_key=key, check_name=SAME_ROWS, passed=result.same_rows, description=_same_rows_text(result)
    )
    removal = result.removal
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=SHRANK,
        passed=removal is not None and removal.exact,
        description=_shrank_text(result),
    )
    failed = [check for check in audit_result.checks if not check.passed]
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=WHOLE_TABLE,
        passed=audit_result.passed,
        description="; ".join(f"{check.name}: {check.detail}" for check in failed)
        or f"{len(audit_result.checks)} invariants hold.",
    )


def _same_rows_text(result: MaintenanceResult) -> str:
    if result.audit_result is None:
        return "Nothing was worth rewriting or expiring."
    if not result.audit_result.passed:
        return f"Nothing was published or removed. {result.audit_result.failures}"
    purged = f", and {result.purged} tombstones are purged" if result.purged else ""
    return f"{result.after.compacted.rows} rows and {result.after.changes.rows} changes are as they were{purged}."


def _shrank_text(result: MaintenanceResult) -> str:
    removal = result.removal
    if removal is None:
        return "Nothing was removed, because the rows were not the same."
    if removal.exact:
        if not removal.removed.files:
            return "No file was old enough and needed by nobody."
        return f"{_amount(removal.removed)} were removed; {_amount(removal.left)} older than the grace period are left."
    expected = removal.listed.bytes - removal.removed.bytes
    return (
        f"Expected {expected:,} bytes older than the grace period after removing {_amount(removal.removed)}, found "
        f"{removal.left.bytes:,}; {removal.lingering} files that nobody needs are still there. Look at the rights to "
        "delete (s3:DeleteObject) and at the bucket's object lock."
    )
