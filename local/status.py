"""What the stack looks like now: its services, what waits to be pumped, and what every published table holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts import Contracts
from contracts.health import KEY, VERSION, Health
from local import emulator, stack
from local.aws import CREDENTIALS, lake_at
from local.draining import lag
from local.home import Home, Stack

if TYPE_CHECKING:
    from lakehouse.results import Failing, QuarantineFile
    from orchestration.alerts.ticks import Trouble


@dataclass(frozen=True)
class Published:
    """A published table: rows and changes it holds, and its watermark (UTC); all None before its first publication.
    `parity` is what its last comparison found, `problem` why it cannot be read; `waiting` is when the
    oldest object arrived that is not published yet (UTC)."""

    entity: str
    rows: int | None = None
    changes: int | None = None
    watermark: datetime | None = None
    parity: str = ""
    problem: str = ""
    waiting: datetime | None = None


@dataclass(frozen=True)
class Model:
    """A model that somebody reads: how old its data may be, what it is true for, and since when it lacks something that
    is published (UTC); None for nothing."""

    name: str
    lag: timedelta
    data_time: datetime | None
    unread: datetime | None

    def is_late(self, now: datetime) -> bool:
        """Whether its data is older than its strictest reader accepts."""
        return self.data_time is None or now - self.data_time > self.lag


@dataclass(frozen=True)
class Status:
    """What `gavel status` shows. `waiting` counts stream records that the pump has not handed over; `interrupted` are
    runs that a stop ended and that wait for the next `gavel dev`; `health` is what the last look of the alerts found,
    None where nothing looks."""

    stack: Stack | None
    emulator: bool
    dagster: bool
    waiting: int | None
    tables: tuple[Published, ...]
    troubles: tuple[Trouble, ...] = ()
    failing: tuple[Failing, ...] = ()
    models: tuple[Model, ...] = ()
    interrupted: tuple[str, ...] = ()
    health: Health | None = None


def look(home: Home, contracts: Contracts) -> Status:
    """Find out how the stack is; changes nothing."""
    current = home.load()
    alive = current is not None and current.emulator is not None and current.emulator.alive
    if current is None:
        return Status(None, False, False, None, ())
    dagster = alive and current.dagster is not None and current.dagster.alive
    interrupted = () if dagster else interrupted_at(home)
    if not alive or not emulator.is_healthy(current):
        return Status(current, False, False, None, (), interrupted=interrupted)
    if not current.outputs:
        return Status(current, True, dagster, None, (), interrupted=interrupted)
    tables = published_tables(current, contracts)
    troubles = troubles_of(home) if dagster else ()
    failing = failing_objects(current, contracts)
    models = models_read(home, current, contracts) if dagster else ()
    health = last_health(current) if dagster else None
    return Status(current, True, dagster, lag(home, current), tables, troubles, failing, models, interrupted, health)


def last_health(current: Stack) -> Health | None:
    """What the last look of the alerts found; None before the first, and where another version wrote it."""
    import json

    from lakehouse.storage.store import ObjectMissing

    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    try:
        found: Health = json.loads(lake.store.read(KEY))
    except ObjectMissing:
        return None
    return found if found.get("version") == VERSION else None


def interrupted_at(home: Home) -> tuple[str, ...]:
    """The runs that a stop interrupted and that wait for the next `gavel dev`, by job and id."""
    from local.dagster import stopping

    return stopping.interrupted_at(home.dagster)


def troubles_of(home: Home) -> tuple[Trouble, ...]:
    """Sensors and schedules that fail or are silent, and what they requested and what failed, as the running Dagster
    remembers ticks and runs."""
    from dagster import DagsterInstance

    from local.dagster.failing_work import failing_work
    from orchestration.alerts.ticks import troubles

    with DagsterInstance.from_config(str(home.dagster)) as instance:
        return (*troubles(instance, datetime.now(UTC)), *failing_work(instance))


def models_read(home: Home, current: Stack, contracts: Contracts) -> tuple[Model, ...]:
    """The models that somebody reads and that were built, with what they are true for and since when they lack news."""
    from dagster import DagsterInstance

    from assets.catalog import published_states
    from assets.consumers import accepted_lags, consumers
    from assets.data_times import data_time, present, recorded_reads, unread_since
    from orchestration.prepare import dbt_files
    from orchestration.settings import Settings
    from warehouse.project import prepared_manifest

    manifest = prepared_manifest(dbt_files(Settings(home=home.path, endpoint_url=current.endpoint)))
    lags = accepted_lags(consumers(manifest).values(), manifest)
    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    now = present(contracts, published_states(lake, contracts, lambda entity, error: None))  # its line says so
    with DagsterInstance.from_config(str(home.dagster)) as instance:
        reads = recorded_reads(instance, lags)
    return tuple(
        Model(key.path[-1], lags[key], data_time(read, now), unread_since(read, now)) for key, read in reads.items()
    )


def addresses(home: Home) -> dict[str, str]:
    """Where the running stack is, as environment variables. The credentials are the emulator's: they open nothing else.

    Raises `local.stack.StackError` if it does not run.
    """
    current = stack.running(home)
    return {
        "GAVEL_API": current.outputs["ApiUrl"],
        "GAVEL_ENV": "local",
        "GAVEL_BUCKET": current.outputs["DataBucketName"],
        "AWS_ENDPOINT_URL": current.endpoint,
        **CREDENTIALS,
    }


def quarantined(home: Home, contracts: Contracts, entity: str | None) -> Iterator[tuple[str, QuarantineFile]]:
    """What is in quarantine, by entity, one by one; of one entity if it is named.

    Raises `local.stack.StackError` if the stack does not run, or if there is no such entity.
    """
    from lakehouse import api

    if entity is not None and entity not in contracts:
        raise stack.StackError(f"expected an entity ({', '.join(contracts)}), found {entity!r}")
    current = stack.running(home)
    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    for contract in [contracts[entity]] if entity else contracts.values():
        for file in api.list_files(lake, contract):
            yield contract.name, file


def show_quarantined(files: Iterable[tuple[str, QuarantineFile]], console: Console) -> None:
    """Print them, with their reasons, and where the rows are kept."""
    nothing = True
    for entity, file in files:
        nothing = False
        rows = "the whole object" if file.whole else f"{file.rows:,} rows"
        console.print(f"{entity}: {rows} of {file.origin}, kept in {file.key}", markup=False, soft_wrap=True)
        for reason, number in file.reasons.items():
            console.print(f"  {number} x {reason}", markup=False, highlight=False, soft_wrap=True)
    if nothing:
        console.print("Nothing is in quarantine.")


def published_tables(current: Stack, contracts: Contracts) -> tuple[Published, ...]:
    """The published table of every entity."""
    from lakehouse import api
    from lakehouse.intake.landing import Scope

    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    tables = []
    for contract in contracts.values():
        try:
            state = api.published(lake, contract)
            waiting = min((o.modified for o in api.pending(lake, contract, Scope())), default=None)
        except Exception as error:  # noqa: BLE001 - shown in its line; the other tables do not pay for it
            tables.append(Published(contract.name, problem=f"{type(error).__name__}: {error}"))
            continue
        if state is None:
            tables.append(Published(contract.name, waiting=waiting))
        else:
            known = (state.rows, state.changes, state.watermark)
            last = parity_text(api.recent_parity(lake, contract.name))
            tables.append(Published(contract.name, *known, last, waiting=waiting))
    return tuple(tables)


def parity_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the last of an entity's comparisons found, with its time; empty if there was none lately."""
    if not rows:
        return ""
    last = rows[-1]
    left = last["differences"] if last["differences_after"] is None else last["differences_after"]
    found = f"{left:,} differences" if left else last["outcome"]
    return f"{found}, {last['ended_at'][5:16]}"


def failing_objects(current: Stack, contracts: Contracts) -> tuple[Failing, ...]:
    """The landed objects that are held or fail again and again, of the entities that can be read."""
    from orchestration.alerts.view import LakeView, Memory

    lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
    found, _ = LakeView(lake, "local", contracts, Memory(), datetime.now(UTC)).failing()  # its line says what is unread
    return tuple(failing for objects in found.values() for failing in objects)


def show(status: Status, home: Home, console: Console, now: datetime | None = None) -> None:
    """Print the status as tables."""
    current = status.stack
    up, off = "[green]running[/green]", "[dim]stopped[/dim]"
    rows = [
        ("AWS emulator", up if status.emulator else off, current.endpoint if current and current.port else ""),
        ("Dagster", up if status.dagster else off, (current.ui_url or "") if current else ""),
    ]
    if status.waiting is not None:
        text = "[green]nothing waits[/green]" if not status.waiting else f"[yellow]{status.waiting:,} wait[/yellow]"
        rows.append(("Stream pump", text, ""))
    if current and current.outputs and status.emulator:
        rows.append(("HTTP API", up, current.outputs["ApiUrl"]))
        rows.append(("Data bucket", "", f"s3://{current.outputs['DataBucketName']}"))
    rows.append(("State", "", str(home.path)))
    for service, state, where in rows:  # one line each, however long: addresses are copied
        console.print(f"{service:<14}{state} {where}".rstrip(), soft_wrap=True, highlight=False)
    if status.interrupted:
        said = f"\nInterrupted by the last stop, and taken up by the next `gavel dev`: {', '.join(status.interrupted)}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    for trouble in status.troubles:
        console.print(
            f"\n[red]The {trouble.kind} {trouble.name} does not do its work[/red] since "
            f"{trouble.since:%Y-%m-%d %H:%M:%S} UTC: ",
            end="",
        )
        console.print(trouble.reason, markup=False, highlight=False, soft_wrap=True)
    for line in alert_lines(status.health, now or datetime.now(UTC)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for failing in status.failing:
        state = "is held" if failing.held else f"failed in {failing.attempts} runs"
        text = f"\n{failing.key} of {failing.entity} {state} ({failing.failure.value}): {failing.reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if status.failing:
        console.print("Correct the cause, then requeue them (docs/operations.md, work on one entity).")
    report = newest_report(home)
    if report:
        console.print(f"\nNewest report: {report}", soft_wrap=True, highlight=False)
    now = now or datetime.now(UTC)
    if status.tables:
        console.print()
        console.print(_tables(status, now))
    if status.models:
        console.print()
        for line in model_lines(status.models, now):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not status.emulator:
        console.print("\nStart the stack with `gavel up`, or see everything at once with `gavel demo`.")


def alert_lines(health: Health | None, now: datetime) -> list[str]:
    """What is open of alerts, the worst first, as the last look of their sensor says. What follows from another one
    is counted with it."""
    if health is None or not health["alerts"]:
        return []
    shown = [alert for alert in health["alerts"] if alert["reported"]]
    more = len(health["alerts"]) - len(shown) + health["more"]
    old = age(now - datetime.fromisoformat(health["looked_at"]))
    lines = [f"\nOpen alerts ({old} ago):"]
    for alert in shown:
        lines.append(f"  {alert['severity']}: {alert['what']}, since {alert['since'][:19].replace('T', ' ')} UTC")
        lines += [f"    {alert['why']}"] if alert["why"] else []
    return [*lines, *([f"  and {more} that follow from these or are left out"] if more else [])]


def model_lines(models: Sequence[Model], now: datetime) -> list[str]:
    """How fresh marts and reports are, the ones that lack something longest first."""
    late = [model for model in models if model.is_late(now)]
    lines = [f"Marts and reports: {len(models) - len(late)} of {len(models)} are as fresh as their readers need them."]
    unread = sorted((model.unread, model.name) for model in models if model.unread)
    if unread:
        since, name = unread[0]
        lines.append(f"{len(unread)} lack published changes; the oldest arrived {age(now - since)} ago, for {name}.")
    for model in late:
        old = f"true for {age(now - model.data_time)} ago" if model.data_time else "true for no time"
        lines.append(f"  late: {model.name} is {old}; accepted are {age(model.lag)}.")
    return lines


def _tables(status: Status, now: datetime) -> Table:
    table = Table(title="Published tables", title_justify="left", box=None, padding=(0, 2))
    for heading in ("entity", "rows", "changes", "watermark (UTC)", "age", "oldest waiting", "parity (UTC)"):
        table.add_column(
            heading, justify="right" if heading in ("rows", "changes", "age", "oldest waiting") else "left"
        )
    for entity in status.tables:
        if entity.problem:
            table.add_row(entity.entity, "[red]cannot be read[/red]", "", escape(entity.problem), "", "", "")
            continue
        if entity.rows is None:
            table.add_row(
                entity.entity, "[dim]none[/dim]", "", "[dim]not published yet[/dim]", "", _waiting(entity, now), ""
            )
            continue
        mark = entity.watermark
        table.add_row(
            entity.entity,
            f"{entity.rows:,}",
            f"{entity.changes:,}",
            f"{mark:%Y-%m-%d %H:%M:%S}" if mark else "[dim]none[/dim]",
            age(now - mark) if mark else "",
            _waiting(entity, now),
            entity.parity,
        )
    return table


def _waiting(entity: Published, now: datetime) -> str:
    return age(now - entity.waiting) if entity.waiting else ""


def age(span: timedelta) -> str:
    """A duration as people say it: `35 s`, `12 min`, `3 h`, `2 days`."""
    seconds = max(int(span.total_seconds()), 0)
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def newest_report(home: Home) -> str | None:
    """The path of the report page that was written last."""
    pages = sorted(home.reports.glob("*.html"), key=lambda page: page.stat().st_mtime)
    return str(pages[-1]) if pages else None
