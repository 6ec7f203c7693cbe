"""What failed in Dagster during a run of chaos, and whether an injected fault explains it.

A failure is explained by what its error says and by when it came: each kind of fault leaves signs, and counts only if
one of that kind was injected while the run or tick went on, or so shortly before that it still lasted. A failure that
no sign explains is a fault of the product.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.chaos.plan import CLOCK_LASTS, CLOCKS

if TYPE_CHECKING:
    from dagster import DagsterInstance

_ANSWERS = ("error500", "error503", "throttled", "full")
_CONNECTIONS = ("dropped", "torn", "lost", "slow", "once emulator restarted", "kill emulator frozen")
_KILLS = ("kill worker", "kill dbt", "kill daemon", "kill code server", "once upgrade")
_DATABASE = ("kill database", "once database lost")
_STALLED = ("once task that never starts",)
_OPERATORS = ("once two rebuilds", "once two recoveries")
SIGNS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    (r"injected by chaos|InsufficientStorage|SlowDown|ServiceUnavailable|Internal(Server)?Error|InternalService"
     r"|ThrottlingException|ProvisionedThroughput|HTTP 50[037]|code 50[037]", _ANSWERS, 60.0),
    (r"(Endpoint)?Connection(Closed|Reset)?Error|[Cc]onnection (was closed|reset|refused|error|broken)|IncompleteRead"
     r"|Could not connect|Read timeout|ResponseStreaming|RemoteDisconnected|without response|HTTP HEAD|HTTP GET"
     r"|Could not establish|ResponseParserError|Unable to parse response|[Tt]imed? ?out", _CONNECTIONS, 120.0),
    (r"unexpectedly (exited|terminated)|process of this run|worker (process )?(crash|ended)|SIGKILL|exit code `?-9"
     r"|return ?code -9|terminated by signal|UserCodeUnreachable|UserCodeProcess|CodeLocationNotFound|StatusCode\."
     r"|Run monitoring|crashed|FAILURE_REQUEST|was killed|BrokenPipe|interrupted|INTERNAL|could not reach"
     r"|run worker status|Container 'run' failed", _KILLS, 120.0),
    (r"OperationalError|server closed the connection|AdminShutdown|connection to server|run worker status"
     r"|the database system is|Exceeded max number of retries|UserCodeUnreachable", _DATABASE, 120.0),
    (r"due to taking longer than \d+ seconds to start", _STALLED, 900.0),
    (r"due to taking longer than \d+ seconds to start", (*_KILLS, *_DATABASE), 0.0),  # it was lost while it began
    (r"EntryConflict|CommitFailed|CatalogLost|another writer|EntityNotFound|NoSuchTable|NotAudited"
     r"|expected a work table|ObjectMissing|NoSuchKey|no catalog entry|is not there", _OPERATORS, 900.0),
)  # fmt: skip
"""What errors say, the names of faults (or how they begin) that they may come from, and for how many seconds one of
them lasts at most: a killed server is started again, two operators are at work."""


@dataclass(frozen=True)
class Failure:
    """A run or tick that failed: when it began and ended (seconds since 1970), which, and what all its errors say."""

    begun: float
    at: float
    what: str
    text: str

    def __str__(self) -> str:
        line = " | ".join(self.text.split("\n"))
        return f"{datetime.fromtimestamp(self.at, UTC):%H:%M:%S} {self.what}: {line[:600]}"


def explained(failure: Failure, injected: Collection[tuple[float, str]]) -> bool:
    """Whether a fault explains it that was injected meanwhile or lasted until then.

    Where Dagster's clock was moved, its times are wrong by as much as a clock jumps."""
    moved = any(name == "clock pipeline" for _, name in injected)
    wrong = CLOCKS["pipeline"][1] + CLOCK_LASTS if moved else 1.0
    return any(
        re.search(sign, failure.text)
        and any(
            name.startswith(kinds) for at, name in injected if failure.begun - lasts - wrong <= at <= failure.at + wrong
        )
        for sign, kinds, lasts in SIGNS
    )


def failures(instance: DagsterInstance, since: datetime) -> list[Failure]:
    """Every run and tick that failed since then."""
    return sorted([*_runs(instance, since), *_ticks(instance, since)], key=lambda failure: failure.at)


def _runs(instance: DagsterInstance, since: datetime) -> Iterator[Failure]:
    from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

    telling = {DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE, DagsterEventType.ENGINE_EVENT}
    wanted = RunsFilter(created_after=since, statuses=[DagsterRunStatus.FAILURE])
    for record in instance.get_run_records(wanted):
        run = record.dagster_run
        texts = []
        for entry in instance.all_logs(run.run_id, of_type=telling):
            event = entry.dagster_event
            if event is None:
                continue
            if event.is_step_failure:
                texts.append(f"{event.step_key}: {_chain(event.step_failure_data.error)}")
            elif event.event_type is DagsterEventType.RUN_FAILURE:
                error = getattr(event.event_specific_data, "error", None)  # a sensor's mark has none
                texts.append("\n".join(filter(None, (event.message, _chain(error)))))
                break  # what came after it did not end the run
            elif record.start_time is None and event.engine_event_data.error:  # it could not begin
                texts.append(_chain(event.engine_event_data.error))
        yield Failure(
            record.create_timestamp.timestamp(),
            record.end_time or 0.0,
            f"run {run.job_name} {run.run_id[:8]}",
            "\n".join(texts),
        )


def _ticks(instance: DagsterInstance, since: datetime) -> Iterator[Failure]:
    from orchestration.private_dagster import TickStatus

    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since.timestamp())
        for tick in ticks:
            if tick.status is TickStatus.FAILURE:
                yield Failure(
                    tick.timestamp, tick.end_timestamp or tick.timestamp, f"tick {state.name}", _chain(tick.error)
                )


def _chain(error: Any) -> str:
    """The message of an error and of all that caused it."""
    parts = []
    while error is not None:
        parts.append(str(error.message).strip())
        error = error.cause or error.context
    return "\n".join(parts)


def open_alerts(instance: DagsterInstance) -> list[str]:
    """The ids of problems that the sensor `alerts` holds open, and what it cannot look at or send. What a budget of
    weeks has lost by what was injected stays lost, and is no problem of now."""
    import json

    from orchestration.alerts.kinds import BUDGETS, ITSELF, KINDS
    from orchestration.alerts.open_alerts import OpenAlerts
    from orchestration.alerts.outbox import Outbox
    from orchestration.alerts.sensor import NAME

    found: list[str] = []
    for state in instance.all_instigator_state():
        if state.name == NAME and state.instigator_data is not None:
            outbox = Outbox.from_cursor(getattr(state.instigator_data, "cursor", None))
            inner = json.loads(outbox.inner or "{}")
            known = OpenAlerts.from_text(inner.get(ITSELF)).by_id
            found += [problem for problem in known if KINDS[problem.partition(" ")[0]].watch != BUDGETS]
            found += [f"not seen: {name}" for name in outbox.unseen]
            found += [f"not sent: {name}" for name in outbox.owing]
    return sorted(found)
