"""Published tables by their watermarks, and models by their data times: which are late, and which cannot be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import dagster as dg

from assets import keys
from assets.catalog import freshness_check, is_late
from assets.consumers import lag_check
from assets.data_times import data_time, present, recorded_reads
from contracts import Contract, Contracts
from lakehouse.results import Published
from orchestration.alerts.alert import Problem, moment, problem_id
from orchestration.alerts.late import Late
from orchestration.alerts.outbox import reason_of
from orchestration.alerts.sensor import Look, Seen, Watch


def watch_tables(contracts: Contracts, ui_url: str) -> Watch:
    """Every published table by its watermark, with the result of its freshness check whenever that turns."""

    def watch(look: Look, cursor: str | None) -> Seen:
        before = Late.from_text(cursor)
        found, unread = look.view.published()
        states = [s for s in found if s.watermark or s.snapshot_id]  # others are the empty tables of a first batch
        known = {s.entity for s in states}
        late = {s.entity for s in states if is_late(contracts[s.entity], s.watermark, look.now)}
        after = before.after(late, known, unread)
        turned = (after.late ^ before.late) & known
        fresh = f"{len(states) - len(late)} of {len(states)} published tables are fresh"
        return Seen(
            after.to_text(),
            f"{fresh}; {len(unread)} cannot be read." if unread else f"{fresh}.",
            [
                *(late_problem(contracts[s.entity], s, ui_url) for s in states if s.entity in late),
                *(unread_problem(entity, error, ui_url) for entity, error in unread.items()),
            ],
            unknown={problem_id("published-data-is-late", entity) for entity in unread},
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


def late_problem(contract: Contract, state: Published, ui_url: str) -> Problem:
    """What is said of a table that is late."""
    allowed = timedelta(minutes=contract.freshness_minutes)
    up_to = f"is published up to {moment(state.watermark)}" if state.watermark else "has no watermark"
    return Problem(
        "published-data-is-late",
        contract.name,
        f"{contract.name} {up_to}, and may be {contract.freshness_minutes} minutes old",
        state.watermark + allowed if state.watermark else None,
        f"{ui_url}/assets/{keys.CATALOG}/{contract.name}",
    )


def unread_problem(entity: str, error: Exception, ui_url: str) -> Problem:
    """What is said of a table whose state cannot be read."""
    link = f"{ui_url}/assets/{keys.CATALOG}/{entity}"
    return Problem("tables-cannot-be-read", entity, f"{entity} cannot be read: {reason_of(error)}", None, link)


def watch_models(lags: Mapping[dg.AssetKey, timedelta], contracts: Contracts, ui_url: str) -> Watch:
    """Every model that somebody reads by its data time, with the result of its check whenever that turns. A model that
    reads a table which cannot be read stays what it was."""

    def watch(look: Look, cursor: str | None) -> Seen:
        before = Late.from_text(cursor)
        states, unread = look.view.published()  # what is unread the watch of the tables reports
        tables = present(contracts, states)
        reads = recorded_reads(look.instance, lags)
        blind = {key.to_user_string() for key, read in reads.items() if not read.keys().isdisjoint(unread)}
        times = {key: at for key, read in reads.items() if (at := data_time(read, tables))}
        names = {key.to_user_string(): key for key in times if key.to_user_string() not in blind}
        late = {name for name, key in names.items() if look.now - times[key] > lags[key]}
        after = before.after(late, names.keys(), blind)
        turned = sorted((after.late ^ before.late) & names.keys())
        recent = f"{len(names) - len(late)} of {len(names)} models are as recent as their consumers need them"
        return Seen(
            after.to_text(),
            f"{recent}; {len(blind)} read what cannot be read." if blind else f"{recent}.",
            [lag_problem(names[n], times[names[n]], lags[names[n]], reads[names[n]], ui_url) for n in sorted(late)],
            unknown={problem_id("marts-are-late", name) for name in blind},
            events=[evaluation(lag_check(names[n], lags[names[n]], times[names[n]], look.now)) for n in turned],
        )

    return watch


def lag_problem(key: dg.AssetKey, at: datetime, lag: timedelta, reads: Iterable[str], ui_url: str) -> Problem:
    """What is said of a model that is older than its consumers accept; a table that it reads and that is late, too,
    explains it."""
    name = key.to_user_string()
    return Problem(
        "marts-are-late",
        name,
        f"{name} is true for {moment(at)}, and may be {lag.total_seconds() / 60:.0f} minutes old",
        at + lag,
        f"{ui_url}/assets/{'/'.join(key.path)}",
        causes=tuple(problem_id("published-data-is-late", entity) for entity in sorted(reads)),
    )
