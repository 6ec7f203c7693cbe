"""The report page: the file that people open, rendered from the warehouse that the same run has just published."""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.dbt import DATA_TIME
from assets.manifest import Manifest, model_keys
from assets.presentation import size
from assets.resources import WarehouseResource

PAGE = dg.AssetKey(["reports", "page"])
PAGE_FILE = "report.html"
EXPOSURE = "report_page"
"""Its name in the dbt project."""


def report_assets(manifest: Manifest) -> list[dg.AssetsDefinition]:
    """The page, as its exposure in the dbt project describes it: what it reads, whose it is, how old it may become."""
    exposure = next(e for e in manifest["exposures"].values() if e["name"] == EXPOSURE)
    lag = exposure["config"]["meta"].get("maximum_lag_minutes")
    models = model_keys(manifest)

    @dg.asset(
        key=PAGE,
        deps=[models[i] for i in exposure["depends_on"]["nodes"] if i in models],
        group_name="reports",
        owners=keys.owners(exposure["owner"]["email"]),
        kinds={"html", "plotly"},
        description=exposure["description"].strip(),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=lag)) if lag else None,
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
