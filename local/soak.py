"""`make soak`: the running laptop stack watched for a time under changing traffic, and judged by what happened.

    python -m local.soak --minutes 30

Single entities change one after the other, beside the live auctions. Every tick of every sensor and schedule and every
run is looked at; so are how late published tables and marts are, memory and disk. It ends with exit code 1 and says
which bound was broken: what a sensor returns is one thing, what happens another.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.home import REPOSITORY, Home, Stack
from local.housekeeping import LOG_BYTES
from local.processes import marked
from local.stack import connect
from local.status import last_health

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from local.client import ApiClient

PUBLISHED_WITHIN = timedelta(minutes=5)
MARTS_WITHIN = timedelta(minutes=15)
MEMORY_GB = 6.0
DISK_GB_AN_HOUR = 1.0
MB_A_RUN = 4.0
"""What Dagster keeps of a run: its file, its part of the index, and its share of what all runs have in common."""
RUNS_KEPT = 500
"""More than Dagster keeps (`local.dagster.history`), with the runs of ten minutes until it forgets again."""
LOG_GB = 2.5 * LOG_BYTES / 1e9
START_SECONDS = 300
CHANGE_SECONDS = 20
LOOK_SECONDS = 15


class SoakError(RuntimeError):
    """The stack could not be watched: it did not start, or ended by itself. Says what it said."""


@dataclass
class Seen:
    """What happened so far, since before the stack began to start; times in seconds, memory and disk in GB (10**9
    bytes)."""

    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    minutes: float = 0.0
    changes: Counter[str] = field(default_factory=Counter)
    ticks: Counter[str] = field(default_factory=Counter)
    failed_ticks: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    failed_runs: list[str] = field(default_factory=list)
    troubles: set[str] = field(default_factory=set)
    alerts: list[str] = field(default_factory=list)
    published_lag: float = 0.0
    marts_lag: float = 0.0
    followed: Counter[str] = field(default_factory=Counter)
    memory: float = 0.0
    disk_first: float = 0.0
    disk: float = 0.0
    history_first: float = 0.0
    history: float = 0.0
    runs_kept: int = 0
    largest_log: float = 0.0

    def broken(self) -> list[str]:
        """The bounds that were broken, in words."""
        # Dagster's history fills up to what it keeps, in an hour of many runs: it has a bound of its own below.
        others, others_first = self.disk - self.history, self.disk_first - self.history_first
        grown = (others - others_first) / max(self.minutes, 10) * 60
        found = [
            (bool(self.failed_ticks), f"{len(self.failed_ticks)} failed ticks, first: {self.failed_ticks[:3]}"),
            (bool(self.failed_runs), f"{len(self.failed_runs)} failed runs, first: {self.failed_runs[:3]}"),
            (bool(self.troubles), f"sensors or schedules that did not do their work: {sorted(self.troubles)[:3]}"),
            (bool(self.alerts), f"alerts that are open at the end: {self.alerts[:3]}"),
            (not self.ticks, "no sensor ticked at all"),
            (not self.followed, "no mart followed a change"),
            (
                self.published_lag > PUBLISHED_WITHIN.total_seconds(),
                f"a change was published after {self.published_lag:.0f} s, promised are {PUBLISHED_WITHIN}",
            ),
            (
                self.marts_lag > MARTS_WITHIN.total_seconds(),
                f"marts followed a change after {self.marts_lag:.0f} s, promised are {MARTS_WITHIN}",
            ),
            (self.memory > MEMORY_GB, f"{self.memory:.1f} GB of memory, expected at most {MEMORY_GB}"),
            (grown > DISK_GB_AN_HOUR, f"the disk grew by {grown:.1f} GB an hour, expected at most {DISK_GB_AN_HOUR}"),
            (self.runs_kept > RUNS_KEPT, f"{self.runs_kept} runs are kept, expected at most {RUNS_KEPT}"),
            (
                self.history * 1e3 > MB_A_RUN * max(self.runs_kept, 20),
                f"{self.history:.2f} GB of history for {self.runs_kept} runs, expected at most {MB_A_RUN} MB each",
            ),
            (
                self.largest_log > LOG_GB,
                f"a log and what was cut of it have {self.largest_log:.3f} GB, expected at most {LOG_GB:.3f}",
            ),
        ]
        return [words for is_broken, words in found if is_broken]


def watch(home: Home, minutes: float, seen: Seen) -> None:
    """Watch the running stack for a time, while entities change one after the other; fills `seen`.

    Raises `SoakError` if the stack is gone.
    """
    from dagster import DagsterInstance

    stack = running(home)
    changes = changed_one_by_one(connect(stack))
    begun = datetime.now(UTC)
    waiting: dict[str, tuple[datetime, int]] = {}
    next_change = begun
    seen.disk_first, seen.history_first = size_of(home.path), size_of(home.dagster)
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        while (now := datetime.now(UTC)) < begun + timedelta(minutes=minutes):
            seen.minutes = (now - begun).total_seconds() / 60
            if now >= next_change:
                entity = next(changes)
                seen.changes[entity] += 1
                waiting.setdefault(entity, (datetime.now(UTC), 0))
                next_change = now + timedelta(seconds=CHANGE_SECONDS)
            look(home, running(home), instance, seen)
            follow(instance, waiting, seen)
            print(line_of(seen), flush=True)
            time.sleep(LOOK_SECONDS)


def running(home: Home) -> Stack:
    """The stack, with Dagster; raises `SoakError` if it does not run."""
    stack = home.load()
    if stack is None or not stack.outputs or stack.dagster is None or not stack.dagster.alive:
        raise SoakError("expected a running `gavel dev`, found none; its output says why it ended")
    return stack


def changed_one_by_one(client: ApiClient) -> Iterator[str]:
    """Write an item of one entity, then of the next, again and again; gives the entity each time."""
    party, moment = "c-soak", "2026-01-01T00:00:00Z"
    client.replace("customers", party, {"customer_id": party, "status": "active", "registered_at": moment})
    number = 0
    while True:
        number += 1
        for entity, key, payload in (
            (
                "shipping_addresses",
                "a-soak",
                {"address_id": "a-soak", "customer_id": party, "city": f"City {number}", "country_code": "DE"},
            ),
            (
                "customers",
                party,
                {"customer_id": party, "name": f"Name {number}", "status": "active", "registered_at": moment},
            ),
            (
                "lots",
                f"l-soak-{number}",
                {"lot_id": f"l-soak-{number}", "seller_id": party, "title": "A thing", "category": "coins",
                 "currency": "EUR", "status": "open", "listed_at": moment},
            ),
            (
                "virtual_requests",
                f"r-soak-{number}",
                {"request_id": f"r-soak-{number}", "lot_id": f"l-soak-{number}", "seller_id": party,
                 "status": "requested", "requested_at": moment},
            ),
        ):  # fmt: skip
            client.replace(entity, key, payload)
            yield entity


def worse_than_warnings(alerts: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is open and why, without warnings: a home that stood still was late, and its budgets say so for days."""
    return [f"{alert['what']}: {alert['why']}" for alert in alerts if alert["severity"] != "warning"]


def look(home: Home, stack: Stack, instance: DagsterInstance, seen: Seen) -> None:
    """Every tick and run since the beginning, what is in trouble, memory and disk."""
    from dagster import DagsterRunStatus, RunsFilter

    from orchestration.alerts.ticks import troubles
    from orchestration.private_dagster import TickStatus

    seen.ticks.clear()
    seen.failed_ticks.clear()
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=seen.begun.timestamp())
        seen.ticks[state.name] += len(ticks)
        for tick in ticks:
            if tick.status is TickStatus.FAILURE:
                reason = tick.error.message.splitlines()[0] if tick.error else "no reason"
                seen.failed_ticks.append(f"{state.name}: {reason}")
    runs = instance.get_runs(RunsFilter(created_after=seen.begun))
    seen.runs = Counter(f"{run.job_name} {run.status.value.lower()}" for run in runs)
    failed = [f"{r.job_name} {r.run_id[:8]}" for r in runs if r.status is DagsterRunStatus.FAILURE]
    seen.failed_runs = sorted({*seen.failed_runs, *failed})  # the history forgets
    seen.troubles |= {f"{t.name}: {t.reason}" for t in troubles(instance, datetime.now(UTC))}
    health = last_health(stack)
    seen.alerts = worse_than_warnings(health["alerts"]) if health else []
    seen.memory = max(seen.memory, memory_of(stack.identity))
    seen.disk = size_of(home.path)
    seen.history = size_of(home.dagster)
    seen.runs_kept = instance.get_runs_count()
    logs = [sum(f.stat().st_size for f in home.logs.glob(f"{log.name}*")) for log in home.logs.glob("*.log")]
    seen.largest_log = max(logs, default=0) / 1e9


MARTS = {"customers": "dim_customer", "lots": "dim_lot", "shipping_addresses": "dim_address"}
"""The mart that a change of an entity is looked for in; of others it is their staging model."""


def follow(instance: DagsterInstance, waiting: dict[str, tuple[datetime, int]], seen: Seen) -> None:
    """How long changes wait: for the publication of their table, then for the marts that follow it."""
    from dagster import AssetKey

    for entity, (since, step) in list(waiting.items()):
        mart = ["marts", MARTS[entity]] if entity in MARTS else ["staging", f"stg_{entity}"]
        key = AssetKey(["catalog", entity] if step == 0 else mart)
        made = instance.get_latest_materialization_event(key)
        lag = (datetime.now(UTC) - since).total_seconds()
        reached = made is not None and made.timestamp > since.timestamp()
        if step == 0:
            seen.published_lag = max(seen.published_lag, lag)
            if reached:
                waiting[entity] = (since, 1)
        else:
            seen.marts_lag = max(seen.marts_lag, lag)
            if reached:
                seen.followed[entity] += 1
                del waiting[entity]


def memory_of(identity: str) -> float:
    """Resident memory of all processes of a stack, in GB; pages that forks share count once for each."""
    total = 0
    for process in marked(identity):
        try:
            fields = Path(f"/proc/{process.pid}/statm").read_text().split()
        except OSError:  # ended meanwhile
            continue
        total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e9


def size_of(folder: Path) -> float:
    """What a folder takes on the disk, in GB."""
    total = 0
    for place, folders, files in os.walk(folder):  # which passes over folders that are removed meanwhile
        for name in (*folders, *files):
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:  # removed meanwhile
                continue
    return total / 1e9


def line_of(seen: Seen) -> str:
    """Where it stands, in one line."""
    return (
        f"{seen.minutes:5.1f} min  {sum(seen.changes.values())} changes  {sum(seen.ticks.values())} ticks, "
        f"{len(seen.failed_ticks)} failed  {sum(seen.runs.values())} runs, {len(seen.failed_runs)} failed  "
        f"published after {seen.published_lag:.0f} s  marts after {seen.marts_lag:.0f} s  "
        f"{seen.memory:.1f} GB memory  {seen.disk:.2f} GB disk"
    )


def soak(home: Home, minutes: float) -> Seen:
    """Start `gavel dev`, watch it, stop it. Raises `SoakError` if it does not start or ends by itself."""
    command = [sys.executable, "-m", "local.command_line", "dev"]
    environment = {**os.environ, "GAVEL_HOME": str(home.path), "PYTHONUNBUFFERED": "1"}
    log = home.logs / "soak.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    seen = Seen()
    with log.open("ab") as output:
        child = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        print(f"gavel dev starts; what it says is in {log}")
        deadline = time.monotonic() + START_SECONDS
        while b"Press Ctrl-C" not in log.read_bytes():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SoakError(f"expected `gavel dev` to start, found:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(1)
        watch(home, minutes, seen)
        return seen
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=300)


def main() -> int:
    """The command; exit code 1 if a bound was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--result", type=Path, default=REPOSITORY / "build" / "soak.json")
    options = parser.parse_args()
    home = Home.from_environment(os.environ)
    try:
        seen = soak(home, options.minutes)
    except SoakError as error:
        print(error, file=sys.stderr)
        return 1
    options.result.parent.mkdir(parents=True, exist_ok=True)
    content = {
        **vars(seen),
        "begun": seen.begun.isoformat(),
        "troubles": sorted(seen.troubles),
        "broken": seen.broken(),
    }
    options.result.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{options.result} has all of it")
    for words in seen.broken():
        print(f"broken: {words}", file=sys.stderr)
    return 1 if seen.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
