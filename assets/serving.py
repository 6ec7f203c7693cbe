"""Published tables that the website's PostgreSQL follows: an asset for each served table, and the check of its rows.

Which tables those are is configuration of the environment; without it nothing here is part of the graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets import keys
from assets.presentation import markdown_table
from assets.resources import LakeResource
from contracts.types import type_name
from lakehouse import api
from lakehouse.serving.wanted import Target

UNTOUCHED = "equal_to_the_lake"
COMPARE_SERVED = "compare_served_tables"
"""The op, which has another name than its job."""


@dataclass(frozen=True)
class WebsiteDatabase:
    """The address of the website's PostgreSQL, which is a secret: it is in no page of the UI."""

    url: str = field(repr=False)


class ServedConfig(dg.Config):
    """What the comparison of served tables does beside comparing."""

    repair: bool = False


def serving_assets(targets: Sequence[Target]) -> list[dg.AssetsDefinition]:
    """One asset for each served table."""
    return [_served(target) for target in targets]


def _served(target: Target) -> dg.AssetsDefinition:
    contract = target.contract

    @dg.asset(
        key=keys.served(contract.name),
        deps=[keys.catalog(contract.name)],
        description=(
            f"The table `{target.schema}.{target.table}` of the website's PostgreSQL, which follows the published "
            f"table of {contract.name}: all of one state, in one transaction, with its watermark in `gavel_sync`."
        ),
        group_name=keys.SERVED,
        owners=keys.owners(contract.owner),
        kinds={"postgres"},
        tags={"domain": contract.domain},
        metadata={
            "dagster/table_name": f"{target.schema}.{target.table}",
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(f.name, type_name(f.type), f.description) for f in target.fields]
            ),
        },
        # The server may be restarted, or a reader hold up a changed column: both pass.
        retry_policy=dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL),
        pool=keys.serving_pool(contract.name),
    )
    def served(
        context: dg.AssetExecutionContext, lake: LakeResource, website: dg.ResourceParam[WebsiteDatabase]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        done = api.sync_served(lake.lake, target, website.url, progress=context.log.info)
        if done is None:
            return dg.MaterializeResult(metadata={"outcome": "nothing is published yet"})
        context.log.info(str(done))
        metadata: dict[str, Any] = {
            "dagster/row_count": done.rows,
            "inserted": done.written.inserted,
            "updated": done.written.updated,
            "deleted": done.written.deleted,
            "seconds": round(done.seconds, 3),
            "all rows compared": done.whole or "no",
        }
        if done.watermark is not None:
            metadata["watermark"] = dg.MetadataValue.timestamp(done.watermark)
            metadata["lag in seconds"] = round((lake.lake.now() - done.watermark).total_seconds(), 1)
        return dg.MaterializeResult(metadata=metadata)

    return served


def serving_check(targets: Sequence[Target]) -> dg.AssetChecksDefinition:
    """The comparison of every served table with the state that it shows."""
    by_key = {dg.AssetCheckKey(keys.served(t.contract.name), UNTOUCHED): t for t in targets}

    @dg.multi_asset_check(
        name=COMPARE_SERVED,
        specs=[
            dg.AssetCheckSpec(
                UNTOUCHED,
                asset=key.asset_key,
                description="The served table says what the published state says that it shows: nobody else wrote it.",
            )
            for key in by_key
        ],
        can_subset=True,
    )
    def compare(
        context: dg.AssetCheckExecutionContext,
        config: ServedConfig,
        lake: LakeResource,
        website: dg.ResourceParam[WebsiteDatabase],
    ) -> Iterator[dg.AssetCheckResult]:
        if context.run.asset_selection:
            return  # Dagster adds checks that nobody requested to runs of their assets
        for key, target in by_key.items():
            if key not in context.selected_asset_check_keys:
                continue
            drift = api.check_served(lake.lake, target, website.url, repair=config.repair, progress=context.log.info)
            rows = [{"key": d.key, "kind": d.kind, "columns": ", ".join(d.columns)} for d in drift.found]
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=UNTOUCHED,
                passed=drift.equal or drift.written is not None,
                severity=dg.AssetCheckSeverity.ERROR,
                description=str(drift),
                metadata={
                    "rows": drift.rows,
                    "seconds": round(drift.seconds, 3),
                    **drift.counts,
                    **(
                        {"found": dg.MetadataValue.md(markdown_table(["key", "kind", "columns"], rows))} if rows else {}
                    ),
                },
            )

    return compare
