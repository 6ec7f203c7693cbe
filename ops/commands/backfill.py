"""Bringing an export of the operational table into the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened, plainly


# Each is an option of the command.
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
    with opened(context, environment) as (where, console):
        from lakehouse.recovery.wanted import Wanted
        from ops.backfill import bring_in, would_do
        from ops.moments import moment

        say = plainly(console, "  ")
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
