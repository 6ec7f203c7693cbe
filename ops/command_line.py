"""The commands of operators: `gavel-ops`, which needs AWS credentials alone, and `gavel ops` beside the laptop stack.

Modules that take long to import are imported by the commands that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ops.environment import Environment, OpsError

if TYPE_CHECKING:
    from lakehouse.recovery.wanted import Lost
    from ops.work import Work

app = typer.Typer(
    name="gavel-ops",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Operate an environment of Gavel: find what is misconfigured, put back what failed, read dead letters, manage
tenants.

It works on the AWS account of your credentials (`AWS_PROFILE`, SSO, a role), in the environment that `--environment` or
`GAVEL_ENV` names. After `eval "$(gavel env)"` both lead to the laptop stack.
""",
)
tenants = typer.Typer(
    no_args_is_help=True,
    help="""Tenants of the partner API: who may call it with tokens of another identity provider.

    A tenant's name is what its tokens carry in the claim that the template's parameter TenantClaim names.
    """,
)
app.add_typer(tenants, name="tenant")
dead_letters = typer.Typer(no_args_is_help=True, help="Messages that could not be handled, and wait in a queue.")
app.add_typer(dead_letters, name="dead-letters")

erasure = typer.Typer(
    no_args_is_help=True,
    help="""Erase a person's data everywhere, with a signed proof.

    The pipeline does it: first every table and object is rewritten, then, when readers of earlier states are done,
    those are removed, everything that is left is read, and the proof is signed.
    """,
)
app.add_typer(erasure, name="erasure")
Identity = Annotated[
    str,
    typer.Option(
        "--subject", prompt="Identity (customer_id)", help="The person's customer_id; without it, it is prompted for."
    ),
]

questions = typer.Typer(
    no_args_is_help=True,
    help="""Ask the archive: an order as it was, a party's whole history, who changed what. Who asks is kept.""",
)
app.add_typer(questions, name="archive")

recovery = typer.Typer(
    no_args_is_help=True,
    help="""Bring back a lost catalog or a lost lake, from what is left. What is whole stays as it is.

    It may be run again, and by two at once. Where Dagster runs, its job `recover` does the same in the entities' pools.
    """,
)
app.add_typer(recovery, name="recover")
Entities = Annotated[
    list[str] | None, typer.Option("--entity", help="Recover this entity alone; may be given several times.")
]
Entity = Annotated[str, typer.Argument(help="The entity, for example orders.")]
FailedSince = Annotated[
    str | None, typer.Option("--since", help="Only what failed since this moment, for example 2026-11-21T00:00:00Z.")
]
FailedUntil = Annotated[str | None, typer.Option("--until", help="… and before this one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
WithHash = Annotated[bool, typer.Option("--hash", help="Read every row afterwards and show the hash of the content.")]

Opener = Callable[[str | None], Environment]
"""Gives the environment of a name, or the usual one for None; raises `OpsError`."""


def _name(text: str | None) -> str | None:
    if text is not None and text not in ENVIRONMENTS:
        raise typer.BadParameter(f"expected one of {', '.join(ENVIRONMENTS)}, found {text!r}")
    return text


ENVIRONMENTS = ("local", "dev", "test", "prod")
Where = Annotated[
    str | None,
    typer.Option(
        "--environment",
        envvar="GAVEL_ENV",
        callback=_name,
        metavar=f"[{'|'.join(ENVIRONMENTS)}]",
        help="Which environment. `gavel ops` takes local if nothing is said.",
    ),
]


def open_on_aws(name: str | None) -> Environment:
    """The environment of a name in the account of the person's credentials."""
    if name is None:
        raise OpsError(f"expected --environment NAME ({', '.join(ENVIRONMENTS)}) or the variable GAVEL_ENV, found none")
    return Environment.of_credentials(name)


@app.command()
def redrive(
    context: typer.Context,
    since: FailedSince = None,
    until: FailedUntil = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be put back, and do nothing.")] = False,
    environment: Where = None,
) -> None:
    """Put back what failed on the way from the stream (kept records, given up batches) and dead letters.

    Without --since and --until all that is kept. What fails again is kept with its new reason. It may be repeated: a
    record that goes twice changes nothing.
    """
    with _opened(context, environment) as (where, console):
        from ops.moments import range_of
        from ops.redrive import redrive as put_back
        from ops.redrive import would_redrive

        def say(text: str) -> None:
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)

        failed = range_of(since, until)
        if dry_run:
            for line in would_redrive(where, failed).lines():
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        done = put_back(where, say, failed)
        console.print(f"{done.delivered} records put back, {done.left.total()} left")
        for reason, count in done.left.most_common():
            console.print(f"  {count} x {reason}", markup=False, highlight=False, soft_wrap=True)
        if done.left:
            raise typer.Exit(1)


# Each is an option of the command.
@app.command()
def backfill(
    context: typer.Context,
    export: Annotated[str | None, typer.Option(help="An export that is there: s3://bucket/prefix, or its ARN.")] = None,
    since: Annotated[str | None, typer.Option(help="Request incremental exports from this moment (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option(help="… up to this one.")] = None,
    taken_at: Annotated[str | None, typer.Option(help="When an export without manifests was taken.")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="Only this entity; may be given several times.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    environment: Where = None,
) -> None:
    """Bring an export of the operational table into the lake: a new full one, unless something else is said.

    It seeds tables that were never connected and repairs what the stream lost. It may be stopped and repeated at any
    time, and changes nothing that is right.
    """
    with _opened(context, environment) as (where, console):
        from lakehouse.recovery.wanted import Wanted
        from ops.backfill import bring_in, would_do
        from ops.moments import moment

        def say(text: str) -> None:
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)

        wanted = Wanted(
            address=export,
            since=moment(since),
            until=moment(until),
            taken_at=moment(taken_at),
            entities=tuple(entity or ()),
        )
        if dry_run:
            for line in would_do(where, wanted):
                say(f"would {line}")
            return
        done = bring_in(where, wanted, say)
        for result in done:
            for one in result.entities:
                corrected = one.corrections or "nothing"
                say(f"{one.entity}: {one.landed} landed, {one.counts.applied} applied, {corrected} corrected")
        problems = [problem for result in done for problem in result.problems]
        for problem in problems:
            say(problem)
        if problems:
            raise typer.Exit(1)


@app.command()
def doctor(
    context: typer.Context,
    environment: Where = None,
    ui_url: Annotated[
        str, typer.Option(envvar="GAVEL_UI_URL", help="Where Dagster's UI answers; without it Dagster is left out.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find what is misconfigured: clock, key, rights, quotas, bucket, tables, topic, queues, functions, Firehoses,
    Glue, Athena, versions and Dagster. Changes nothing. Ends with 1 if anything was found.
    """
    with _opened(context, environment) as (where, console):
        import json
        from dataclasses import asdict

        from ops.doctor.findings import Patient
        from ops.doctor.looking import LOOKS, examine

        found = examine(Patient(where, where.contracts(), ui_url))
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
        else:
            for finding in found:
                console.print(f"- {finding}", markup=False, highlight=False, soft_wrap=True)
            left_out = "" if ui_url else " Dagster was not looked at: name its UI with --ui-url."
            console.print(f"Looks: {len(LOOKS)}. Findings: {len(found)}.{left_out}", markup=False, highlight=False)
        if found:
            raise typer.Exit(1)


# Each is an option of the command.
@app.command()
def parity(
    context: typer.Context,
    export: Annotated[str | None, typer.Option(help="A full export, or a folder above several (s3://…).")] = None,
    new: Annotated[bool, typer.Option("--new", help="Request an export first, and await it.")] = False,
    entity: Annotated[list[str] | None, typer.Option(help="Only this entity; may be given several times.")] = None,
    lateness_minutes: Annotated[float | None, typer.Option(help="How late a change may land (default: 25 h).")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs, and prove it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what a repair would do, and do nothing.")] = False,
    wait_hours: Annotated[
        float | None, typer.Option("--wait", min=0, help="Await for so many hours that it can be compared.")
    ] = None,
    environment: Where = None,
) -> None:
    """Compare the lake with the operational table at the moment of an export, by content.

    Without --export and --new, with the newest export of which all changes have arrived. It ends with 1 if something
    differs, and with 3 if it cannot be compared yet.
    """
    with _opened(context, environment) as (where, console):
        from datetime import timedelta

        from lakehouse.parity.wanted import Request
        from ops.parity import compare, lateness, lines

        def say(text: str) -> None:
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)

        request = Request(
            export or "exports",
            tuple(entity or ()),
            lateness(where, lateness_minutes),
            repair=repair or dry_run,
            dry_run=dry_run,
        )
        wait = None if wait_hours is None else timedelta(hours=wait_hours)
        done = compare(where, request, say, new=new, wait=wait)
        for result in done:
            for line in lines(result):
                say(line)
        if any(result.left or (result.after or result.before).outcome == "unproven" for result in done):
            raise typer.Exit(1)
        if any((result.after or result.before).outcome == "not yet" for result in done):
            raise typer.Exit(3)


@app.command()
def serve(
    context: typer.Context,
    entity: Annotated[list[str] | None, typer.Argument(help="Only these entities.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare every row with the lake, and write nothing.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Compare, and put right exactly what differs.")] = False,
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Bring the tables of the website's PostgreSQL to the published ones, or compare them with the lake.

    What is served is in the file that GAVEL_SERVING names, the address of the server in GAVEL_SERVING_URL. With --check
    it ends with 1 if something differs.
    """
    if check + repair + dry_run > 1:
        raise typer.BadParameter("expected one of --check, --repair and --dry-run")
    with _opened(context, environment) as (where, console):
        from ops.serving import bring, compare

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        if not (check or repair):
            bring(where, entity or (), say, dry_run=dry_run)
        elif not compare(where, entity or (), say, repair=repair):
            raise typer.Exit(1)


@dead_letters.command("list")
def list_dead_letters(context: typer.Context, environment: Where = None) -> None:
    """Show about how many messages wait in each queue of dead letters."""
    with _opened(context, environment) as (where, console):
        from ops.dead_letters import count

        for queue, waiting in count(where).items():
            console.print(f"{waiting:>7}  {queue}", highlight=False)


@dead_letters.command("redrive")
def redrive_dead_letters(
    context: typer.Context, since: FailedSince = None, until: FailedUntil = None, environment: Where = None
) -> None:
    """Move the inbound queue's dead letters back, each with the time when it first came."""
    with _opened(context, environment) as (where, console):
        from ops.dead_letters import put_back
        from ops.moments import range_of

        moved = put_back(where, range_of(since, until))
        console.print(f"{moved} messages moved back to the inbound queue", highlight=False)


@tenants.command("add")
def add_tenant(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    party: Annotated[str | None, typer.Option(help="The party whose orders the tenant may read.")] = None,
    staff: Annotated[bool, typer.Option("--staff", help="Let the tenant do everything.")] = False,
    tier: Annotated[str, typer.Option(help="How many requests it may send: basic, standard or premium.")] = "basic",
    environment: Where = None,
) -> None:
    """Add a tenant, or change its tier or what it may do. A second call changes nothing."""
    if staff == (party is not None):
        raise typer.BadParameter("expected either --party ID or --staff")
    with _opened(context, environment) as (where, console):
        from ops.tenants import Registry

        outcome = Registry(where).add(name, tier, party)
        may = "do everything" if staff else f"read what belongs to {party}"
        console.print(f"{name}: {outcome}; may {may}, tier {tier}", markup=False, highlight=False)


@tenants.command("remove")
def remove_tenant(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    environment: Where = None,
) -> None:
    """Remove a tenant; its tokens open nothing from now on."""
    with _opened(context, environment) as (where, console):
        from ops.tenants import Registry

        removed = Registry(where).remove(name)
        console.print(f"{name}: {'removed' if removed else 'there was no such tenant'}", markup=False, highlight=False)


@tenants.command("list")
def list_tenants(context: typer.Context, environment: Where = None) -> None:
    """Show the tenants with tier and what they may do."""
    with _opened(context, environment) as (where, console):
        from ops.tenants import Registry

        for tenant in Registry(where).tenants():
            may = "everything" if tenant.party_id is None else f"party {tenant.party_id}"
            console.print(f"{tenant.name}  {tenant.tier}  {may}", markup=False, highlight=False, soft_wrap=True)


@app.command("erase")
def erase(
    context: typer.Context,
    subject: Identity,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say where the person is.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Leave readers of earlier states no time.")] = False,
    environment: Where = None,
) -> None:
    """Request that a person's data is erased everywhere; a second call changes nothing."""
    with _opened(context, environment) as (where, console):
        from ops import erasure as erasures

        if dry_run:
            for found in erasures.search(where, subject):
                console.print(
                    f"{found.entity}: {found.rows} rows in {found.files} files ({found.bytes:,} bytes), "
                    f"{found.landed} landed objects",
                    highlight=False,
                )
            return
        request = erasures.request(where, subject, at_once=now)
        console.print(f"{request.id}: {request.status}; the pipeline goes on with it", highlight=False)


@erasure.command("list")
def list_erasures(context: typer.Context, environment: Where = None) -> None:
    """Show how far each request is."""
    with _opened(context, environment) as (where, console):
        from ops import erasure as erasures

        for line in erasures.states(where):
            console.print(line, markup=False, highlight=False)


@erasure.command("verify")
def verify_erasure(
    context: typer.Context, request: Annotated[str, typer.Argument(help="Id of a request.")], environment: Where = None
) -> None:
    """Verify the signature of a proof, and say what it says."""
    with _opened(context, environment) as (where, console):
        from ops import erasure as erasures

        console.print(erasures.verify(where, request), markup=False, highlight=False, soft_wrap=True)


@erasure.command("hold")
def hold_person(
    context: typer.Context,
    subject: Identity,
    reason: Annotated[str | None, typer.Option(help="Why nothing of the person may be erased.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Lift the hold.")] = False,
    environment: Where = None,
) -> None:
    """Set or lift a legal hold on a person: while it lasts, nothing is erased."""
    if lift == (reason is not None):
        raise typer.BadParameter("expected either --reason TEXT or --lift")
    with _opened(context, environment) as (where, console):
        from ops import erasure as erasures

        changed = erasures.hold(where, subject, reason)
        done = "set" if reason is not None else "lifted" if changed else "there was none"
        console.print(f"hold {done}", highlight=False)


@app.command()
def replay(
    context: typer.Context,
    entity: Entity,
    start: Annotated[str, typer.Option(help="Start of the arrival times, for example 2026-11-21T00:00:00Z.")],
    end: Annotated[str, typer.Option(help="Their end (exclusive).")],
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Merge again what arrived in a range of time; rows stay the same unless something was missed."""
    from ops.work import Work

    _work(context, environment, Work("replay", entity, start=start, end=end), dry_run)


@app.command()
def rebuild(context: typer.Context, entity: Entity, dry_run: DryRun = False, environment: Where = None) -> None:
    """Make an entity's tables again from everything that is retained; the rows are the same as before."""
    from ops.work import Work

    _work(context, environment, Work("rebuild", entity), dry_run)


@app.command()
def requeue(
    context: typer.Context,
    entity: Entity,
    objects: Annotated[list[str] | None, typer.Option("--object", help="Landed object; none means all.")] = None,
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Merge quarantined and held objects again, after the contract or the cause was corrected."""
    from ops.work import Work

    _work(context, environment, Work("requeue", entity, objects=tuple(objects or ())), dry_run)


@app.command("roll-back")
def roll_back(
    context: typer.Context,
    entity: Entity,
    snapshot: Annotated[int | None, typer.Option(help="Snapshot to go to; without it the one before.")] = None,
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Let readers see an earlier snapshot again; what came later is ingested again by the next batch."""
    from ops.work import Work

    _work(context, environment, Work("roll_back", entity, snapshot=snapshot), dry_run)


def _work(context: typer.Context, environment: str | None, work: Work, dry_run: bool) -> None:
    with _opened(context, environment) as (where, console):
        from ops.work import do, plan

        def say(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        if not dry_run:
            do(where, work, say)
            return
        would = plan(where, work)
        say(str(would))
        if would.refused:
            raise typer.Exit(1)


@questions.command("list")
def list_questions(context: typer.Context, environment: Where = None) -> None:
    """Show the questions that there are, and what each needs."""
    with _opened(context, environment) as (_, console):
        from ops.archive import questions as all_questions

        for line in all_questions():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@questions.command("ask")
def ask_question(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="Which question, for example order_as_of.")],
    to: Annotated[Path, typer.Option(help="The file of the page, or with the suffix .json of the rows.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; may be given several times.")
    ] = None,
    personal: Annotated[bool, typer.Option("--personal", help="Show personal values, which is kept, too.")] = False,
    environment: Where = None,
) -> None:
    """Answer a question from all that the lake keeps, as a page without script."""
    with _opened(context, environment) as (where, console):
        from ops.archive import answer

        for line in answer(where, question, parameter or (), to, personal=personal):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@questions.command("log")
def log_of_questions(
    context: typer.Context,
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day (UTC).")],
    party: Annotated[str | None, typer.Option(help="Only questions about this party.")] = None,
    environment: Where = None,
) -> None:
    """Show who put which question on a day, and how many rows each got."""
    with _opened(context, environment) as (where, console):
        from ops.archive import put

        for line in put(where, day, party):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@recovery.command("catalog")
def recover_catalog(
    context: typer.Context,
    entity: Entities = None,
    state: Annotated[
        str | None, typer.Option(help="Register this metadata file instead of the newest one that readers saw.")
    ] = None,
    dry_run: DryRun = False,
    with_hash: WithHash = False,
    environment: Where = None,
) -> None:
    """Register tables again whose catalog entries are gone or lead to nothing: what readers saw last, from S3 alone."""
    from lakehouse.recovery.wanted import Lost

    lost = Lost("catalog", entity or (), state=state, dry_run=dry_run, with_content=with_hash)
    _recover(context, environment, lost)


@recovery.command("lake")
def recover_lake(
    context: typer.Context,
    entity: Entities = None,
    export: Annotated[
        str | None, typer.Option(help="Address of a DynamoDB export (s3://...), where landing is gone, too.")
    ] = None,
    dry_run: DryRun = False,
    with_hash: WithHash = False,
    environment: Where = None,
) -> None:
    """Build tables again whose files are gone, from what landed, and from an export if landing is gone, too."""
    from lakehouse.recovery.wanted import Lost

    lost = Lost("lake", entity or (), export=export, dry_run=dry_run, with_content=with_hash)
    _recover(context, environment, lost)


def _recover(context: typer.Context, environment: str | None, lost: Lost) -> None:
    with _opened(context, environment) as (where, console):
        from ops.recovery import recover

        def say(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        if not recover(where, lost, say):
            raise typer.Exit(1)


@contextmanager
def _opened(context: typer.Context, name: str | None) -> Iterator[tuple[Environment, Console]]:
    """The environment and the terminal. Errors that say what to do, and what AWS refuses, are shown without a
    traceback. Whoever mounts the commands may hand over an `Opener` as the context's object."""
    from botocore.exceptions import BotoCoreError, ClientError

    console = Console()
    opener: Opener = context.obj or open_on_aws
    try:
        yield opener(name), console
    except (OpsError, BotoCoreError, ClientError) as error:
        console.print(f"\n[red]{type(error).__name__}[/red] ", end="")
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line."""
    app()
