"""Plans of what a deployment would change beside the stacks."""

from __future__ import annotations

import typer

from ops.commands.deploy import CHANGES
from ops.commands.opening import Where, opened, plainly

planning = typer.Typer(no_args_is_help=True, help="What a deployment would change beside the stacks; changes nothing.")


@planning.callback()
def _group() -> None:
    """Keeps the name of a command that is alone in its group."""


@planning.command()
def schemas(context: typer.Context, environment: Where = None) -> None:
    """Compare the contracts of this installation with the published tables: columns added and widened, and what is
    refused. Ends with 3 if something would be changed, with 1 if something is refused."""
    with opened(context, environment) as (where, console):
        from ops.schemas import lines, plans

        found = plans(where)
        say = plainly(console)
        for line in lines(found):
            say(line)
        if any(one.refused for one in found):
            raise typer.Exit(1)
        if not all(one.nothing for one in found):
            raise typer.Exit(CHANGES)
