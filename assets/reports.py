"""The report page: the file that people open, rendered from the warehouse that the same run has just published."""

from collections.abc import Callable, Collection
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
PageInPart = Callable[[dg.AssetExecutionContext, WarehouseResource, Collection[str]], dg.AssetMaterialization | None]
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
        return dg.MaterializeResult(metadata=_rendered(context, warehouse))

    return [page]


def page_in_part(exposure: Consumer) -> PageInPart:
    """What a build that failed in part does for the page, which Dagster then skips: render it with what there is.

    The function takes the names of the models that stay as they were; it does and gives nothing where the build has no
    report that the page reads.
    """
    reads = {key for key in exposure.reads if key.path[0] == PAGE.path[0]}

    def render_in_part(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, kept: Collection[str]
    ) -> dg.AssetMaterialization | None:
        if reads.isdisjoint(context.selected_asset_keys):
            return None
        return dg.AssetMaterialization(PAGE, metadata=_rendered(context, warehouse, kept))

    return render_in_part


def _rendered(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, kept: Collection[str] = ()
) -> dict[str, Any]:
    """Render the page; returns what the UI shows of it."""
    from reporting import render

    rendered = render(warehouse.database, warehouse.reports / PAGE_FILE, kept=kept)
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
    if kept:
        metadata["as they were"] = ", ".join(sorted(kept))
    if rendered.data_time:
        metadata[DATA_TIME] = dg.MetadataValue.timestamp(rendered.data_time)
    return metadata


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no data yet"
