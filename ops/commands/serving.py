"""The tables of the website's PostgreSQL: brought to the published ones, or compared with them."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import DryRun, Where, opened, plainly


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
    with opened(context, environment) as (where, console):
        from ops.serving import bring, compare

        say = plainly(console)
        if not (check or repair):
            bring(where, entity or (), say, dry_run=dry_run)
        elif not compare(where, entity or (), say, repair=repair):
            raise typer.Exit(1)
