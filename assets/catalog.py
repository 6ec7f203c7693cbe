"""Publication: one asset per entity that moves the published Glue entries to the audited work table.

Publishing itself verifies that exactly this metadata passed its audit, so no order of runs can publish a failed batch.
Columns, comments, properties and statistics in Glue follow the contract in the same step.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.lineage import LINEAGE, published_columns
from assets.presentation import bucket_link, markdown_table, size, table_link, table_schema
from assets.resources import LakeResource
from assets.run_configuration import Ingest, PublicationConfig, RollBack
from assets.side_by_side import SideBySide, side_by_side
from contracts import Contract, Contracts
from contracts.logs import LOGS, Log
from contracts.types import type_name
from lakehouse import api
from lakehouse.results import Drift, Publication, Published
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake

FRESH = "fresh"
UNTOUCHED = "no_hand_made_change"
THREADS = 8  # that look at entities at once


def catalog_assets(contracts: Contracts, lake: Lake) -> list[dg.AssetsDefinition]:
    """One asset per entity."""
    return [_catalog_asset(contract, contracts, lake) for contract in contracts.values()]


def log_assets(lake: Lake) -> list[dg.AssetSpec]:
    """The logs that publications and comparisons write beside the tables, and dbt reads."""
    return [_log_asset(log, lake) for log in LOGS]


def _log_asset(log: Log, lake: Lake) -> dg.AssetSpec:
    return dg.AssetSpec(
        keys.catalog(log.name),
        description=log.description,
        group_name=keys.CATALOG,
        owners=keys.owners(log.owner),
        kinds={"glue", "json"},
        metadata={
            "files": bucket_link(lake, f"{log.name}/"),
            "query": table_link(lake, log.name),
            "dagster/table_name": f"{lake.published_database}.{log.name}",
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(c.name, type_name(c.type), c.description) for c in log.columns]
            ),
        },
    )


def _catalog_asset(contract: Contract, contracts: Contracts, lake: Lake) -> dg.AssetsDefinition:
    key = keys.catalog(contract.name)

    @dg.asset(
        key=key,
        deps=[keys.compacted(contract.name)],
        description=(
            f"The published table of {contract.name}: what marts, Athena and BI read. Readers see the old or the new "
            f"state and nothing between.\n\n{contract.description}"
        ),
        group_name=keys.CATALOG,
        owners=keys.owners(contract.owner),
        kinds={"glue", "iceberg"},
        tags={"domain": contract.domain},
        # By the time of the last publication, which is never older than a quiet entity's look; the check `fresh` judges
        # the data's own time.
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=contract.freshness_minutes)),
        metadata={
            "contract": f"{contract.name} {contract.version}",
            "freshness target": f"{contract.freshness_minutes} minutes",
            "query": table_link(lake, contract.name),
            "dagster/table_name": f"{lake.published_database}.{contract.name}",
            "dagster/column_schema": table_schema(contract),
        },
        check_specs=[
            dg.AssetCheckSpec(
                UNTOUCHED,
                asset=key,
                description="Nobody changed the Glue entries by hand; what was changed is set right and listed here.",
            ),
            dg.AssetCheckSpec(
                FRESH,
                asset=key,
                description=(
                    f"Everything that arrived more than {contract.freshness_minutes} minutes ago is published. "
                    "Watched between runs, too."
                ),
            ),
        ],
        pool=keys.pool(contract.name),
    )
    def catalog(
        context: dg.AssetExecutionContext, config: PublicationConfig, lake: LakeResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        def work(entity: str, report: Callable[[str], None]) -> Publication:
            return api.publish(lake.lake, contracts[entity], run_id=context.run.run_id)

        with side_by_side(context, keys.catalog, lake.lake, work) as side:
            publication = _done(lake.lake, contract, config, context, side)
        state = "moved to" if publication.changed else "already at"
        context.log.info(f"{contract.name}: {state} {publication.published.metadata_location}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(rows_version(publication.published)),
            metadata=publication_metadata(publication.published, contract, lake.lake)
            | {"changed": publication.changed},
            check_results=list(catalog_checks(publication, contract, datetime.now(UTC))),
        )

    return catalog


def _done(
    lake: Lake,
    contract: Contract,
    config: PublicationConfig,
    context: dg.AssetExecutionContext,
    side: SideBySide,
) -> Publication:
    """Publish, or take the publication that was begun for this step; or roll back."""
    run_id, report = context.run.run_id, context.log.info
    if isinstance(config.work, RollBack):
        snapshot = config.work.snapshot
        return api.rollback(lake, contract, int(snapshot) if snapshot else None, run_id=run_id)

    def again() -> Publication:
        api.compact(lake, contract, Ingest().scope, progress=report)
        return api.publish(lake, contract, run_id=run_id)

    try:
        begun: Publication | None = side.take(keys.CATALOG, contract.name, report)
        return begun or api.publish(lake, contract, run_id=run_id)
    except EntryConflict as conflict:
        report(f"another writer was at work since the batch, which is made again: {conflict}")
        return api.win(again, report)


def published_states(
    lake: Lake,
    contracts: Contracts,
    unreadable: Callable[[str, Exception], None],
    known: dict[str, Published] | None = None,
) -> list[Published]:
    """What readers see now, of every entity that has been published. An entity whose state cannot be read is left out
    and reported to `unreadable`: the others do not pay for it. Who looks often keeps what is `known` from look to
    look: only a state that is another one is read then."""

    def state_of(contract: Contract) -> Published | Exception | None:
        try:
            return api.published(lake, contract, *([known[contract.name]] if known and contract.name in known else ()))
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(zip(contracts, pool.map(state_of, contracts.values()), strict=True))
    for entity, state in found:
        if isinstance(state, Exception):
            unreadable(entity, state)
    states = [state for _, state in found if isinstance(state, Published)]
    if known is not None:
        known.update({state.entity: state for state in states})
    return states


def unreadable_to(log: Callable[[str], None]) -> Callable[[str, Exception], None]:
    """What tells a log of entities whose published state cannot be read."""
    return lambda entity, error: log(f"{entity} cannot be read, the others go on: {type(error).__name__}: {error}")


def rows_version(state: Published) -> str:
    """A text that changes whenever the published rows do. A watermark that moves alone does not change it, nor does
    maintenance, which writes the same rows again."""
    return f"{state.batch}:{state.changes}"


def publication_metadata(published: Published, contract: Contract, lake: Lake) -> dict[str, Any]:
    """The published state as metadata of the asset."""
    metadata: dict[str, Any] = {
        "dagster/row_count": published.rows,
        "bytes": published.bytes,
        "size": size(published.bytes),
        "data files": published.files,
        "changes": published.changes,
        "batch": published.batch,
        "snapshot": str(published.snapshot_id),
        "metadata file": published.metadata_location,
        "files": bucket_link(lake, f"warehouse/{published.entity}/"),
        "query": table_link(lake, published.entity),
        LINEAGE: published_columns(contract, keys.compacted(contract.name)),
    }
    if published.watermark:
        metadata["watermark"] = dg.MetadataValue.timestamp(published.watermark)
    return metadata


def catalog_checks(publication: Publication, contract: Contract, now: datetime) -> Iterator[dg.AssetCheckResult]:
    """Hand-made changes and freshness of a publication as check results; both warn, neither blocks."""
    key = keys.catalog(contract.name)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=UNTOUCHED,
        passed=not publication.drift,
        severity=dg.AssetCheckSeverity.WARN,
        description=_drift_text(publication.drift),
        metadata={"changes": dg.MetadataValue.md(drift_table(publication.drift))} if publication.drift else {},
    )
    yield freshness_check(contract, publication.published.watermark, now)


def drift_table(drift: Sequence[Drift]) -> str:
    """Hand-made changes as a Markdown table."""
    rows = [{"table": d.table, "what": d.what, "expected": d.expected, "found": d.found} for d in drift]
    return markdown_table(["table", "what", "expected", "found"], rows)


def _drift_text(drift: Sequence[Drift]) -> str:
    if not drift:
        return "The Glue entries were as Gavel wrote them."
    return f"{len(drift)} hand-made change(s) were found in Glue and set right; make such changes in the contract."


def freshness_check(contract: Contract, watermark: datetime | None, now: datetime) -> dg.AssetCheckResult:
    """Whether the published table is as fresh as its contract promises, judged by its watermark."""
    late = is_late(contract, watermark, now)
    allowed = f"{contract.freshness_minutes} minutes"
    if watermark is None:
        description = f"Expected everything older than {allowed} to be published, found nothing published yet."
    else:
        lag = (now - watermark).total_seconds()
        description = f"Published up to {watermark:%Y-%m-%d %H:%M:%S} UTC, {lag:.0f} s ago; allowed are {allowed}."
    metadata = {"watermark": dg.MetadataValue.timestamp(watermark)} if watermark else {}
    return dg.AssetCheckResult(
        asset_key=keys.catalog(contract.name),
        check_name=FRESH,
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


def is_late(contract: Contract, watermark: datetime | None, now: datetime) -> bool:
    """Whether something that arrived longer ago than the contract's freshness target may be unpublished."""
    return watermark is None or now - watermark > timedelta(minutes=contract.freshness_minutes)
