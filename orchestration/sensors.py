"""The sensors: they look at the lake and the instance, ask plain functions what follows, and request runs or alert.

What counts as new, due or late is decided in `arrivals`, `failures` and `assets.catalog`; here it only meets Dagster.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import dagster as dg

from assets import keys
from assets.catalog import freshness_check, is_late, published_states, rows_version, unreadable_to
from assets.consumers import lag_check
from assets.data_times import data_time, present, recorded_reads
from assets.landing import arrival_partition, prefix
from assets.presentation import bucket_link, size
from assets.resources import LakeResource
from contracts import Contract, Contracts
from lakehouse.intake.landing import LandedObject, Scope, list_objects
from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from orchestration import failed_runs, failures
from orchestration.alerts import Alert, AlertResource
from orchestration.arrivals import Arrival, Memory, asked_for, due, notice, window_start
from orchestration.asked import Asked
from orchestration.held import held_sensor
from orchestration.jobs import AssetJobs
from orchestration.late import Late
from orchestration.lost_runs import end_lost_runs
from orchestration.settings import Settings
from orchestration.telling import REASON_LIMIT, Kept, reason_of, tell
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
        held_sensor(contracts, settings),
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
        kept = Kept.from_cursor(context.cursor)
        memory = Memory.from_text(kept.memory)
        listings, unlisted = list_arrivals(lake.lake, contracts, window_start(memory, now))
        memory, arrivals = notice(memory, listings, now, unlisted)
        kept, newly = kept.could_not_see(unlisted, now)
        new = [unlisted_alert(newly, kept, now, bucket_link(lake.lake, "landing/").value or "")] if newly else []
        kept = tell(context.log, alerts.send, kept, new, now)
        events = landed(arrivals, by_name, lake.lake)

        def skip(text: str) -> dg.SensorResult:
            return dg.SensorResult(
                skip_reason=kept.said(text), cursor=kept.to_cursor(memory.to_text()), asset_events=events
            )

        entities = sorted(due(memory, by_name, timedelta(seconds=quiet), now))
        if not entities:
            return skip(f"Nothing new for {len(by_name)} entities.")
        if _unfinished(context.instance, job.name, name):
            return skip(f"A compaction is under way; {', '.join(entities)} will follow.")
        return dg.SensorResult(
            run_requests=[compaction_request(entities)],
            cursor=kept.to_cursor(asked_for(memory, entities, now).to_text()),
            asset_events=events,
        )

    return sensor


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


def unlisted_alert(newly: Sequence[str], kept: Kept, now: datetime, link: str) -> Alert:
    """The alert that what landed for entities cannot be listed."""
    return Alert(
        what=f"What landed cannot be listed: {', '.join(newly)}",
        why="; ".join(f"{entity}: {kept.unseen[entity][1]}" for entity in newly) + ". Other entities go on.",
        when=now,
        link=link,
    )


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
        kept = Kept.from_cursor(context.cursor)
        before = Late.from_text(kept.memory)
        unread: dict[str, Exception] = {}
        states = published_states(lake.lake, contracts, unread.__setitem__)
        known = {s.entity for s in states}
        late = {s.entity for s in states if is_late(contracts[s.entity], s.watermark, now)}
        after = before.after(late, known, unread)
        newly = after.newly(before)
        new = [late_alert(newly, states, now, settings.ui_url, unread)] if newly else []
        kept = tell(context.log, alerts.send, kept, new, now)
        turned = (after.late ^ before.late) & known
        fresh = f"{len(states) - len(late)} of {len(states)} published tables are fresh"
        return dg.SensorResult(
            skip_reason=kept.said(f"{fresh}; {len(unread)} cannot be read." if unread else f"{fresh}."),
            cursor=kept.to_cursor(after.to_text()),
            asset_events=[
                evaluation(freshness_check(contracts[s.entity], s.watermark, now)) for s in states if s.entity in turned
            ],
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
        kept = Kept.from_cursor(context.cursor)
        before = Late.from_text(kept.memory)
        unread: dict[str, Exception] = {}
        tables = present(contracts, published_states(lake.lake, contracts, unread.__setitem__))
        for entity, error in unread.items():  # which `freshness` tells
            unreadable_to(context.log.error)(entity, error)
        reads = recorded_reads(context.instance, lags)
        blind = {key.to_user_string() for key, read in reads.items() if not read.keys().isdisjoint(unread)}
        times = {key: moment for key, read in reads.items() if (moment := data_time(read, tables))}
        names = {key.to_user_string(): key for key in times if key.to_user_string() not in blind}
        late = {name for name, key in names.items() if now - times[key] > lags[key]}
        after = before.after(late, names.keys(), blind)
        newly = [names[name] for name in after.newly(before) if name in names]
        new = [lag_alert(newly, times, now, settings.ui_url)] if newly else []
        kept = tell(context.log, alerts.send, kept, new, now)
        turned = sorted((after.late ^ before.late) & names.keys())
        recent = f"{len(names) - len(late)} of {len(names)} models are as recent as their consumers need them"
        return dg.SensorResult(
            skip_reason=kept.said(f"{recent}; {len(blind)} read what cannot be read." if blind else f"{recent}."),
            cursor=kept.to_cursor(after.to_text()),
            asset_events=[evaluation(lag_check(names[n], lags[names[n]], times[names[n]], now)) for n in turned],
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
        now = datetime.now(UTC)
        kept = Kept.from_cursor(context.cursor)
        told = failures.from_text(kept.memory)
        unlisted: dict[str, Exception] = {}
        new: list[Alert] = []
        count = 0
        for watched in failures.WATCHED:
            try:
                told[watched], found = failures.untold(
                    told.get(watched, failures.Told()), lake.lake.store.list(watched)
                )
            except Exception as error:  # noqa: BLE001 - told below; the others are looked at
                context.log.error(f"{watched} cannot be listed: {reason_of(error)}")
                unlisted[watched] = error
                continue
            count += len(found)
            if found:
                new.append(failures_alert(watched, found, bucket_link(lake.lake, watched).value or ""))
        kept, newly = kept.could_not_see(unlisted, now)
        new += [unseen_alert(watched, kept, bucket_link(lake.lake, watched).value or "") for watched in newly]
        kept = tell(context.log, alerts.send, kept, new, now)
        return dg.SensorResult(
            skip_reason=kept.said(f"{count} new objects were set aside." if count else "Nothing new was set aside."),
            cursor=kept.to_cursor(failures.to_text(told)),
        )

    return sensor


def unseen_alert(watched: str, kept: Kept, link: str) -> Alert:
    """The alert that a watched prefix cannot be listed."""
    since, why = kept.unseen[watched]
    return Alert(
        what=f"Objects below {watched} cannot be listed",
        why=f"{why}. What is set aside there is not told meanwhile, and will be; other prefixes are watched.",
        when=since,
        link=link,
    )


def failures_alert(watched: str, new: Sequence[Any], link: str) -> Alert:
    """The alert about new objects below a watched prefix."""
    concerned = ", ".join(f"{name} ({n})" for name, n in failures.by_entity(watched, new).items())
    return Alert(
        what=f"{len(new)} new object(s) below {watched}",
        why=f"{failures.WATCHED[watched]}: {concerned}. The newest is {new[-1].key}.",
        when=new[-1].modified,
        link=link,
    )


def run_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """Alerts about every failed run of the code location. Dagster's own sensor of this kind forgets a run whose alert
    could not be sent."""

    @dg.sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=settings.pace.failures_seconds,
        description="Alerts about every run that failed, with the step and the reason.",
    )
    def sensor(context: dg.SensorEvaluationContext, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        kept = Kept.from_cursor(context.cursor)
        assert context.repository_def is not None  # a sensor of a code location always has one
        last, failed = failed_runs.since(context.instance, kept.memory)
        new = [run_alert(run, settings.ui_url) for run in failed if context.repository_def.has_job(run.job_name)]
        kept = tell(context.log, alerts.send, kept, new, now)
        told = f"{len(new)} runs failed." if new else "No run failed."
        return dg.SensorResult(skip_reason=kept.said(told), cursor=kept.to_cursor(last))

    return sensor


def failing_ticks_sensor(settings: Settings) -> dg.SensorDefinition:
    """Alerts about sensors and schedules that fail or are silent: their ticks are no runs, so nothing else does."""

    @dg.sensor(
        name="failing_ticks",
        minimum_interval_seconds=settings.pace.failures_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts once about every sensor or schedule whose ticks fail or do not come.",
    )
    def sensor(context: dg.SensorEvaluationContext, alerts: AlertResource) -> dg.SensorResult:
        now = datetime.now(UTC)
        kept = Kept.from_cursor(context.cursor)
        # What a sensor notes in its cursor it tells itself.
        found = [trouble for trouble in troubles(context.instance, now) if not trouble.noted]
        memory, untold_yet = untold(kept.memory, found)
        new = [trouble_alert(trouble, settings.ui_url) for trouble in untold_yet]
        kept = tell(context.log, alerts.send, kept, new, now)
        told = "; ".join(f"{t.name}: {t.reason}" for t in found)
        return dg.SensorResult(
            skip_reason=kept.said(told or "All sensors and schedules tick."), cursor=kept.to_cursor(memory)
        )

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


class FailedRun(Protocol):
    """What an alert says of a run; Dagster's `RunFailureSensorContext` is one."""

    @property
    def dagster_run(self) -> dg.DagsterRun:
        """The run."""

    @property
    def failure_event(self) -> dg.DagsterEvent:
        """The event that ended it."""

    def get_step_failure_events(self) -> Sequence[dg.DagsterEvent]:
        """The event of each step that failed."""


def run_alert(failed: FailedRun, ui_url: str) -> Alert:
    """The alert about a failed run: the steps that failed and the first line of each reason."""
    run = failed.dagster_run
    reasons = [
        f"{event.step_key}: {failed_runs.reason(event).splitlines()[0]}" for event in failed.get_step_failure_events()
    ] or [failed.failure_event.message or "no reason was recorded"]
    return Alert(
        what=f"Run of {run.job_name} failed",
        why="; ".join(reasons)[:REASON_LIMIT],
        when=datetime.now(UTC),
        link=f"{ui_url}/runs/{run.run_id}",
    )
