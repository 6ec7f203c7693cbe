"""Copies of marts in QuickSight's SPICE: an asset for each data set, which is refreshed when its mart has moved.

Which data sets there are follows from the exposures of kind `quicksight`; where no account of QuickSight is configured,
nothing here is part of the graph.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import keys
from assets.consumers import Consumer
from assets.data_times import DATA_TIME, recorded_data_time
from assets.presentation import size
from warehouse.readers import data_set_id

if TYPE_CHECKING:
    from warehouse.spice import Copy, Ingestion

KIND = "quicksight"
VERSION = "version"
"""The metadata that says which version of its mart a copy has."""


@dataclass(frozen=True)
class QuickSight:
    """The QuickSight of an environment: the account with its 12 digits, and the region."""

    environment: str
    account: str
    region: str

    def copy(self, model: str) -> "Copy":
        """The data set of a model."""
        import boto3

        from warehouse.spice import Copy

        client = boto3.client("quicksight", region_name=self.region)
        return Copy(client, self.account, data_set_id(self.environment, model))


@dataclass(frozen=True)
class Copied:
    """A model that QuickSight has a copy of, and whose the copy is."""

    model: dg.AssetKey
    owner: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.path[-1]


class SpiceConfig(dg.Config):
    """What a refresh by hand may do beside: begin an ingestion although the copy has what its mart has."""

    force: bool = False


def copied(consumers: Iterable[Consumer]) -> list[Copied]:
    """The models that consumers of kind `quicksight` read; of several, the first owns the copy."""
    found: dict[dg.AssetKey, Copied] = {}
    for consumer in consumers:
        if KIND in consumer.kinds:
            found |= {key: Copied(key, consumer.owner) for key in consumer.reads if key not in found}
    return list(found.values())


def version_of(instance: dg.DagsterInstance, model: dg.AssetKey) -> str | None:
    """The version of a model's rows that readers have: its data time. A model that is true for any time has a version
    for each day on which it was built; one that was never built has none."""
    event = instance.get_latest_materialization_event(model)
    if event is None:
        return None
    moment = recorded_data_time(instance, model)
    return f"{moment:%Y%m%dT%H%M%S%f}" if moment else f"{datetime.fromtimestamp(event.timestamp, UTC):%Y%m%d}"


def version_copied(instance: dg.DagsterInstance, model: dg.AssetKey) -> str | None:
    """The version that the copy of a model has, as far as the pipeline brought it."""
    event = instance.get_latest_materialization_event(keys.spice(model))
    value = event.asset_materialization.metadata.get(VERSION) if event and event.asset_materialization else None
    return str(value.value) if value else None


def spice_assets(models: Iterable[Copied], environment: str) -> list[dg.AssetsDefinition]:
    """One asset for each copy."""
    return [_spice_asset(each, data_set_id(environment, each.name)) for each in models]


def _spice_asset(copied: Copied, data_set: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=keys.spice(copied.model),
        deps=[copied.model],
        description=f"QuickSight's copy (SPICE) of {copied.name}, the data set `{data_set}`: it follows the mart.",
        group_name=keys.SPICE,
        owners=keys.owners(copied.owner),
        kinds={KIND},
        pool=keys.spice_pool(copied.name),
    )
    def copy(
        context: dg.AssetExecutionContext, config: SpiceConfig, quicksight: dg.ResourceParam[QuickSight]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        version = version_of(context.instance, copied.model)
        if version is None:
            return dg.MaterializeResult(metadata={"outcome": "the mart is not built yet"})
        metadata: dict[str, Any] = {VERSION: version}
        if moment := recorded_data_time(context.instance, copied.model):
            metadata[DATA_TIME] = dg.MetadataValue.timestamp(moment)
        if version == version_copied(context.instance, copied.model) and not config.force:
            return dg.MaterializeResult(metadata={**metadata, "outcome": "the mart has not moved since"})
        forced = f"{version}-{context.run.run_id[:8]}" if config.force else version
        ingested = quicksight.copy(copied.name).refresh(forced, context.log.info)
        return dg.MaterializeResult(metadata={**metadata, **_shown(ingested)})

    return copy


def _shown(ingested: "Ingestion") -> dict[str, Any]:
    return {
        "outcome": "refreshed",
        "ingestion": ingested.id,
        "dagster/row_count": ingested.rows,
        "rows left out": ingested.dropped,
        "bytes": ingested.bytes,
        "size": size(ingested.bytes),
        "seconds": ingested.seconds,
    }
