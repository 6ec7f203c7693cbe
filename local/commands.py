"""What the commands do, step by step and visibly: starting, simulating, replaying a file, refreshing the report.

`demonstrate` does everything once: from nothing to a fresh report, through the real components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from rich.table import Table

from contracts import Contracts
from contracts.dbt import write
from local import pipeline_process, stack
from local.aws import Aws
from local.dagster.pipeline_result import PipelineResult
from local.dashboard import serving
from local.draining import drain, put_back
from local.dry_run import check_models
from local.home import Home, Stack
from local.screen import Screen
from local.traffic import Sent

if TYPE_CHECKING:
    from local.replay import Replay

FIRST_SEED = 1


@dataclass(frozen=True)
class Refreshed:
    """How changes came to the report: how many were pumped, what failed on its way and why, what the pipeline did."""

    pumped: int
    left: Mapping[str, int]
    result: PipelineResult


def start(home: Home, contracts: Contracts, screen: Screen, port: int | None = None) -> Stack:
    """Start the stack, or bring a running one up to date: all its parts follow changed contracts afterwards.

    Raises `local.dry_run.ModelsDoNotFit` before the stack is touched if a model cannot follow a changed contract.
    """
    changed = stack.contracts_in_force(home) != contracts
    if changed:
        generate_models(contracts, screen)
    current = _start(home, contracts, screen, port)
    if changed and current.dagster is not None and current.dagster.alive and current.ui_url:
        with screen.step("Let Dagster load the changed contracts") as step:
            step.update(text="preparing the dbt models")
            pipeline_process.prepare(home, current)()
            step.update(text="loading the code location again")
            pipeline_process.reload(current.ui_url)
    return current


def generate_models(contracts: Contracts, screen: Screen) -> None:
    """Write the files of the dbt project that follow from the contracts, and see whether the other models fit."""
    changed = write(contracts)
    if not changed:
        return
    for path in changed:
        screen.console.print(str(path), soft_wrap=True, highlight=False)
    with screen.step("Build all models on an empty lake, to see whether they fit"), TemporaryDirectory() as folder:
        check_models(Path(folder))


def _start(home: Home, contracts: Contracts, screen: Screen, port: int | None) -> Stack:
    with screen.step("Start the AWS emulator and deploy the real-time path") as step:
        started = stack.up(
            home,
            contracts,
            port=port,
            say=screen.say,
            progress=lambda what, done, total: step.update(done, total, what),
        )
        how = {"attached": "was running", "resumed": "resumed", "new": "new", "renewed": "begun from nothing"}
        step.note = f"{how[started.how]}, {started.stack.endpoint}"
    return started.stack


def drop_reference_data(current: Stack) -> int:
    """Put the reference files into the dropbox, as another system would; returns how many were not there before."""
    from local.simulator import country_files

    s3 = Aws(current.endpoint).client("s3")
    new = 0
    for file in country_files():
        try:
            s3.head_object(Bucket=current.outputs["DataBucketName"], Key=file.key)
        except ClientError:
            s3.put_object(Bucket=current.outputs["DataBucketName"], Key=file.key, Body=file.body)
            new += 1
    return new


def simulate(home: Home, current: Stack, contracts: Contracts, screen: Screen, changes: int, seed: int | None) -> Sent:
    """Send a simulated history through the HTTP API. Without a seed every call makes another one."""
    from local.simulator import simulate as send_history

    if seed is None:
        seed = FIRST_SEED + current.demos
        home.update(demos=current.demos + 1)  # first: an interrupted history is not sent with other content
    with screen.step("Send simulated auctions through the HTTP API") as step:
        drop_reference_data(current)
        sent = send_history(
            stack.connect(current),
            seed=seed,
            changes=changes,
            progress=lambda done, total: step.update(done, total, f"{done} of {total} changes"),
            contracts=contracts,
        )
        step.note = f"{sent.total:,} changes, {sent.total / max(sent.seconds, 0.001):.0f} a second"
    return sent


def refresh(home: Home, current: Stack, screen: Screen, prepared: Callable[[], None] | None = None) -> Refreshed:
    """Carry every change from the stream to the report. `prepared` waits for a preparation that was begun before."""
    with screen.step("Pump the stream through the relay to S3") as step:
        counts = drain(home, current, progress=lambda c: step.update(None, None, f"{c.handled:,} stream records"))
        again = put_back(current, lambda line: step.update(None, None, line))
        step.note = f"{counts.handled:,} stream records"
        if again.delivered:
            step.note += f"; {again.delivered:,} that failed on their way were put back"
    if prepared is not None:
        with screen.step("Prepare the dbt models") as step:
            prepared()
    with screen.step("Run the Dagster pipeline: compact, audit, publish, build marts, render the report") as step:
        lines = 0

        def show(line: str) -> None:
            nonlocal lines
            lines += 1
            step.update(lines, None, line.splitlines()[0][:70])

        result = pipeline_process.run(home, current, show)
        step.note = f"{len(result.entities)} entities, {result.models} models"
    return Refreshed(counts.handled, again.left, result)


def demonstrate(
    home: Home, contracts: Contracts, screen: Screen, changes: int, seed: int | None, dashboard: bool = True
) -> Refreshed:
    """Everything once: start, deploy, sign in, simulate, pump, pipeline, report, and the staff's dashboard."""
    current = start(home, contracts, screen)
    prepared = pipeline_process.prepare(home, current)  # beside the simulation, of which it needs nothing
    simulate(home, current, contracts, screen, changes, seed)
    refreshed = refresh(home, current, screen, prepared)
    if dashboard:
        serving.start(home, home.load() or current, contracts, screen)
    return refreshed


def summarize(refreshed: Refreshed, screen: Screen) -> None:
    """A short readable summary, with the path of the report last."""
    result = refreshed.result
    table = Table(title="Published tables", title_justify="left", box=None, padding=(0, 2))
    for heading in ("entity", "changes read", "applied", "quarantined", "rows"):
        table.add_column(heading, justify="left" if heading == "entity" else "right")
    for entity in result.entities:
        counts = (entity.counts.read, entity.counts.applied, entity.counts.quarantined, entity.rows)
        table.add_row(entity.entity, *(f"{count:,}" for count in counts))
    screen.console.print()
    screen.console.print(table)
    screen.console.print()
    for reason, count in refreshed.left.items():
        screen.console.print(
            f"[yellow]missing[/yellow] {count:,} changes that failed on their way and are kept: {reason}. "
            "See docs/operations.md#relay-failures",
            highlight=False,
        )
    for step, reason in result.failures.items():
        screen.console.print(f"[red]failed[/red] {step}: {reason.strip()}", highlight=False)
    if result.data_time is not None:
        screen.console.print(f"The report is true for [bold]{utc(result.data_time)}[/bold].")
    if result.report is not None:
        screen.console.print(f"Open it in a browser: [bold]{result.report}[/bold]", soft_wrap=True, highlight=False)


def utc(moment: datetime) -> str:
    """A UTC time as people read it."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def send_file(home: Home, contracts: Contracts, screen: Screen, prepared: Replay, report: bool) -> Refreshed | None:
    """Send the items of a prepared CSV file through the HTTP API, and carry them to the report if that is wished."""
    from local.replay import replay

    current = start(home, contracts, screen)
    ready = pipeline_process.prepare(home, current) if report else None
    with screen.step(f"Send {prepared.file.name} through the HTTP API") as step:
        drop_reference_data(current)
        sent = replay(
            stack.connect(current),
            prepared,
            progress=lambda done, total: step.update(done, total, f"{done} of {total} items"),
            contracts=contracts,
        )
        step.note = f"{sent.total:,} items, {sent.total / max(sent.seconds, 0.001):.0f} a second"
    return refresh(home, current, screen, ready) if report else None
