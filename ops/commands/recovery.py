"""Bringing back a lost catalog, a lost lake or a deleted table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

if TYPE_CHECKING:
    from lakehouse.recovery.wanted import Lost

recovery = typer.Typer(
    no_args_is_help=True,
    help="""Bring back a lost catalog, a lost lake or a deleted table, from what is left. What is whole stays as it is.

    It may be run again. Where Dagster runs, its job `recover` does it for catalog and lake, in the entities' pools.
    """,
)
Entities = Annotated[
    list[str] | None, typer.Option("--entity", help="Recover this entity alone; may be given several times.")
]
WithHash = Annotated[bool, typer.Option("--hash", help="Read every row afterwards and show the hash of the content.")]


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


@recovery.command("table")
def recover_table(
    context: typer.Context,
    holds: Annotated[
        str, typer.Argument(help="What it holds: entities, requests, summaries, tenants or tracking.")
    ] = "entities",
    backup: Annotated[str | None, typer.Option(help="The ARN of a backup, instead of the newest one.")] = None,
    dry_run: DryRun = False,
    environment: Where = None,
) -> None:
    """Restore a table of the real-time path that was deleted, under its own name, with stream and other settings."""
    with opened(context, environment) as (where, console):
        from ops.environment import OpsError
        from ops.restoring import TABLES, newest_backup, restore

        if holds not in TABLES:
            raise OpsError(f"expected one of {', '.join(TABLES)}, found {holds!r}")
        say = plainly(console)
        found = newest_backup(where, holds, backup)
        say(f"{found.table}: from {found.arn}, made at {found.made_at:%Y-%m-%d %H:%M:%S} UTC: later writes are lost")
        if not dry_run:
            restore(where, found, say)
            if found.stream:
                say("to do: set TableRestored, deploy, backfill, compare (docs/operations.md, the table is lost)")


def _recover(context: typer.Context, environment: str | None, lost: Lost) -> None:
    with opened(context, environment) as (where, console):
        from ops.recovery import recover

        say = plainly(console)
        if not recover(where, lost, say):
            raise typer.Exit(1)
