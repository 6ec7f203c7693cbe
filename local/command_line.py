"""The command line `gavel`: what a person types, and what they read. Everything it does is in the modules it calls.

Modules that take long to import are imported by the commands that need them.
"""

from __future__ import annotations

import atexit
import errno
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.command_line import app as ops
from ops.commands.deploy import deploy
from ops.commands.opening import open_on_aws
from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from contracts import Contracts
    from local.aws import Aws
    from local.commands import Refreshed
    from local.home import Home
    from local.screen import Screen

app = typer.Typer(
    name="gavel",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""The laptop stack of Gavel, the data platform of an online auction house.

It runs the whole platform on this machine, without an AWS account and without Docker: an AWS emulator with the same
real-time path that production uses, and the Dagster pipeline that turns every change into reports.

Start with `gavel demo` to see everything once, or with `gavel dev` to watch data flow in the Dagster UI.
What the stack keeps is in the folder `.gavel` (or GAVEL_HOME); nothing outside of it is touched.
""",
)

Seed = Annotated[
    int | None,
    typer.Option(
        help="Decides what is invented; give one only once, or with the same number of changes. Default: new ones."
    ),
]
Dashboard = Annotated[bool, typer.Option("--dashboard/--no-dashboard", help="Build and serve the staff dashboard.")]
Carry = Annotated[bool, typer.Option("--report/--no-report", help="Carry the changes to the report afterwards.")]


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(help="Port of the AWS emulator. Default: the last one, or a free one.")
    ] = None,
) -> None:
    """Start the AWS emulator and deploy the real-time path to it; what runs already is brought up to date.

    Changed contracts come into force in all parts, a running Dagster included. Those that cannot be used, or cannot
    follow what is stored, are refused with all their problems, and everything goes on as before.
    """
    with _reported() as (home, screen):
        contracts = _written()
        from local.commands import start

        stack = start(home, contracts, screen, port)
        screen.console.print(f"\nHTTP API      {stack.outputs['ApiUrl']}", highlight=False, soft_wrap=True)
        screen.console.print(f"AWS endpoint  {stack.endpoint}", highlight=False)
        screen.console.print("\nNext: `gavel simulate`, `gavel replay`, `gavel status`; `gavel down` stops it.")


@app.command()
def down() -> None:
    """Stop everything that this stack started, also after a crash. Its data is kept for the next start."""
    with _reported() as (home, screen):
        from local.stack import down as stop

        with screen.step("Stop the stack") as step:
            stopped = stop(home, screen.say)
            step.note = "state saved" if stopped.saved else "it was not running" if not stopped.was_running else ""
        if stopped.was_running and not stopped.saved:
            screen.console.print("The state could not be saved; the next start sets it aside and begins from nothing.")


@app.command()
def demo(
    changes: Annotated[int, typer.Option(min=1, help="How many changes the simulated auction house makes.")] = 1500,
    seed: Seed = None,
    dashboard: Dashboard = True,
) -> None:
    """Show everything once: start, deploy, simulate auctions through the HTTP API, run the pipeline, make the report.

    Takes about a minute. A second call adds another piece of simulated history. The stack stays up afterwards.
    """
    with _reported() as (home, screen):
        contracts = _written()
        from local.commands import demonstrate
        from local.dashboard.serving import how_to_open

        _finish(demonstrate(home, contracts, screen, changes, seed, dashboard), screen)
        if dashboard and (current := home.load()):
            screen.say_all("\n".join(how_to_open(current)))
        screen.console.print(
            "The stack stays up: `gavel status` shows it, `gavel dev` opens Dagster, `gavel down` stops it."
        )


@app.command()
def dev(
    ui_port: Annotated[int | None, typer.Option(help="Port of the Dagster UI. Default: 3000, or a free one.")] = None,
    gap: Annotated[int, typer.Option(min=1, help="Seconds between new lots of the live auctions.")] = 40,
    traffic: Annotated[bool, typer.Option("--traffic/--no-traffic", help="Run live auctions.")] = True,
    dashboard: Dashboard = True,
) -> None:
    """Keep the stack running with the Dagster UI, its sensors and schedules, and gentle live auctions, until Ctrl-C."""
    with _reported() as (home, screen):
        contracts = _written()
        from datetime import timedelta

        from local.develop import develop

        lots = timedelta(seconds=gap) if traffic else None
        develop(home, contracts, screen, ui_port=ui_port, gap=lots, dashboard=dashboard)


@app.command()
def simulate(
    changes: Annotated[int, typer.Option(min=1, help="How many changes to make.")] = 3000,
    seed: Seed = None,
    report: Carry = True,
) -> None:
    """Send the changes of an invented auction house through the HTTP API.

    Customers, lots, bids up to the last second, orders and their whole life, invoices, payments and refunds, shipments,
    corrections, deletions and ERP quotes, over the last two years. Starts the stack if it is not running.
    """
    with _reported() as (home, screen):
        contracts = _written()
        from local import commands

        stack = commands.start(home, contracts, screen)
        commands.simulate(home, stack, contracts, screen, changes, seed)
        if report:
            _finish(commands.refresh(home, stack, screen), screen)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The CSV file.", exists=True, dir_okay=False)],
    mapping: Annotated[str, typer.Option(help="The mapping folder, or the name of one that comes with Gavel.")],
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows are written. Default: NAME.rejects.csv in this folder")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be sent.")] = False,
    report: Carry = True,
) -> None:
    """Send the rows of a CSV file through the HTTP API, by a mapping: a folder of SQL queries, one for each entity.

    Options that the mapping defines are given by their name, for example `--start-date 2025-01-01`.
    How to write a mapping is explained in docs/replay.md. Sending a file again changes nothing.

    Example: `gavel replay ebay_auctions.csv --mapping ebay_auctions --start-date 2025-01-01`
    """
    with _reported() as (home, screen):
        contracts = _written()
        from local.commands import send_file
        from local.replay import prepare

        options = mapping_options(context.args)
        prepared = prepare(file, mapping, options=options, rejects=rejects, contracts=contracts)
        screen.say_all(prepared.summary())
        if dry_run:
            screen.say_all(prepared.preview())
            return
        if refreshed := send_file(home, contracts, screen, prepared, report):
            _finish(refreshed, screen)


@app.command()
def refresh() -> None:
    """Carry every change that waits in the stream to the report: pump, compact, audit, publish, marts, report."""
    with _reported() as (home, screen):
        from local.commands import refresh as carry
        from local.stack import running

        _finish(carry(home, running(home), screen), screen)


@app.command()
def status() -> None:
    """Show what runs, what waits in the stream, and rows and watermark of every published table."""
    with _reported() as (home, screen):
        contracts = _in_force(home)
        from local.status import look, show

        show(look(home, contracts), home, screen.console)


@app.command()
def quarantine(
    entity: Annotated[str | None, typer.Argument(help="The entity; without it, all of them.")] = None,
) -> None:
    """Show which landed objects have rows in quarantine, how many, and why; no values of the rows."""
    with _reported() as (home, screen):
        from local.status import quarantined, show_quarantined

        show_quarantined(quarantined(home, _in_force(home), entity), screen.console)


@app.command()
def token() -> None:
    """Print an identity token of the laptop's user (group staff), for calls of the API by hand; good for an hour.

    Example: `curl -H "Authorization: Bearer $(gavel token)" "$GAVEL_API/customers/c-1"`, after `eval "$(gavel env)"`.
    """
    with _reported() as (home, _):
        from local.aws import Aws
        from local.deploy import sign_in
        from local.stack import running

        current = running(home)
        typer.echo(sign_in(Aws(current.endpoint), current)[0])


@app.command("env")
def environment() -> None:
    """Print where the running stack is as variables of a shell: `eval "$(gavel env)"` sets them.

    With them, the AWS command line, dbt, DuckDB and curl talk to this stack, and to nothing else.
    """
    with _reported() as (home, _):
        from local.status import addresses

        for name, value in addresses(home).items():
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command("dashboard")
def build_dashboard() -> None:
    """Build the staff dashboard, where it is not built as it is written now; and serve it if the stack runs."""
    with _reported() as (home, screen):
        contracts = _written()
        from local.dashboard.build import build
        from local.dashboard.serving import how_to_open, start
        from local.stack import is_up

        with screen.step("Build the staff dashboard") as step:
            step.note = str(build(contracts, lambda text: step.update(text=text)))
        current = home.load()
        if current is not None and is_up(current):
            screen.say_all("\n".join(how_to_open(start(home, current, contracts, screen))))


@app.command("slice")
def cut_slice(
    folder: Annotated[Path, typer.Argument(help="A folder of its own; an earlier slice in it is replaced.")],
    of: Annotated[str, typer.Option(help="The entity that the slice begins with.")] = "lots",
    keys: Annotated[int, typer.Option(min=1, help="How many of its rows; what belongs to them comes along.")] = 200,
) -> None:
    """Cut a slice of the published tables for work on the dbt project, and build the project on it as it is now.

    How to work with it is in dbt_project/README.md.
    """
    with _reported() as (home, screen):
        contracts = _in_force(home)
        from local import slice as slices

        again = folder.exists() and any(folder.iterdir())
        with screen.step("Cut a slice of the published tables") as step:
            rows = slices.cut(home, contracts, of, keys, folder.absolute())
            step.note = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count)
        with screen.step("Build the dbt project on it, as the state to compare with"):
            state = slices.build_state(folder.absolute(), slices.environment(home))
        if again:
            screen.console.print(
                "\nThis replaces an earlier slice. A warehouse that was built on that one must be built whole once: an "
                "increment takes only what is newer than its rows."
            )
        screen.console.print("\nNow, in dbt_project:", highlight=False)
        screen.console.print(f"  export GAVEL_SLICE={folder.absolute()}", soft_wrap=True, highlight=False)
        screen.console.print(f"  dbt build{' --full-refresh' if again else ''}", highlight=False)
        screen.console.print(
            f"  dbt build --select state:modified+ --defer --state {state}", soft_wrap=True, highlight=False
        )


@app.command()
def generate() -> None:
    """Write the files that follow from the contracts (sources, staging models and dimensions of the dbt project), and
    see whether the other models still fit."""
    with _reported() as (_, screen):
        contracts = _written()
        from local.commands import generate_models

        generate_models(contracts, screen)
        screen.console.print("Everything is current.")


def _on_this_machine(context: typer.Context) -> None:
    context.obj = _opened


app.add_typer(ops, name="ops", callback=_on_this_machine)
app.command()(deploy)


@ops.command()
def drill(
    send: Annotated[
        bool, typer.Option("--send", help="Send the alerts to the stack's topic and webhook, too, marked as a drill.")
    ] = False,
) -> None:
    """Fire and resolve every kind of alert, and check what arrives at a webhook of the drill's own.

    Nothing of the stack is touched. Where Dagster runs elsewhere: python -m orchestration.alerts.drill.
    """
    from local.home import Home, HomeError
    from local.stack import StackError, environment, running
    from orchestration.alerts.drill import run
    from orchestration.settings import Settings

    variables = dict(os.environ)
    if send:
        try:
            home = Home.from_environment(os.environ)
            variables = environment(home, running(home))
        except (HomeError, StackError) as error:
            raise typer.BadParameter(str(error)) from error
    raise typer.Exit(run(Settings.from_environment(variables), send))


def _exporting(aws: Aws) -> Any:
    """A client for exports of the emulator's table, which this process answers as long as it lives."""
    from local.exports import Exports, client_of, serving

    answers = ExitStack()
    atexit.register(answers.close)
    return client_of(answers.enter_context(serving(Exports(aws))))


def _opened(name: str | None) -> Environment:
    """The environment that a command of operators works on: the stack on this machine if none, or `local`, is named."""
    from local.aws import Aws
    from local.home import Home, HomeError
    from local.stack import StackError, running

    if name not in (None, "local"):
        return open_on_aws(name)
    try:
        home = Home.from_environment(os.environ)
        current = running(home)
        aws = Aws(current.entrance)
        contracts = home.contracts if home.contracts.exists() else None
        exporting = partial(_exporting, Aws(current.endpoint))
        warehouse = home.path / "warehouse.duckdb"
        return Environment("local", aws.client, aws.endpoint, exporting, contracts, warehouse=warehouse)
    except (HomeError, StackError) as error:
        raise OpsError(str(error)) from error


def mapping_options(arguments: Sequence[str]) -> dict[str, str]:
    """`--start-date 2025-01-01 --fee=2` as option names (with underscores) and values."""
    options: dict[str, str] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or (not equals and not words):
            raise typer.BadParameter(f"expected options of the mapping as --name value, found {word!r}")
        options[name.replace("-", "_")] = value if equals else words.pop(0)
    return options


_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EIO}
"""What the machine refuses; it says so itself, and where."""


@contextmanager
def _reported() -> Iterator[tuple[Home, Screen]]:
    """What every command works with. Errors that say what to do are shown without a traceback; others with theirs."""
    from rich.console import Console

    from contracts import ContractError
    from local.home import Home, HomeError
    from local.screen import Screen

    screen = Screen(Console())
    try:
        yield Home.from_environment(os.environ), screen
    except KeyboardInterrupt:
        screen.console.print("\nInterrupted. `gavel status` shows what runs, `gavel down` stops it.")
        raise typer.Exit(130) from None
    except (ContractError, HomeError) as error:
        raise _failure(screen, error) from error
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        raise _failure(screen, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("local", "realtime", "lakehouse"):
            raise
        raise _failure(screen, error) from error


def _written() -> Contracts:
    """The contracts as they are written now: for commands that bring a stack up with them."""
    from contracts import load_contracts

    folder = os.environ.get("GAVEL_CONTRACTS")
    return load_contracts(Path(folder) if folder else None)


def _in_force(home: Home) -> Contracts:
    """The contracts that the stack was brought up with: for commands that an unfinished file must not stop."""
    from local.stack import contracts_in_force

    return contracts_in_force(home) or _written()


def _failure(screen: Screen, error: Exception) -> typer.Exit:
    screen.console.print(f"\n[red]{type(error).__name__}[/red] ", end="")
    screen.console.print(str(error), markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _finish(refreshed: Refreshed, screen: Screen) -> None:
    """The summary; a failed step of the pipeline is a failure of the command."""
    from local.commands import summarize

    summarize(refreshed, screen)
    if refreshed.result.failures:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app(prog_name=Path(sys.argv[0]).name)


if __name__ == "__main__":
    main()
