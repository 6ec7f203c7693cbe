"""Work on one entity's tables: replay, rebuild, requeue and roll back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

if TYPE_CHECKING:
    from ops.work import Work

Entity = Annotated[str, typer.Argument(help="The entity, for example orders.")]


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


def rebuild(context: typer.Context, entity: Entity, dry_run: DryRun = False, environment: Where = None) -> None:
    """Make an entity's tables again from everything that is retained; the rows are the same as before."""
    from ops.work import Work

    _work(context, environment, Work("rebuild", entity), dry_run)


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
    with opened(context, environment) as (where, console):
        from ops.work import do, plan

        say = plainly(console)
        if not dry_run:
            do(where, work, say)
            return
        would = plan(where, work)
        say(str(would))
        if would.refused:
            raise typer.Exit(1)
