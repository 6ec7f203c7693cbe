"""Comparing the lake with the operational table."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.opening import Where, opened, plainly


# Each is an option of the command.
def parity(
    context: typer.Context,
    export: Annotated[str | None, typer.Option(help="A full export, or a folder above several (s3://…).")] = None,
    new: Annotated[bool, typer.Option("--new", help="Request an export first, and await it.")] = False,
    entity: Annotated[list[str] | None, typer.Option(help="Only this entity; may be given several times.")] = None,
    lateness_minutes: Annotated[float | None, typer.Option(help="How late a change may land (default: 25 h).")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs, and prove it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what a repair would do, and do nothing.")] = False,
    wait_hours: Annotated[
        float | None, typer.Option("--wait", min=0, help="Await for so many hours that it can be compared.")
    ] = None,
    environment: Where = None,
) -> None:
    """Compare the lake with the operational table at the moment of an export, by content.

    Without --export and --new, with the newest export of which all changes have arrived. It ends with 1 if something
    differs, and with 3 if it cannot be compared yet.
    """
    with opened(context, environment) as (where, console):
        from datetime import timedelta

        from lakehouse.parity.wanted import Request
        from ops.parity import compare, lateness, lines

        say = plainly(console, "  ")
        request = Request(
            export or "exports",
            tuple(entity or ()),
            lateness(where, lateness_minutes),
            repair=repair or dry_run,
            dry_run=dry_run,
        )
        wait = None if wait_hours is None else timedelta(hours=wait_hours)
        done = compare(where, request, say, new=new, wait=wait)
        for result in done:
            for line in lines(result):
                say(line)
        if any(result.left or (result.after or result.before).outcome == "unproven" for result in done):
            raise typer.Exit(1)
        if any((result.after or result.before).outcome == "not yet" for result in done):
            raise typer.Exit(3)
