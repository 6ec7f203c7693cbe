"""Compaction: one asset per entity that ingests what landed, writes its work table and audits it, unpublished.

One op does it all in one process; what it found is reported as checks of the asset. Which objects are new is decided by
the ledger, so the asset has no partitions; a replay, a rebuild and a requeue come by run configuration.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import dagster as dg

from assets import keys
from assets.lineage import LINEAGE, landed_columns
from assets.presentation import bucket_link, preview, size, table_schema
from assets.resources import LakeResource
from assets.run_configuration import CompactionConfig, Ingest, Rebuild, Replay, Requeue
from assets.side_by_side import side_by_side
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.results import BatchResult, Counts
from lakehouse.storage.lake import Lake

INVARIANTS = {
    "every row is accounted for": "Each row read is one of applied, superseded, duplicate, quarantined and too late.",
    "keys are unique": "No key has two rows.",
    "required fields are present": "No row lacks a field that its contract requires.",
    "removals are marked": "A row is marked as removed or expired exactly if its newest change says so.",
    "order never goes backwards": "The row of each key is the newest change that ever arrived for it.",
    "rows add up": "The table grew by exactly the new keys.",
    "changes are kept": "The history grew by exactly the accepted changes.",
    "recorded metadata is true": "What is recorded of new files, by which readers skip files, holds for each value.",
    "the key index is true": "Where indexes say that the batch's keys are is where their files have them.",
}
"""What the engine audits in every batch, by the name of its check, and what that means to a person."""


UNCHANGED = "no row changed since the last audit"
"""The engine's check of a commit that only moved the watermark or noted held objects."""

NOTHING_SET_ASIDE = "nothing_set_aside"


def compacted_assets(contracts: Contracts, lake: Lake) -> list[dg.AssetsDefinition]:
    """One asset per entity."""
    return [_compacted_asset(contract, contracts, lake) for contract in contracts.values()]


def _compacted_asset(contract: Contract, contracts: Contracts, lake: Lake) -> dg.AssetsDefinition:
    key = keys.compacted(contract.name)

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(keys.landing(contract.name), partition_mapping=dg.LastPartitionMapping())],
        description=(
            f"The latest row of every {contract.name} key, and all changes in `{contract.name}_changes`, written and "
            f"audited but not yet visible to readers.\n\n{contract.description}"
        ),
        group_name="compaction",
        owners=keys.owners(contract.owner),
        kinds={"iceberg", "athena" if contract.engine == "athena" else "duckdb"},
        tags={"domain": contract.domain},
        metadata={
            "contract": f"{contract.name} {contract.version}",
            "primary key": ", ".join(contract.primary_key),
            "engine": contract.engine,
            "files": bucket_link(lake, f"warehouse/{contract.name}/"),
            "quarantine": bucket_link(lake, f"quarantine/{contract.name}/"),
            "dagster/column_schema": table_schema(contract),
        },
        check_specs=[
            dg.AssetCheckSpec(check_name(invariant), asset=key, description=text, blocking=True)
            for invariant, text in INVARIANTS.items()
        ]
        + [
            dg.AssetCheckSpec(
                NOTHING_SET_ASIDE, asset=key, description="No row or object was quarantined, held or came too late."
            )
        ],
        pool=keys.pool(contract.name),
    )
    def compacted(
        context: dg.AssetExecutionContext, config: CompactionConfig, lake: LakeResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        def work() -> BatchResult:
            result = _done(lake.lake, contract, config.work, context.log.info)
            if not isinstance(config.work, Ingest):
                # A run that waits for the pool would begin from what is published, without what was done here.
                api.publish(lake.lake, contract, run_id=context.run.run_id)
            return result

        with side_by_side(context, keys.compacted, lake.lake, partial(_tick, lake.lake, contracts)) as side:
            result: BatchResult | None = side.take(keys.COMPACTED, contract.name, context.log.info)
            if result is None:
                side.settle()
                result = api.win(work, context.log.info)
            made = materialized(result, contract, lake.lake)
            if all(c.passed for c in made.check_results or () if c.severity is dg.AssetCheckSeverity.ERROR):
                side.succeeded.add(contract.name)
            return made

    return compacted


def _tick(lake: Lake, contracts: Contracts, entity: str, report: Callable[[str], None]) -> BatchResult:
    """What a tick needs of an entity, beside others."""
    scope = Ingest().scope
    return api.win(lambda: api.compact(lake, contracts[entity], scope, progress=report, beside=True), report)


def _done(
    lake: Lake, contract: Contract, work: Ingest | Replay | Rebuild | Requeue, progress: Callable[[str], None]
) -> BatchResult:
    match work:
        case Ingest() | Replay():
            return api.compact(lake, contract, work.scope, progress=progress)
        case Rebuild():
            return api.rebuild(lake, contract, progress=progress)
        case Requeue():
            return api.requeue(lake, contract, frozenset(work.objects) or None, progress=progress)


def materialized(result: BatchResult, contract: Contract, lake: Lake) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """What the UI shows of a batch: counts, sizes, durations, a masked preview, and its audit as checks.

    The data version is the last batch that changed rows, so that a pass which found nothing makes nothing out of date.
    """
    return dg.MaterializeResult(
        asset_key=keys.compacted(contract.name),
        data_version=dg.DataVersion(str(result.batch)),
        metadata=batch_metadata(result, contract, lake),
        check_results=list(audit_checks(result)),
    )


def batch_metadata(result: BatchResult, contract: Contract, lake: Lake) -> dict[str, Any]:
    """The result of a batch as metadata of the asset."""
    metadata: dict[str, Any] = {
        "dagster/row_count": result.rows,
        "batch": result.batch,
        "objects": result.objects,
        "bytes read": result.bytes,
        "size read": size(result.bytes),
        **asdict(result.counts),
        "seconds": dg.MetadataValue.float(float(result.seconds.get("total", 0.0))),
        "engine": result.engine,
        "metadata file": result.metadata_location,
        "files": bucket_link(lake, f"warehouse/{contract.name}/"),
        LINEAGE: landed_columns(contract, keys.landing(contract.name)),
    }
    if result.queries:
        metadata |= {
            "queries": result.queries,
            "bytes scanned": result.scanned_bytes,
            "size scanned": size(result.scanned_bytes),
            "cost (USD, estimate)": dg.MetadataValue.float(round(result.usd, 6)),
        }
    if result.preview is not None:
        metadata["preview"] = preview(result.preview, contract)
    if result.watermark:
        metadata["watermark"] = dg.MetadataValue.timestamp(result.watermark)
    if result.seconds:
        metadata["seconds by step"] = dg.MetadataValue.json(
            {step: round(seconds, 3) for step, seconds in result.seconds.items()}
        )
    if result.reasons:
        metadata["reasons"] = dg.MetadataValue.json(dict(result.reasons))
        metadata["quarantine"] = bucket_link(lake, f"quarantine/{contract.name}/")
    if result.quarantined_objects:
        metadata["quarantined objects"] = dg.MetadataValue.json(list(result.quarantined_objects))
    if result.held:
        metadata["held objects"] = dg.MetadataValue.json({h.key: h.reason for h in result.held})
    if result.failing:
        metadata["failing objects"] = dg.MetadataValue.json({h.key: h.reason for h in result.failing})
    return metadata


def recorded_counts(metadata: Mapping[str, dg.MetadataValue]) -> Counts:
    """The counts in the metadata of a batch, under the names of the record's fields."""
    values = {count.name: metadata[count.name].value for count in fields(Counts)}
    return Counts(**values)  # type: ignore[arg-type]


def check_name(invariant: str) -> str:
    """The asset check that stands for an invariant."""
    return invariant.replace(" ", "_")


def audit_checks(result: BatchResult) -> Iterator[dg.AssetCheckResult]:
    """The batch's audit as one check result per invariant; an invariant that was not audited counts as broken."""
    key = keys.compacted(result.entity)
    audited = {check.name: check for check in result.audit_result.checks} if result.audit_result else {}
    for invariant in INVARIANTS:
        if invariant in audited:
            passed, detail = audited[invariant].passed, audited[invariant].detail
        elif UNCHANGED in audited:
            passed, detail = audited[UNCHANGED].passed, f"{UNCHANGED}: {audited[UNCHANGED].detail}"
        elif result.audit_result is None and result.counts.read == 0:
            passed, detail = True, "Nothing arrived, so there was nothing to audit."
        else:
            found = ", ".join(sorted(audited)) or "none"
            passed, detail = False, f"Expected an audit of whether {invariant}, found only {found}."
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=check_name(invariant),
            passed=passed,
            description=detail,
        )
    set_aside = _set_aside(result)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=NOTHING_SET_ASIDE,
        passed=not set_aside,
        severity=dg.AssetCheckSeverity.WARN,
        description=set_aside or "All that arrived was ingested.",
    )


def _set_aside(result: BatchResult) -> str:
    """What was set aside, in words; empty if nothing was."""
    aside = {
        "rows quarantined": result.counts.quarantined,
        "objects quarantined": len(result.quarantined_objects),
        "objects held": len(result.held),
        "objects failing, to be tried again": len(result.failing),
        "changes too late": result.counts.too_late,
    }
    found = [f"{number} {what}" for what, number in aside.items() if number]
    if not found:
        return ""
    return f"{', '.join(found)}. Correct the contract or the sender, then requeue them (`work: requeue`)."
