"""Messages that could not be handled: counted, and put back."""

from __future__ import annotations

import typer

from ops.commands.opening import FailedSince, FailedUntil, Where, opened

dead_letters = typer.Typer(no_args_is_help=True, help="Messages that could not be handled, and wait in a queue.")


@dead_letters.command("list")
def list_dead_letters(context: typer.Context, environment: Where = None) -> None:
    """Show about how many messages wait in each queue of dead letters."""
    with opened(context, environment) as (where, console):
        from ops.dead_letters import count

        for queue, waiting in count(where).items():
            console.print(f"{waiting:>7}  {queue}", highlight=False)


@dead_letters.command("redrive")
def redrive_dead_letters(
    context: typer.Context, since: FailedSince = None, until: FailedUntil = None, environment: Where = None
) -> None:
    """Move the inbound queue's dead letters back, each with the time when it first came."""
    with opened(context, environment) as (where, console):
        from ops.dead_letters import put_back
        from ops.moments import range_of

        moved = put_back(where, range_of(since, until))
        console.print(f"{moved} messages moved back to the inbound queue", highlight=False)
