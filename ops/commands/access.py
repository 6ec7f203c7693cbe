"""Who read whose data on AWS. See docs/governance.md."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened, plainly

access = typer.Typer(no_args_is_help=True, help="""Who read whose data. With the credentials of an auditor.""")


@access.command("who-read")
def who_read(
    context: typer.Context,
    entity: Annotated[str, typer.Argument(help="Whose data: an entity, for example customers.")],
    key: Annotated[str | None, typer.Argument(help="The key of one of its rows; else all of them.")] = None,
    since: Annotated[str | None, typer.Option(help="From this moment, for example 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="… and before this one, else until now.")] = None,
    environment: Where = None,
) -> None:
    """Show who read an entity's tables, files and items, and who put questions about it to the archive.

    A query is a read of all rows unless its text says otherwise: with a key, each says whether it names it.
    """
    with opened(context, environment) as (where, console):
        from ops import access as reads
        from ops.moments import range_of

        looked_for, count = reads.wanted(where, entity, key, range_of(since, until)), 0
        for read in reads.who_read(where, looked_for):
            plainly(console)(read.line())
            count += 1
        plainly(console)(f"{count:,} reads")
