"""Putting back what failed on the way from the stream."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import FailedSince, FailedUntil, Where, opened, plainly


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
    with opened(context, environment) as (where, console):
        from ops.moments import range_of
        from ops.redrive import redrive as put_back
        from ops.redrive import would_redrive

        say = plainly(console, "  ")
        failed = range_of(since, until)
        if dry_run:
            for line in would_redrive(where, failed).lines():
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        done = put_back(where, say, failed)
        console.print(f"{done.delivered} records put back, {done.left.total()} left")
        for reason, count in done.left.most_common():
            say(f"{count} x {reason}")
        if done.left:
            raise typer.Exit(1)
