"""The report page: the file that people open, rendered from the warehouse that the same run has just published."""

from datetime import datetime
from typing import Any

import dagster as dg

from assets import keys
from assets.consumers import Consumer
from assets.data_times import DATA_TIME
from assets.presentation import size
from assets.resources import WarehouseResource

PAGE = dg.AssetKey(["reports", "page"])
PAGE_FILE = "report.html"
EXPOSURE = "report_page"
"""Its name in the dbt project."""


def report_assets(exposure: Consumer) -> list[dg.AssetsDefinition]:
    """The page, as its exposure in the dbt project describes it: what it reads, whose it is, how old it may become."""

    @dg.asset(
        key=PAGE,
        deps=list(exposure.reads),
        group_name="reports",
        owners=keys.owners(exposure.owner),
        kinds=set(exposure.kinds),
        description=exposure.description,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=exposure.lag),
        pool=keys.WAREHOUSE_POOL,
    )
    def page(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        from assets.report_page import render

        rendered = render(warehouse.database, warehouse.reports / PAGE_FILE)
        context.log.info(f"Open {rendered.path}, true for {_when(rendered.data_time)}")
        metadata: dict[str, Any] = {
            "page": dg.MetadataValue.path(str(rendered.path)),
            "open": dg.MetadataValue.url(rendered.path.as_uri()),
            "bytes": rendered.bytes,
            "size": size(rendered.bytes),
            "sales": rendered.sales,
            "bids": rendered.bids,
            "figures": dg.MetadataValue.json(dict(rendered.figures)),
        }
        if rendered.data_time:
            metadata[DATA_TIME] = dg.MetadataValue.timestamp(rendered.data_time)
        return dg.MaterializeResult(metadata=metadata)

    return [page]


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no data yet"
