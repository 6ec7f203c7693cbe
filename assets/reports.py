"""The report: on a laptop the page that people open, and everywhere its content as figures, which the API shows to
staff. It is rendered from the marts that the same run has just published.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any

import dagster as dg

from assets import keys
from assets.consumers import Consumer
from assets.data_times import DATA_TIME
from assets.presentation import size
from assets.resources import LakeResource, WarehouseResource
from contracts import Contracts
from contracts.figures import KEY, MOST_BYTES
from lakehouse import api
from warehouse.manifest import Manifest
from warehouse.marts import Mart, marts_of, models_of

PAGE = dg.AssetKey(["reports", "page"])
PAGE_FILE = "report.html"
PageInPart = Callable[
    [dg.AssetExecutionContext, LakeResource, WarehouseResource, Collection[str]], dg.AssetMaterialization | None
]
EXPOSURE = "report_page"
"""Its name in the dbt project."""


class FiguresTooLarge(RuntimeError):
    """The figures are more than the API can answer with."""


def report_assets(exposure: Consumer, manifest: Manifest, contracts: Contracts) -> list[dg.AssetsDefinition]:
    """The report, as its exposure in the dbt project says: what it reads, whose it is, how old it may become.

    Its step joins the publication log, too, of which a build of reports reads each object that it has listed: where one
    step holds the warehouse's pool no other builds."""
    read = {key.path[-1] for key in exposure.reads}

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
    def page(
        context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        if warehouse.target == "local":
            shown = _rendered(context, lake, warehouse)
        else:
            marts = [mart for mart in marts_of(manifest, models_of(manifest)) if mart.name in read]
            shown = _written(context, lake, marts)
        for contract in contracts.values():
            api.join_days(lake.lake, contract)
        return dg.MaterializeResult(metadata=shown)

    return [page]


def page_in_part(exposure: Consumer) -> PageInPart:
    """What a build on a laptop that failed in part does for the page, which Dagster then skips: render it with what
    there is. Elsewhere such a build publishes nothing.

    The function takes the names of the models that stay as they were; it does and gives nothing where the build has no
    report that the page reads.
    """
    reads = {key for key in exposure.reads if key.path[0] == PAGE.path[0]}

    def render_in_part(
        context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource, kept: Collection[str]
    ) -> dg.AssetMaterialization | None:
        if reads.isdisjoint(context.selected_asset_keys):
            return None
        return dg.AssetMaterialization(PAGE, metadata=_rendered(context, lake, warehouse, kept))

    return render_in_part


def _rendered(
    context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource, kept: Collection[str] = ()
) -> dict[str, Any]:
    """Render the page and show its figures; returns what the UI shows of it."""
    from reporting import render

    rendered = render(warehouse.database, warehouse.reports / PAGE_FILE, kept=kept)
    _show(lake, rendered.path.with_suffix(".json").read_bytes())
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
    return metadata | _true_for(rendered.data_time)


def _written(context: dg.AssetExecutionContext, lake: LakeResource, marts: Iterable[Mart]) -> dict[str, Any]:
    """Show the figures of the marts that readers of the lake see; returns what the UI shows of it."""
    from reporting import figures, open_published, written

    with open_published(lake.lake, marts) as source:
        document = figures(source, "the lake")
    content = written(document).encode()
    _show(lake, content)
    context.log.info(f"Figures are true for {_when(document.data_time)}")
    panels = sum(len(theme.panels) for s in document.sections for theme in s.themes)
    panels += sum(len(theme.panels) for theme in document.general)
    return {"bytes": len(content), "size": size(len(content)), "panels": panels} | _true_for(document.data_time)


def _show(lake: LakeResource, figures: bytes) -> None:
    if len(figures) > MOST_BYTES:
        raise FiguresTooLarge(
            f"expected figures of at most {MOST_BYTES:,} bytes, which the API can answer with, found {len(figures):,}: "
            "let a panel have fewer rows; the earlier figures stay"
        )
    lake.lake.store.write(KEY, figures)


def _true_for(moment: datetime | None) -> dict[str, Any]:
    return {DATA_TIME: dg.MetadataValue.timestamp(moment)} if moment else {}


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "no data yet"
