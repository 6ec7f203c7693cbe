"""Summaries of parties that the API answers from: brought to their report after each build of it.

Whether they are written is configuration of the environment; without it nothing here is part of the graph.
"""

from typing import Any

import dagster as dg

from assets import keys
from assets.consumers import Consumer
from assets.data_times import DATA_TIME
from assets.resources import LakeResource, WarehouseResource
from contracts import summaries
from warehouse.manifest import Manifest

EXPOSURE = "party_summaries"
"""Its name in the dbt project."""
SUMMARIES = dg.AssetKey([keys.SERVED, EXPOSURE])


def summary_assets(exposure: Consumer, manifest: Manifest, environment: str) -> list[dg.AssetsDefinition]:
    """The summaries, as their exposure in the dbt project describes them: what they follow, how old they may become."""

    @dg.asset(
        key=SUMMARIES,
        deps=list(exposure.reads),
        group_name=keys.SERVED,
        owners=keys.owners(exposure.owner),
        kinds=set(exposure.kinds),
        description=exposure.description,
        metadata={"dagster/table_name": summaries.table(environment)},
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=exposure.lag),
        # DynamoDB may be busy, and whoever went on writing is seen at the next try.
        retry_policy=dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL),
        pool=keys.WAREHOUSE_POOL,
    )
    def party_summaries(
        context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        from lakehouse.serving.summaries import SummariesOvertaken
        from warehouse.summaries import bring_summaries

        database = warehouse.database if warehouse.target == "local" else None
        try:
            done = bring_summaries(lake.lake, environment, manifest, database, context.log.info)
        except SummariesOvertaken as overtaken:
            context.log.warning(str(overtaken))
            return dg.MaterializeResult(metadata={"outcome": "another run writes data as late or later"})
        if done is None:
            return dg.MaterializeResult(metadata={"outcome": "the report says no data time yet"})
        shown: dict[str, Any] = {
            "dagster/row_count": done.parties,
            "written": done.written,
            "removed": done.removed,
            "seconds": round(done.seconds, 3),
            DATA_TIME: dg.MetadataValue.timestamp(done.data_time),
        }
        return dg.MaterializeResult(metadata=shown)

    return [party_summaries]
