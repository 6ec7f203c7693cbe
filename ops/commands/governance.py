"""Who may read the lake on AWS: what is put on tables that are there. See docs/governance.md."""

from __future__ import annotations

import typer

from ops.commands.opening import DryRun, Where, opened, plainly

governance = typer.Typer(
    no_args_is_help=True,
    help="""Who may read the lake on AWS: tags, filters and roles of people. See docs/governance.md.""",
)


@governance.command("apply")
def apply(context: typer.Context, dry_run: DryRun = False, environment: Where = None) -> None:
    """Tag the columns of the tables that are there as contracts and models classify them, and let Lake Formation decide
    what people read. What is as it should be is left alone. A dry run ends with 3 if anything would be changed.
    """
    with opened(context, environment) as (where, console):
        from ops.governance.applying import Governed

        governed, say = Governed(where, where.contracts()), plainly(console)
        count = 0
        for change in governed.changes():
            say(change.line)
            if not dry_run:
                governed.carry_out(change)
            count += 1
        say(f"{count:,} {'to change' if dry_run else 'changed'}")
        if dry_run and count:
            raise typer.Exit(3)
