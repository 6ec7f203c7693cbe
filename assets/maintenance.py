"""The nightly care of published tables: one asset per entity that audits the whole table, not only the last batch."""

import dagster as dg

from assets import keys
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse.audit import Verdict, audit_table

WHOLE_TABLE = "whole_table"


def maintenance_assets(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """One asset per entity."""
    return [_maintenance_asset(contract) for contract in contracts.values()]


def _maintenance_asset(contract: Contract) -> dg.AssetsDefinition:
    key = keys.maintenance(contract.name)

    @dg.asset(
        key=key,
        deps=[keys.catalog(contract.name)],
        description=f"The audit of every row of the published table of {contract.name}.",
        group_name=keys.MAINTENANCE,
        owners=keys.owners(contract.owner),
        kinds={"iceberg", "duckdb"},
        tags={"domain": contract.domain},
        check_specs=[
            dg.AssetCheckSpec(
                WHOLE_TABLE, asset=key, description="Every invariant of compaction holds for the whole table."
            )
        ],
        pool=keys.pool(contract.name),
    )
    def maintenance(lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        return audited(audit_table(lake.lake, contract))

    return maintenance


def audited(verdict: Verdict) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The verdict on a whole table as a materialization with its check."""
    failed = [check for check in verdict.checks if not check.passed]
    return dg.MaterializeResult(
        asset_key=keys.maintenance(verdict.entity),
        metadata={
            "metadata file": verdict.metadata_location,
            **{check.name: f"{'passed' if check.passed else 'FAILED'}: {check.detail}" for check in verdict.checks},
        },
        check_results=[
            dg.AssetCheckResult(
                asset_key=keys.maintenance(verdict.entity),
                check_name=WHOLE_TABLE,
                passed=verdict.passed,
                description="; ".join(f"{check.name}: {check.detail}" for check in failed)
                or f"{len(verdict.checks)} invariants hold.",
            )
        ],
    )
