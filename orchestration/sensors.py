"""The sensors: they look at the lake and the instance, ask plain functions what follows, and request runs or alert.

What counts as new or due is decided in `arrivals` and `requested`, what is alerted in `watches`; here it meets Dagster.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import published_states, rows_version, unreadable_to
from assets.landing import arrival_partition, prefix
from assets.presentation import bucket_link, size
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse.intake.landing import LandedObject, Scope, list_objects
from lakehouse.storage.lake import Lake
from orchestration.alerts.outbox import Outbox
from orchestration.alerts.sensor import alert_sensor, lake_view
from orchestration.alerts.watches import watches
from orchestration.arrivals import Arrival, Cursor, due, ended, notice, requested_for, window_start
from orchestration.failed_runs import is_to_be_repeated
from orchestration.jobs import AssetJobs
from orchestration.lost_runs import end_lost_runs
from orchestration.requested import Requested
from orchestration.settings import Settings

LISTING_THREADS = 8
REQUEST_TAG = "gavel/requested"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def sensors(
    contracts: Contracts,
    jobs: AssetJobs,
    settings: Settings,
    marts: dg.AssetSelection,
    lags: Mapping[dg.AssetKey, timedelta],
) -> list[Any]:
    """All sensors, running from the start. `lags` says how old the data of a model may be."""
    pace = settings.pace
    return [
        arrival_sensor(
            "landed_objects",
            contracts.of_origin("stream"),
            jobs.compaction,
            pace.landing_seconds,
            pace.quiet_seconds,
            "Sees what Firehose landed and asks for one run that compacts and publishes all entities it concerns.",
        ),
        arrival_sensor(
            "dropped_files",
            contracts.of_origin("files"),
            jobs.compaction,
            pace.dropbox_seconds,
            pace.quiet_seconds,
            "Sees files that other systems dropped for entities of origin files and asks for their compaction.",
        ),
        published_sensor(contracts, jobs.marts, marts, pace.marts_seconds),
        alert_sensor(
            watches(contracts, lags, settings.ui_url, settings.daily_usd),
            lake_view(contracts),
            pace.alerts_seconds,
            settings.ui_url,
        ),
    ]


def arrival_sensor(
    name: str, contracts: Sequence[Contract], job: Any, interval: int, quiet: int, description: str
) -> dg.SensorDefinition:
    """Tells which landing partitions changed, and requests one run for all entities that are due."""
    by_name = {contract.name: contract for contract in contracts}

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        outbox = Outbox.from_cursor(context.cursor)
        remembered = Cursor.from_text(outbox.inner)
        if remembered.run and (success := outcome(context.instance, remembered.run)) is not None:
            remembered = ended(remembered, success, now)
        listings, unlisted = list_arrivals(lake.lake, contracts, window_start(remembered, now))
        remembered, arrivals = notice(remembered, listings, now, unlisted)
        outbox, newly = outbox.could_not_see(unlisted, now)  # the sensor of alerts reads it in the cursor
        for entity in newly:
            context.log.error(f"What landed of {entity} cannot be listed, others go on: {outbox.unseen[entity][1]}")
        events = landed(arrivals, by_name, lake.lake)

        def skip(text: str) -> dg.SensorResult:
            return dg.SensorResult(
                skip_reason=outbox.said(text), cursor=outbox.to_cursor(remembered.to_text()), asset_events=events
            )

        entities = sorted(due(remembered, by_name, timedelta(seconds=quiet), now))
        if not entities:
            return skip(f"Nothing new for {len(by_name)} entities.{_tried_again(remembered.failed)}")
        if unfinished(context.instance, job.name, name):
            return skip(f"A compaction is under way; {', '.join(entities)} will follow.")
        remembered = requested_for(remembered, entities, now)
        return dg.SensorResult(
            run_requests=[compaction_request(entities, {REQUEST_TAG: remembered.run})],
            cursor=outbox.to_cursor(remembered.to_text()),
            asset_events=events,
        )

    return sensor


def compaction_request(entities: Sequence[str], tags: Mapping[str, str]) -> dg.RunRequest:
    """One run for the entities: compaction and publication of each."""
    return dg.RunRequest(
        asset_selection=[key(entity) for entity in entities for key in (keys.compacted, keys.catalog)],
        tags={"gavel/entities": str(len(entities)), **tags},
    )


def list_arrivals(
    lake: Lake, contracts: Sequence[Contract], start: datetime
) -> tuple[dict[str, list[LandedObject]], dict[str, Exception]]:
    """The objects that landed since an arrival hour, by entity, and why entities could not be listed: what is wrong
    with one holds up no other."""

    def objects(contract: Contract) -> list[LandedObject] | Exception:
        try:
            return list(list_objects(lake, contract, Scope(start=start)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported, and concerns this entity alone
            return error

    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        found = dict(zip((c.name for c in contracts), pool.map(objects, contracts), strict=True))
    failed = {entity: result for entity, result in found.items() if isinstance(result, Exception)}
    return {entity: result for entity, result in found.items() if not isinstance(result, Exception)}, failed


def landed(arrivals: Iterable[Arrival], contracts: Mapping[str, Contract], lake: Lake) -> list[dg.AssetMaterialization]:
    """What the UI shows of changed landing partitions."""
    events = []
    for arrival in arrivals:
        partition = arrival_partition(arrival.hour)
        if partition is None:
            continue
        below = prefix(contracts[arrival.entity])
        if contracts[arrival.entity].origin == "stream":
            below += f"dt={arrival.hour:%Y-%m-%d}/hh={arrival.hour:%H}/"
        events.append(
            dg.AssetMaterialization(
                keys.landing(arrival.entity),
                partition=partition,
                metadata={
                    "objects": arrival.objects,
                    "bytes": arrival.bytes,
                    "size": size(arrival.bytes),
                    "newest": dg.MetadataValue.timestamp(arrival.newest),
                    "listing": bucket_link(lake, below),
                },
            )
        )
    return events


def unfinished(instance: dg.DagsterInstance, job_name: str, sensor: str) -> bool:
    """Whether a run that this sensor requested is under way, or about to be repeated. Runs of others do not count: a
    sensor that waited for them could wait for ever, and two runs of one entity wait for each other in its pool."""
    end_lost_runs(instance)
    tags = {"dagster/sensor_name": sensor}
    if instance.get_runs_count(dg.RunsFilter(job_name=job_name, statuses=UNFINISHED, tags=tags)):
        return True
    last = instance.get_run_records(dg.RunsFilter(job_name=job_name, tags=tags), limit=1)
    return any(is_to_be_repeated(record, datetime.now(UTC)) for record in last)


def published_sensor(contracts: Contracts, job: Any, marts: dg.AssetSelection, interval: int) -> dg.SensorDefinition:
    """Requests the marts that read a table whose published rows changed."""

    @dg.sensor(
        name="published_tables",
        job=job,
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Brings the marts that read a newly published table up to it, at most once in this interval.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        states = published_states(lake.lake, contracts, unreadable_to(context.log.error))
        rows = {state.entity: rows_version(state) for state in states}
        requested = Requested.from_text(context.cursor)
        if requested.id and (ended := outcome(context.instance, requested.id)) is not None:
            requested = requested.ended(ended, now)
        changed = requested.due(rows, now)
        if not changed:
            return _waiting(f"No published table changed.{_tried_again(requested.failed)}", requested)
        if unfinished(context.instance, job.name, "published_tables"):
            return _waiting(f"Marts are being built; they follow {', '.join(changed)} at the next tick.", requested)
        assert context.repository_def is not None  # a sensor of a code location always has one
        request = marts_request(changed, marts, context.repository_def.asset_graph)
        if request is None:
            return _waiting(f"No mart reads {', '.join(changed)}.", requested.nobody_reads(changed, rows))
        requested = requested.again(changed, rows)
        request = request._replace(tags={**request.tags, REQUEST_TAG: requested.id})
        return dg.SensorResult(run_requests=[request], cursor=requested.to_text())

    return sensor


def _tried_again(failed: Collection[str]) -> str:
    return f" {', '.join(sorted(failed))} will be tried again." if failed else ""


def _waiting(reason: str, requested: Requested) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=requested.to_text())


def outcome(instance: dg.DagsterInstance, requested: str) -> bool | None:
    """Whether the run that was requested for under this id succeeded; None while it goes on, or is about to be
    repeated. One that never began to be a run did not."""
    records = instance.get_run_records(dg.RunsFilter(tags={REQUEST_TAG: requested}), limit=1)
    if not records:
        return False
    run = records[0].dagster_run
    return run.is_success if run.is_finished and not is_to_be_repeated(records[0], datetime.now(UTC)) else None


def marts_request(changed: Sequence[str], marts: dg.AssetSelection, graph: Any) -> dg.RunRequest | None:
    """A run of the `marts` that read the published tables of these entities; None if no mart does.

    Checks are named, too: where a request names none, Dagster adds every check of the assets in the code location,
    those that are for the night as well.
    """
    downstream = dg.AssetSelection.assets(*map(keys.catalog, changed)).downstream(include_self=False)
    affected = (downstream & marts).resolve(graph)
    if not affected:
        return None
    checks = {check for check in marts.resolve_checks(graph) if check.asset_key in affected}
    return dg.RunRequest(
        asset_selection=sorted(affected),
        asset_check_keys=sorted(checks),
        tags={"gavel/because": ", ".join(changed)[:200]},
    )
