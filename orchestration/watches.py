"""What the alert sensor watches, and how an alert about each of it reads.

What counts as late, new or failed is decided by plain functions elsewhere; here it meets the instance and the lake.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import keys
from assets.catalog import FRESH, freshness_check, is_late, published_states
from assets.compacted import NOTHING_SET_ASIDE
from assets.consumers import RECENT, lag_check
from assets.data_times import data_time, present, recorded_reads
from assets.presentation import bucket_link
from contracts import Contracts
from lakehouse.results import Published
from orchestration import failed_runs, held, set_aside
from orchestration.alert_sensor import Look, Seen, Watch
from orchestration.alerts import Alert
from orchestration.late import Late
from orchestration.outbox import REASON_LIMIT
from orchestration.ticks import Trouble, troubles, unreported

if TYPE_CHECKING:
    from lakehouse.results import Failing

NAMED = 10
"""Checks that an alert names; of more it says the number."""

WATCHED_OTHERWISE = frozenset({FRESH, RECENT, NOTHING_SET_ASIDE})
"""Checks whose matter has a watch of its own, which also sees what no run has checked."""


def watches(contracts: Contracts, lags: Mapping[dg.AssetKey, timedelta], ui_url: str) -> dict[str, Watch]:
    """All watches by name. `lags` says how old the data of a model may be."""
    return {
        "failed runs": watch_runs(ui_url),
        "ticks": watch_ticks(ui_url),
        "checks": watch_checks(ui_url),
        "published tables": watch_tables(contracts, ui_url),
        "marts and reports": watch_models(lags, contracts, ui_url),
        "objects that are set aside": watch_set_aside(),
        "held objects": watch_held(contracts, ui_url),
    }


def watch_runs(ui_url: str) -> Watch:
    """Every failed run of the code location. Dagster's own sensor of this kind forgets a run whose alert could not be
    sent."""

    def watch(look: Look, cursor: str | None) -> Seen:
        last, failed = failed_runs.since(look.instance, cursor)
        ours = [run for run in failed if look.repository.has_job(run.job_name)]
        alerts = [run_alert(run, ui_url) for run in ours]
        return Seen(last, f"{len(ours)} runs failed." if ours else "No run failed.", alerts)

    return watch


def run_alert(failed: failed_runs.Failed, ui_url: str) -> Alert:
    """The alert about a failed run: the steps that failed and the first line of each reason."""
    run = failed.dagster_run
    reasons = [f"{event.step_key}: {failed_runs.reason(event).splitlines()[0]}" for event in failed.steps]
    reasons = reasons or [failed.failure_event.message or "no reason was recorded"]
    return Alert(
        what=f"Run of {run.job_name} failed",
        why="; ".join(reasons)[:REASON_LIMIT],
        when=datetime.now(UTC),
        link=f"{ui_url}/runs/{run.run_id}",
    )


def watch_ticks(ui_url: str) -> Watch:
    """Sensors and schedules that fail or are silent: their ticks are no runs, so nothing else reports them."""

    def watch(look: Look, cursor: str | None) -> Seen:
        # What a sensor notes in its cursor it reports itself.
        found = [trouble for trouble in troubles(look.instance, look.now) if not trouble.noted]
        after, new = unreported(cursor, found)
        text = "; ".join(f"{t.name}: {t.reason}" for t in found)
        return Seen(after, text or "All sensors and schedules tick.", [trouble_alert(t, ui_url) for t in new])

    return watch


def trouble_alert(trouble: Trouble, ui_url: str) -> Alert:
    """The alert about a sensor or schedule that does not do its work."""
    return Alert(
        what=f"The {trouble.kind} {trouble.name} does not do its work",
        why=f"{trouble.reason[:REASON_LIMIT]}; since {trouble.since:%Y-%m-%d %H:%M:%S} UTC. "
        "What it does by itself does not happen meanwhile.",
        when=trouble.since,
        link=f"{ui_url}/automation",
    )


def watch_checks(ui_url: str) -> Watch:
    """Every check of the code location whose last result is red, whatever its severity."""

    def watch(look: Look, cursor: str | None) -> Seen:
        red = {_name(result): result for result in last_results(look) if not result.passed}
        before = set(json.loads(cursor or "[]"))
        new = [red[name] for name in sorted(red.keys() - before)]
        text = f"{len(red)} checks are red." if red else "No check is red."
        return Seen(json.dumps(sorted(red)), text, [checks_alert(new, look.now, ui_url)] if new else [])

    return watch


def last_results(look: Look) -> list[dg.AssetCheckEvaluation]:
    """The last result of each check that has one; while a check is run again, that is the one before."""
    graph = look.repository.asset_graph
    wanted = [key for key in graph.asset_check_keys if key.name not in WATCHED_OTHERWISE]
    records = look.instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    return [r.evaluation for r in records.values() if isinstance(r.evaluation, dg.AssetCheckEvaluation)]


def _name(result: dg.AssetCheckEvaluation) -> str:
    return f"{result.asset_key.to_user_string()} {result.check_name}"


def checks_alert(red: Sequence[dg.AssetCheckEvaluation], now: datetime, ui_url: str) -> Alert:
    """The alert that checks became red."""
    reasons = [f"{_name(result)}: {result.description or 'see its metadata'}"[:200] for result in red[:NAMED]]
    more = [f"and {len(red) - NAMED} more"] if len(red) > NAMED else []
    return Alert(
        what=f"Checks failed: {', '.join(map(_name, red[:NAMED]))}",
        why="; ".join([*reasons, *more]),
        when=now,
        link=f"{ui_url}/assets/{'/'.join(red[0].asset_key.path)}?view=checks",
    )


def watch_tables(contracts: Contracts, ui_url: str) -> Watch:
    """Every published table by its watermark, with the result of its freshness check whenever that turns."""

    def watch(look: Look, cursor: str | None) -> Seen:
        before = Late.from_text(cursor)
        unread: dict[str, Exception] = {}
        states = published_states(look.lake.lake, contracts, unread.__setitem__)
        known = {s.entity for s in states}
        late = {s.entity for s in states if is_late(contracts[s.entity], s.watermark, look.now)}
        after = before.after(late, known, unread)
        newly = after.newly(before)
        turned = (after.late ^ before.late) & known
        fresh = f"{len(states) - len(late)} of {len(states)} published tables are fresh"
        return Seen(
            after.to_text(),
            f"{fresh}; {len(unread)} cannot be read." if unread else f"{fresh}.",
            [late_alert(newly, states, look.now, ui_url, unread)] if newly else [],
            events=[
                evaluation(freshness_check(contracts[s.entity], s.watermark, look.now))
                for s in states
                if s.entity in turned
            ],
        )

    return watch


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


def watch_models(lags: Mapping[dg.AssetKey, timedelta], contracts: Contracts, ui_url: str) -> Watch:
    """Every model that somebody reads by its data time, with the result of its check whenever that turns. A model that
    reads a table which cannot be read stays what it was."""

    def watch(look: Look, cursor: str | None) -> Seen:
        before = Late.from_text(cursor)
        unread: dict[str, Exception] = {}  # which the watch of the tables reports
        tables = present(contracts, published_states(look.lake.lake, contracts, unread.__setitem__))
        reads = recorded_reads(look.instance, lags)
        blind = {key.to_user_string() for key, read in reads.items() if not read.keys().isdisjoint(unread)}
        times = {key: moment for key, read in reads.items() if (moment := data_time(read, tables))}
        names = {key.to_user_string(): key for key in times if key.to_user_string() not in blind}
        late = {name for name, key in names.items() if look.now - times[key] > lags[key]}
        after = before.after(late, names.keys(), blind)
        newly = [names[name] for name in after.newly(before) if name in names]
        turned = sorted((after.late ^ before.late) & names.keys())
        recent = f"{len(names) - len(late)} of {len(names)} models are as recent as their consumers need them"
        return Seen(
            after.to_text(),
            f"{recent}; {len(blind)} read what cannot be read." if blind else f"{recent}.",
            [lag_alert(newly, times, look.now, ui_url)] if newly else [],
            events=[evaluation(lag_check(names[n], lags[names[n]], times[names[n]], look.now)) for n in turned],
        )

    return watch


def lag_alert(late: Sequence[dg.AssetKey], times: Mapping[dg.AssetKey, datetime], now: datetime, ui_url: str) -> Alert:
    """The alert that models became older than their consumers accept."""
    ages = [f"{key.to_user_string()} is true for {times[key]:%Y-%m-%d %H:%M:%S} UTC" for key in late]
    return Alert(
        what=f"Marts or reports are late: {', '.join(key.to_user_string() for key in late)}",
        why="; ".join(ages) + ". Look at the runs of marts and reports, then whether the published tables are late.",
        when=now,
        link=f"{ui_url}/assets/{'/'.join(late[0].path)}",
    )


def watch_set_aside() -> Watch:
    """New objects below the prefixes that hold what went wrong."""

    def watch(look: Look, cursor: str | None) -> Seen:
        lake = look.lake.lake
        seen = set_aside.from_text(cursor)
        unlisted: dict[str, Exception] = {}
        alerts: list[Alert] = []
        count = 0
        for watched in set_aside.WATCHED:
            try:
                seen[watched], new = set_aside.unseen(seen.get(watched, set_aside.Seen()), lake.store.list(watched))
            except Exception as error:  # noqa: BLE001 - reported by the sensor; the other prefixes are looked at
                unlisted[f"Objects below {watched}"] = error
                continue
            count += len(new)
            if new:
                alerts.append(set_aside_alert(watched, new, bucket_link(lake, watched).value or ""))
        text = f"{count} new objects were set aside." if count else "Nothing new was set aside."
        return Seen(set_aside.to_text(seen), text, alerts, unlisted)

    return watch


def set_aside_alert(watched: str, new: Sequence[Any], link: str) -> Alert:
    """The alert about new objects below a watched prefix."""
    concerned = ", ".join(f"{name} ({n})" for name, n in set_aside.by_entity(watched, new).items())
    return Alert(
        what=f"{len(new)} new object(s) below {watched}",
        why=f"{set_aside.WATCHED[watched]}: {concerned}. The newest is {new[-1].key}.",
        when=new[-1].modified,
        link=link,
    )


def watch_held(contracts: Contracts, ui_url: str) -> Watch:
    """Landed objects that are held or fail again and again, which only the ledger of their table knows."""
    known: dict[str, tuple[str, list[Failing]]] = {}  # by entity: a ledger's head never says anything else

    def watch(look: Look, cursor: str | None) -> Seen:
        unread: dict[str, Exception] = {}  # which the watch of the tables reports
        failing = held.look(look.lake.lake, contracts, known, unread.__setitem__)
        after, new = held.unreported(cursor, failing)
        count = sum(map(len, failing.values()))
        return Seen(
            after,
            (f"{count} objects are held or fail again and again" if count else "No object is held")
            + (f"; {', '.join(sorted(unread))} cannot be read." if unread else "."),
            [held.held_alert(entity, objects, look.now, ui_url) for entity, objects in new.items()],
        )

    return watch
