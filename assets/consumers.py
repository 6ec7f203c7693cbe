"""Who reads the marts and reports: dbt's exposures as they appear in the graph, and the lag that each of them accepts.

An exposure names its owner and `maximum_lag_minutes`; a model may lag behind as much as its strictest reader accepts.
The page that this platform renders itself belongs to `reports`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import published_states, unreadable_to
from assets.data_times import DATA_TIME, present, present_data_times, timeless
from assets.manifest import model_keys
from assets.resources import LakeResource
from contracts import Contracts
from warehouse.manifest import Manifest

GROUP = "consumers"
RECENT = "recent_enough"


@dataclass(frozen=True)
class Consumer:
    """An exposure of the dbt project. `reads` are the assets that it depends on; `lag` is what its data may be old."""

    name: str
    label: str
    type: str
    description: str
    owner: str
    lag: timedelta
    kinds: frozenset[str]
    reads: tuple[dg.AssetKey, ...]


def consumers(manifest: Manifest) -> dict[str, Consumer]:
    """All consumers by name. Raises `ValueError` for an exposure that does not say how old its data may be."""
    return {e["name"]: _consumer(e, model_keys(manifest)) for e in manifest["exposures"].values()}


def _consumer(exposure: Mapping[str, Any], models: Mapping[str, dg.AssetKey]) -> Consumer:
    name, meta = exposure["name"], exposure["config"]["meta"]
    if not isinstance(minutes := meta.get("maximum_lag_minutes"), int):
        raise ValueError(
            f"exposure {name}: expected meta.maximum_lag_minutes, found {minutes!r}; say how old is too old"
        )
    return Consumer(
        name=name,
        label=exposure.get("label") or name,
        type=exposure["type"],
        description=exposure["description"].strip(),
        owner=exposure["owner"]["email"],
        lag=timedelta(minutes=minutes),
        kinds=frozenset(meta.get("kinds", ())),
        reads=tuple(models[i] for i in exposure["depends_on"]["nodes"] if i in models),
    )


def consumer_assets(known: Iterable[Consumer]) -> list[dg.AssetSpec]:
    """One external asset for each consumer, at the end of what it reads."""
    return [
        dg.AssetSpec(
            key=dg.AssetKey([GROUP, consumer.name]),
            deps=list(consumer.reads),
            group_name=GROUP,
            owners=keys.owners(consumer.owner),
            kinds={*consumer.kinds, consumer.type},
            description=f"{consumer.label}.\n\n{consumer.description}",
            metadata={"maximum lag": f"{consumer.lag.total_seconds() / 60:.0f} minutes"},
        )
        for consumer in known
    ]


def accepted_lags(known: Iterable[Consumer], manifest: Manifest) -> dict[dg.AssetKey, timedelta]:
    """How old the data of each model that somebody reads may be: what the strictest of its consumers accepts."""
    lags: dict[dg.AssetKey, timedelta] = {}
    for consumer in known:
        for key in consumer.reads:
            lags[key] = min(consumer.lag, lags.get(key, consumer.lag))
    return {key: lag for key, lag in lags.items() if key not in timeless(manifest)}


def lag_checks(lags: Mapping[dg.AssetKey, timedelta], contracts: Contracts) -> dg.AssetChecksDefinition:
    """The check of each of these models, that its data is as recent as its consumers need it. It only warns."""

    @dg.multi_asset_check(
        name="lag_of_models",
        can_subset=True,
        specs=[
            dg.AssetCheckSpec(
                RECENT,
                asset=key,
                description=f"Its data time is at most {_minutes(lag)} ago, as consumers ask. Watched at all times.",
            )
            for key, lag in lags.items()
        ],
    )
    def checks(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        selected = [key.asset_key for key in context.selected_asset_check_keys]
        tables = present(contracts, published_states(lake.lake, contracts, unreadable_to(context.log.warning)))
        times, now = present_data_times(context.instance, selected, tables), datetime.now(UTC)
        for key in selected:
            yield lag_check(key, lags[key], times.get(key), now)

    return checks


def lag_check(key: dg.AssetKey, lag: timedelta, data_time: datetime | None, now: datetime) -> dg.AssetCheckResult:
    """Whether the data of a model is recent enough; a model without a data time is not."""
    if data_time is None:
        description = (
            f"Expected data of the last {_minutes(lag)}, found no data time: a table that it reads is not published."
        )
    else:
        age = (now - data_time).total_seconds() / 60
        description = (
            f"True for {data_time:%Y-%m-%d %H:%M:%S} UTC, {age:.0f} minutes ago; accepted are {_minutes(lag)}."
        )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=RECENT,
        passed=data_time is not None and now - data_time <= lag,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={DATA_TIME: dg.MetadataValue.timestamp(data_time)} if data_time else {},
    )


def _minutes(lag: timedelta) -> str:
    return f"{lag.total_seconds() / 60:.0f} minutes"
