"""Bringing back a lost catalog or a lost lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

if TYPE_CHECKING:
    from lakehouse.recovery.wanted import Lost

recovery = typer.Typer(
    no_args_is_help=True,
    help="""Bring back a lost catalog or a lost lake, from what is left. What is whole stays as it is.

    It may be run again, and by two at once. Where Dagster runs, its job `recover` does the same in the entities' pools.
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


def _recover(context: typer.Context, environment: str | None, lost: Lost) -> None:
    with opened(context, environment) as (where, console):
        from ops.recovery import recover

        say = plainly(console)
        if not recover(where, lost, say):
            raise typer.Exit(1)
