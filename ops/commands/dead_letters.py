"""Messages that could not be handled: counted, and put back."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import FailedSince, FailedUntil, Where, opened

dead_letters = typer.Typer(no_args_is_help=True, help="Messages that could not be handled, and wait in a queue.")


@dead_letters.command("list")
def list_dead_letters(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the queues as JSON.")] = False,
    environment: Where = None,
) -> None:
    """Show about how many messages wait in each queue of dead letters."""
    with opened(context, environment) as (where, console):
        import json

        from ops.dead_letters import count

        found = count(where)
        if as_json:
            typer.echo(json.dumps([{"queue": queue, "waiting": waiting} for queue, waiting in found.items()], indent=2))
            return
        for queue, waiting in found.items():
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
