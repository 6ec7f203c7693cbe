"""The sensors: they look at the lake and the instance, ask plain functions what follows, and request runs or alert.

What counts as new, due or late is decided in `arrivals`, `failures` and `assets.catalog`; here it only meets Dagster.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import freshness_check, is_late, published_states, rows_version, unreadable_to
from assets.consumers import lag_check
from assets.data_times import present, present_data_times
from assets.landing import arrival_partition, prefix
from assets.presentation import bucket_link, size
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse.lake import Lake
from lakehouse.landing import LandedObject, Scope, list_objects
from lakehouse.state import Published
from orchestration import failures
from orchestration.alerts import Alert, AlertResource
from orchestration.arrivals import Arrival, Memory, asked_for, due, notice, window_start
from orchestration.asked import Asked
from orchestration.jobs import AssetJobs
from orchestration.lost_runs import end_lost_runs
from orchestration.progress import reason
from orchestration.settings import Settings
from orchestration.ticks import Trouble, troubles, untold

LISTING_THREADS = 8
ASKED_TAG = "gavel/asked"
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
        freshness_sensor(contracts, settings, pace.freshness_seconds),
        lag_sensor(lags, contracts, settings, pace.freshness_seconds),
        failure_objects_sensor(pace.failures_seconds),
        run_failure_sensor(settings),
        failing_ticks_sensor(settings),
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
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        memory = Memory.from_text(context.cursor)
        listings, unlisted = list_arrivals(lake.lake, contracts, window_start(memory, now))
        memory, arrivals = notice(memory, listings, now, unlisted)
        if unlisted:
            memory = tell_unlisted(context, alerts, memory, unlisted, bucket_link(lake.lake, "landing/").value or "")
        events = landed(arrivals, by_name, lake.lake)
        entities = sorted(due(memory, by_name, timedelta(seconds=quiet), now))
        if not entities:
            return _skip(f"Nothing new for {len(by_name)} entities.", memory, events)
        if _unfinished(context.instance, job.name, name):
            return _skip(f"A compaction is under way; {', '.join(entities)} will follow.", memory, events)
        return dg.SensorResult(
            run_requests=[compaction_request(entities)],
            cursor=asked_for(memory, entities, now).to_text(),
            asset_events=events,
        )

    return sensor


def _skip(reason: str, memory: Memory, events: Sequence[dg.AssetMaterialization]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=memory.to_text(), asset_events=events)


def compaction_request(entities: Sequence[str]) -> dg.RunRequest:
    """One run for the entities: compaction and publication of each."""
    return dg.RunRequest(
        asset_selection=[key(entity) for entity in entities for key in (keys.compacted, keys.catalog)],
        tags={"gavel/entities": str(len(entities))},
    )


def list_arrivals(
    lake: Lake, contracts: Sequence[Contract], start: datetime
) -> tuple[dict[str, list[LandedObject]], dict[str, Exception]]:
    """The objects that landed since an arrival hour, by entity, and why entities could not be listed: what is wrong
    with one holds up no other."""

    def objects(contract: Contract) -> list[LandedObject] | Exception:
        try:
            return list(list_objects(lake, contract, Scope(start=start)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and concerns this entity alone
            return error

    with ThreadPoolExecutor(LISTING_THREADS) as pool:
        found = dict(zip((c.name for c in contracts), pool.map(objects, contracts), strict=True))
    failed = {entity: result for entity, result in found.items() if isinstance(result, Exception)}
    return {entity: result for entity, result in found.items() if not isinstance(result, Exception)}, failed


def tell_unlisted(
    context: dg.SensorEvaluationContext,
    alerts: AlertResource,
    memory: Memory,
    unlisted: Mapping[str, Exception],
    link: str,
) -> Memory:
    """Log why entities could not be listed, and alert about those that nobody was told of; returns the memory after it.

    An alert that cannot be sent is tried again by the next tick: the entities that can be listed do not wait for it.
    """
    reasons = {entity: f"{entity}: {type(error).__name__}: {error}" for entity, error in sorted(unlisted.items())}
    context.log.error(f"What landed cannot be listed. {'; '.join(reasons.values())}")
    if not (newly := sorted(set(unlisted) - memory.told)):
        return memory
    message = Alert(
        what=f"What landed cannot be listed: {', '.join(newly)}",
        why="; ".join(reasons[entity] for entity in newly)[:REASON_LIMIT] + ". Other entities go on.",
        when=datetime.now(UTC),
        link=link,
    )
    try:
        alert(context, alerts, message)
    except Exception as error:  # noqa: BLE001 - logged, and tried again
        context.log.error(f"The alert could not be sent: {error}")
        return memory
    return replace(memory, told=memory.told | set(newly))


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


def _unfinished(instance: dg.DagsterInstance, job_name: str, sensor: str) -> bool:
    """Whether a run that this sensor asked for is under way. Runs of others do not count: a sensor that waited for them
    could wait for ever, and two runs of one entity wait for each other in its pool."""
    end_lost_runs(instance)
    own = dg.RunsFilter(job_name=job_name, statuses=UNFINISHED, tags={"dagster/sensor_name": sensor})
    return instance.get_runs_count(own) > 0


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
        asked = Asked.from_text(context.cursor)
        if asked.id and (ended := _outcome(context.instance, asked.id)) is not None:
            asked = asked.ended(ended, now)
        changed = asked.due(rows, now)
        if not changed:
            waits = f" {', '.join(sorted(asked.failed))} will be tried again." if asked.failed else ""
            return _waiting(f"No published table changed.{waits}", asked)
        if _unfinished(context.instance, job.name, "published_tables"):
            return _waiting(f"Marts are being built; they follow {', '.join(changed)} at the next tick.", asked)
        assert context.repository_def is not None  # a sensor of a code location always has one
        request = marts_request(changed, marts, context.repository_def.asset_graph)
        if request is None:
            return _waiting(f"No mart reads {', '.join(changed)}.", asked.nobody_reads(changed, rows))
        asked = asked.again(changed, rows)
        request = request._replace(tags={**request.tags, ASKED_TAG: asked.id})
        return dg.SensorResult(run_requests=[request], cursor=asked.to_text())

    return sensor


def _waiting(reason: str, asked: Asked) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=asked.to_text())


def _outcome(instance: dg.DagsterInstance, asked: str) -> bool | None:
    """Whether the run that was asked for under this id succeeded; None while it goes on. One that never began to be
    a run did not."""
    runs = instance.get_runs(dg.RunsFilter(tags={ASKED_TAG: asked}), limit=1)
    if not runs:
        return False
    return runs[0].is_success if runs[0].is_finished else None


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


def freshness_sensor(contracts: Contracts, settings: Settings, interval: int) -> dg.SensorDefinition:
    """Judges every published table by its watermark, and alerts when one becomes late."""

    @dg.sensor(
        name="freshness",
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares the watermark of every published table with its contract's freshness target.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        late_before = frozenset(json.loads(context.cursor or "[]"))
        unread: dict[str, Exception] = {}
        states = published_states(lake.lake, contracts, unread.__setitem__)
        late = frozenset(s.entity for s in states if is_late(contracts[s.entity], s.watermark, now)) | set(unread)
        if newly := sorted(late - late_before):
            alert(context, alerts, late_alert(newly, states, now, settings.ui_url, unread))
        turned = late ^ late_before
        evaluations = [
            evaluation(freshness_check(contracts[s.entity], s.watermark, now)) for s in states if s.entity in turned
        ]
        return dg.SensorResult(
            skip_reason=f"{len(states) - len(late)} of {len(states)} published tables are fresh.",
            cursor=json.dumps(sorted(late)),
            asset_events=evaluations,
        )

    return sensor


def evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """The result of a check as an event that needs no run."""
    assert result.asset_key is not None
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def late_alert(
    late: Sequence[str],
    states: Iterable[Published],
    now: datetime,
    ui_url: str,
    unread: Mapping[str, Exception] | None = None,
) -> Alert:
    """The alert that tables became late; one whose state cannot be read counts as late, with the reason."""
    watermarks = {s.entity: s.watermark for s in states if s.watermark}
    lags = [
        f"{entity} is published up to {watermarks[entity]:%Y-%m-%d %H:%M:%S} UTC"
        if entity in watermarks
        else f"{entity} cannot be read: {unread[entity]}"[:REASON_LIMIT]
        if unread and entity in unread
        else entity
        for entity in late
    ]
    return Alert(
        what=f"Published data is late: {', '.join(late)}",
        why="; ".join(lags) + ". Look at the compaction runs, then at relay and Firehose.",
        when=now,
        link=f"{ui_url}/assets/{keys.CATALOG}/{late[0]}",
    )


def lag_sensor(
    lags: Mapping[dg.AssetKey, timedelta], contracts: Contracts, settings: Settings, interval: int
) -> dg.SensorDefinition:
    """Judges every model that somebody reads by its data time, and alerts when one becomes older than they accept."""

    @dg.sensor(
        name="lag_of_models",
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares the data time of marts and reports with the lag that their consumers accept.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        late_before = frozenset(map(dg.AssetKey.from_user_string, json.loads(context.cursor or "[]")))
        tables = present(contracts, published_states(lake.lake, contracts, unreadable_to(context.log.error)))
        times = present_data_times(context.instance, lags, tables)  # what was never built is late for nobody
        late = frozenset(key for key, data_time in times.items() if now - data_time > lags[key])
        if newly := sorted(late - late_before):
            alert(context, alerts, lag_alert(newly, times, now, settings.ui_url))
        turned = sorted(key for key in late ^ late_before if key in times)
        return dg.SensorResult(
            skip_reason=f"{len(times) - len(late)} of {len(times)} models are as recent as their consumers need them.",
            cursor=json.dumps(sorted(key.to_user_string() for key in late)),
            asset_events=[evaluation(lag_check(key, lags[key], times[key], now)) for key in turned],
        )

    return sensor


def lag_alert(late: Sequence[dg.AssetKey], times: Mapping[dg.AssetKey, datetime], now: datetime, ui_url: str) -> Alert:
    """The alert that models became older than their consumers accept."""
    told = [f"{key.to_user_string()} is true for {times[key]:%Y-%m-%d %H:%M:%S} UTC" for key in late]
    return Alert(
        what=f"Marts or reports are late: {', '.join(key.to_user_string() for key in late)}",
        why="; ".join(told) + ". Look at the runs of marts and reports, then whether the published tables are late.",
        when=now,
        link=f"{ui_url}/assets/{'/'.join(late[0].path)}",
    )


def failure_objects_sensor(interval: int) -> dg.SensorDefinition:
    """Alerts about new objects below the prefixes that hold what went wrong."""

    @dg.sensor(
        name="set_aside_objects",
        minimum_interval_seconds=interval,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Alerts once about every new object below {', '.join(failures.WATCHED)}.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource, alerts: AlertResource) -> dg.SensorResult:
        told = failures.from_text(context.cursor)
        failed: list[Exception] = []
        count = 0
        for watched in failures.WATCHED:
            before = told.get(watched, failures.Told())
            try:
                told[watched], new = failures.untold(before, lake.lake.store.list(watched))
            except Exception as error:  # noqa: BLE001 - raised below, once the others were looked at
                failed.append(error)
                continue
            count += len(new)
            if new:
                link = bucket_link(lake.lake, watched).value or ""
                alert(context, alerts, failures_alert(watched, new, link))
        if failed and not count:
            raise failed[0]  # nothing is lost by it: the cursor stays, and the failed tick is told
        return dg.SensorResult(
            skip_reason=f"{count} new objects were set aside." if count else "Nothing new was set aside.",
            cursor=failures.to_text(told),
        )

    return sensor


def failures_alert(watched: str, new: Sequence[Any], link: str) -> Alert:
    """The alert about new objects below a watched prefix."""
    concerned = ", ".join(f"{name} ({n})" for name, n in failures.by_entity(watched, new).items())
    return Alert(
        what=f"{len(new)} new object(s) below {watched}",
        why=f"{failures.WATCHED[watched]}: {concerned}. The newest is {new[-1].key}.",
        when=new[-1].modified,
        link=link,
    )


def run_failure_sensor(settings: Settings) -> Any:
    """Alerts about every failed run of the code location."""

    @dg.run_failure_sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=settings.pace.failures_seconds,
        description="Alerts about every run that failed, with the step and the reason.",
    )
    def sensor(context: dg.RunFailureSensorContext, alerts: AlertResource) -> None:
        alert(context, alerts, run_alert(context, settings.ui_url))

    return sensor


REASON_LIMIT = 500  # characters


def failing_ticks_sensor(settings: Settings) -> dg.SensorDefinition:
    """Alerts about sensors and schedules that fail or are silent: their ticks are no runs, so nothing else does."""

    @dg.sensor(
        name="failing_ticks",
        minimum_interval_seconds=settings.pace.failures_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts once about every sensor or schedule whose ticks fail or do not come.",
    )
    def sensor(context: dg.SensorEvaluationContext, alerts: AlertResource) -> dg.SensorResult:
        found = troubles(context.instance, datetime.now(UTC))
        cursor, new = untold(context.cursor, found)
        for trouble in new:
            alert(context, alerts, trouble_alert(trouble, settings.ui_url))
        told = "; ".join(f"{t.name}: {t.reason}" for t in found)
        return dg.SensorResult(skip_reason=told or "All sensors and schedules tick.", cursor=cursor)

    return sensor


def trouble_alert(trouble: Trouble, ui_url: str) -> Alert:
    """The alert about a sensor or schedule that does not do its work."""
    return Alert(
        what=f"The {trouble.kind} {trouble.name} does not do its work",
        why=f"{trouble.reason[:REASON_LIMIT]}; since {trouble.since:%Y-%m-%d %H:%M:%S} UTC. "
        "What it does by itself does not happen meanwhile.",
        when=trouble.since,
        link=f"{ui_url}/automation",
    )


def run_alert(context: dg.RunFailureSensorContext, ui_url: str) -> Alert:
    """The alert about a failed run: the steps that failed and the first line of each reason."""
    run = context.dagster_run
    reasons = [f"{event.step_key}: {reason(event).splitlines()[0]}" for event in context.get_step_failure_events()] or [
        context.failure_event.message or "no reason was recorded"
    ]
    return Alert(
        what=f"Run of {run.job_name} failed",
        why="; ".join(reasons)[:REASON_LIMIT],
        when=datetime.now(UTC),
        link=f"{ui_url}/runs/{run.run_id}",
    )


def alert(context: Any, alerts: AlertResource, message: Alert) -> None:
    """Send the alert and leave a trace of it in the tick's log."""
    sent = alerts.send(message)
    context.log.warning(f"{message.what}. {message.why} ({'sent' if sent else 'no alert topic is set'})")
